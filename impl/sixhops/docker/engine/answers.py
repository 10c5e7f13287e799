"""Answers of the engine: one that is received piece by piece, one that has not begun, and a connection that left HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sixhops.docker.engine.http import Answer, ProtocolError
from sixhops.docker.errors import ApiError, ConnectError, DockerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sixhops.docker.engine.streams import Stream

__all__ = ["Hijacked", "Pending", "Reply", "refused"]


class Reply:
    """An answer that is being received. `body` reads the rest at once, `pieces` as it comes.

    `give_back` gets the connection when the answer has ended and it can be used again.
    """

    def __init__(
        self, give_back: Callable[[Stream], None], stream: Stream, answer: Answer, first: bytes
    ) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._give_back = give_back
        self._stream = stream
        self._answer = answer
        self._first = first
        if answer.done:
            self._release()

    def fileno(self) -> int:
        """Return the descriptor to wait on before `receive`."""
        return self._stream.fileno()

    @property
    def done(self) -> bool:
        """Tell whether the whole answer is here."""
        return self._answer.done and not self._first

    @property
    def buffered(self) -> bool:
        """Tell whether `receive` has something without waiting."""
        return bool(self._first) or self._stream.buffered

    def receive(self) -> bytes:
        """Return the next part of the body, b"" when this read completed none (see `done`)."""
        if self._first:
            data, self._first = self._first, b""
            return data
        if self._answer.done:
            return b""
        try:
            data = self._answer.feed(self._stream.receive())
        except (ProtocolError, OSError) as error:
            self._stream.close()
            raise DockerError(str(error)) from error
        if self._answer.done:
            self._release()
        return data

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        while not self.done:
            data = self.receive()
            if data:
                yield data

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """Return the body as a JSON value. Raises DockerError when it is none."""
        text = self.body()
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise DockerError(f"the engine's answer is not JSON: {error}") from error

    def close(self) -> None:
        """Drop the connection unless the answer was read to its end."""
        if not self._answer.done:
            self._stream.close()

    def _release(self) -> None:
        if self._answer.keep_alive:
            self._give_back(self._stream)
        else:
            self._stream.close()


class Pending:
    """A request without a body, whose answer has not begun.

    `advance` when there is something to read, `finish` when `ready`.
    """

    def __init__(self, give_back: Callable[[Stream], None], stream: Stream, path: str) -> None:
        self.ready = False
        self._give_back = give_back
        self._stream = stream
        self._path = path
        self._answer = Answer("POST")
        self._first = b""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._stream.fileno()

    @property
    def buffered(self) -> bool:
        """Tell whether `advance` has something without waiting."""
        return self._stream.buffered

    def advance(self) -> bool:
        """Read once; tell whether the answer's head is here. Raises ConnectError when the connection fails."""
        try:
            self._first = self._answer.feed(self._stream.receive())
        except (ProtocolError, OSError) as error:
            self._stream.close()
            raise ConnectError(f"error during connect: {error}") from error
        self.ready = bool(self._answer.status)
        return self.ready

    def finish(self) -> Reply:
        """Return the answer. Raises ApiError for a status of 400 and above."""
        reply = Reply(self._give_back, self._stream, self._answer, self._first)
        if reply.status >= 400:
            raise refused(reply, self._path)
        return reply


class Hijacked:
    """A connection that left HTTP: raw bytes both ways. `early` came together with the answer's head."""

    def __init__(self, stream: Stream, early: bytes, headers: dict[str, str]) -> None:
        self.headers = headers
        self._stream = stream
        self._early = early

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._stream.fileno()

    @property
    def buffered(self) -> bool:
        """Tell whether `receive` has something without waiting."""
        return bool(self._early) or self._stream.buffered

    def receive(self) -> bytes:
        """Return what is there, waiting for the first byte; b"" at the end (a reset counts as one)."""
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            return self._stream.receive()
        except ConnectionResetError:
            return b""

    def offer(self, data: bytes) -> None:
        """Queue input for `push`."""
        self._stream.offer(data)

    def push(self) -> bool:
        """Send queued input without blocking; tell whether all is sent. Raises OSError when the other side has gone."""
        return self._stream.push()

    def close_write(self) -> None:
        """Half-close: our input is over, the output goes on."""
        self._stream.close_write()

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()


def refused(reply: Reply, path: str) -> ApiError:
    """Return the engine's error: the message of its JSON, or its text as it is."""
    text = reply.body().decode(errors="replace").strip()
    if reply.headers.get("content-type", "").startswith("application/json"):
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            message = text
        return ApiError(reply.status, str(message).strip())
    if not text:
        text = f"request returned {reply.status} for API route and version {path}, check if the server supports it"
    return ApiError(reply.status, text)
