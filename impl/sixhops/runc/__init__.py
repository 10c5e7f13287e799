"""sixhops-runc: the program of the fifth hop, an OCI runtime with runc's command line.

`api` is the importable form: the same steps without a command line, for a parent that forks instead of executing.
"""
