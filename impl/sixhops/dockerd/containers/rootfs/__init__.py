"""A container's files from outside: export, changes, archives, and the commit."""
