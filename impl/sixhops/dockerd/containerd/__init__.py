"""The way to containerd: gRPC on a unix socket, the calls that dockerd makes and no others."""

import os

# gRPC's own fork handlers are of no use here (helpers exec or come from the fork server) and complain on stderr. Must be
# set before gRPC is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
