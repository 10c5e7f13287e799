"""sixhops-docker: the client, on the Engine API alone."""
