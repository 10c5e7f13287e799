"""containerd's services, one module each; methods are named as in the .proto files, in Python's spelling."""
