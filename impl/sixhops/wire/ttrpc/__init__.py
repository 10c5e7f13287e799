"""ttrpc: gRPC's idea of a call, in a ten-byte header on a stream socket. containerd and its shims speak it.

Rules:

1. `frames` and `calls` do no input or output. Bytes go in, values come out, so the same code serves the
   shim's loop
   without asyncio, containerd's asyncio servers, blocking clients, taps and tests.
2. A frame knows nothing of services; a call knows nothing of sockets.
3. What a peer sends is never trusted: lengths are checked before bytes are kept.

`blocking` and `aio` put sockets under them.
"""
