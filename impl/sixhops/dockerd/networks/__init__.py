"""The networks: none, host, and the default bridge with addresses, masquerading and published ports."""
