"""The tap on the containerd hop: a byte pass-through in front of containerd's socket that records gRPC calls.

It reads HTTP/2 alongside (`calls`), so metadata, deadlines, cancellation, flow control and trailers are the
peers' own. Bytes that aren't gRPC are recorded as such and passed on: what they deserve is containerd's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.grpc.calls import CallLog
from sixhops.harness.tap.relay import LoopThread, Relay

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from sixhops.harness.tap.recorder import Recorder

__all__ = ["GrpcTap"]


class GrpcTap:
    """Records what passes between the clients of `listener` and the unix socket `upstream`, on a thread of its own.

    `listener` is bound and listening already and is closed by `close`. While nobody listens on `upstream`, clients
    are accepted and then cut off; they are served when it is back.
    """

    def __init__(self, listener: socket.socket, upstream: Path, recorder: Recorder) -> None:
        self._listener = listener
        self._upstream = upstream
        self._recorder = recorder
        self._thread = LoopThread("containerd tap")
        self._relay: Relay | None = None

    def start(self) -> None:
        """Begin to accept connections; returns when it does. Raises InternalError when called twice."""
        self._thread.start()
        self._thread.call(self._serve())

    def close(self) -> None:
        """Cut every connection, finish what is being recorded, close the listener. May be called twice."""
        self._thread.stop(self._end())
        self._listener.close()

    async def _serve(self) -> None:
        self._relay = Relay(
            self._listener,
            lambda: self._upstream,
            lambda number: CallLog(self._recorder, number, Hop.CONTAINERD),
        )

    async def _end(self) -> None:
        if self._relay is not None:
            await self._relay.close()

    def __enter__(self) -> GrpcTap:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
