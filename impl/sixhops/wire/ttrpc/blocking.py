"""A ttrpc client that blocks: no thread, no event loop. For tools, tests and short-lived processes.

Several calls may be under way: `begin` sends, `finish` waits for that one and keeps what else arrives
meanwhile.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from sixhops.wire.ttrpc.calls import Answer, CallClient
from sixhops.wire.ttrpc.frames import FrameError
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BlockingClient", "connect"]

CHUNK = 1 << 16


def connect(path: str, timeout: float = 10.0) -> BlockingClient:
    """Return a client connected to the unix socket `path`; OSError when nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return BlockingClient(connection)


class BlockingClient:
    """Calls over one socket, which the client owns from now on."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._calls = CallClient()
        self._answers: dict[int, Answer] = {}

    def begin(
        self,
        service: str,
        method: str,
        payload: bytes,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Send a call and return its stream id for `finish`; RpcError UNAVAILABLE when the peer has gone."""
        stream, data = self._calls.call(service, method, payload, timeout=timeout, metadata=metadata)
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise RpcError(Code.UNAVAILABLE, f"ttrpc: closed: {error}") from error
        return stream

    def finish(self, stream: int, timeout: float | None = None) -> bytes:
        """Return the reply to call `stream`; RpcError with its status, DEADLINE_EXCEEDED, or UNAVAILABLE
        at EOF.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while stream not in self._answers:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                self._calls.forget(stream)
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            self._socket.settimeout(remaining)
            try:
                data = self._socket.recv(CHUNK)
                answers = self._calls.receive(data)
            except TimeoutError:
                continue
            except (ConnectionError, FrameError) as error:
                raise RpcError(Code.UNAVAILABLE, f"ttrpc: closed: {error}") from error
            self._answers.update((answer.stream, answer) for answer in answers)
            if not data:
                raise RpcError(Code.UNAVAILABLE, "ttrpc: closed")
        answer = self._answers.pop(stream)
        if answer.error is not None:
            raise answer.error
        return answer.payload

    def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send a call and return its reply; errors as `finish`."""
        return self.finish(self.begin(service, method, payload, timeout=timeout, metadata=metadata), timeout)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
