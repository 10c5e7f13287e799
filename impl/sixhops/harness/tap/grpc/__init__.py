"""The tap on the containerd hop: HTTP/2 and gRPC, read alongside."""
