"""The way to containerd: gRPC on a unix socket, the calls that dockerd makes and no others."""
