"""Who may do what: passwords, bearer tokens and the service that gives them out."""
