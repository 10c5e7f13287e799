"""HTTP/1.1 from the client's side, as bytes in and values out; it knows no sockets.

`request` gives the bytes of a request with the headers in the order in which docker sends them. `Answer` is fed
with what comes back: first the head is complete, then pieces of the body come out of `feed`, then `done` is true.
What follows a 101 belongs to no body: `Answer.rest` holds the bytes that came with the head.
An interim answer (1xx other than 101) is skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "ProtocolError", "request"]

_HEAD_LIMIT = 1 << 20


class ProtocolError(ValueError):
    """The engine's bytes are not HTTP."""


def request(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Return the bytes of a request. With `body` (it may be empty) a Content-Length is stated."""
    lines = [f"{method} {target} HTTP/1.1"]
    first = ("Host", "User-Agent")
    lines += [f"{name}: {headers[name]}" for name in first if name in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {headers[name]}" for name in sorted(headers) if name not in first]
    head = "\r\n".join(lines)
    if "\n" in head.replace("\r\n", ""):
        raise ProtocolError(f"a line break inside the head of {method} {target}")
    return head.encode("utf-8") + b"\r\n\r\n" + (body or b"")


class Answer:
    """One response. `status` is 0 until the head is complete; header names are lower case."""

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.done = False
        self.keep_alive = True
        self.rest = b""
        self._method = method
        self._buffer = bytearray()
        self._left: int | None = None
        self._chunked = False
        #: of a chunked body: size, data, end (of a chunk's data), trailers
        self._part = "size"

    def feed(self, data: bytes) -> bytes:
        """Take what came from the connection (b"" at its end); return the part of the body that it completes.

        Raises ProtocolError for bytes that aren't HTTP and for an end in the middle.
        """
        if not data:
            return self._end()
        self._buffer += data
        if not self.status and not self._head():
            return b""
        if self.done:
            self.rest += bytes(self._buffer)
            self._buffer.clear()
            return b""
        return self._chunks() if self._chunked else self._plain()

    def _end(self) -> bytes:
        self.keep_alive = False
        if self.done:
            return b""
        if self.status and not self._chunked and self._left is None:
            self.done = True
            return b""
        raise ProtocolError("unexpected EOF" if self.status or self._buffer else "EOF")

    def _head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _HEAD_LIMIT:
                    raise ProtocolError("the head of the answer does not end")
                return False
            first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            version, _, code = first.partition(" ")
            if not version.startswith("HTTP/1.") or not code[:3].isdigit():
                raise ProtocolError(f"malformed HTTP response {first[:100]!r}")
            status = int(code[:3])
            if not 100 <= status < 200 or status == 101:
                break
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ProtocolError(f"malformed header line {line[:100]!r}")
            key = name.strip().lower()
            self.headers[key] = (
                f"{self.headers[key]}, {value.strip()}" if key in self.headers else value.strip()
            )
        self.status = status
        self._frame(version)
        return True

    def _frame(self, version: str) -> None:
        """Find how the body ends (RFC 9112, section 6.3)."""
        connection = self.headers.get("connection", "").lower()
        self.keep_alive = "close" not in connection and version != "HTTP/1.0"
        if self._method == "HEAD" or self.status in (101, 204, 304):
            self.done = True
            self.keep_alive = self.keep_alive and self.status != 101
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._chunked = True
        elif "content-length" in self.headers:
            length = self.headers["content-length"]
            if not length.isdigit():
                raise ProtocolError(f"bad Content-Length {length!r}")
            self._left = int(length)
            self.done = self._left == 0
        else:
            self.keep_alive = False

    def _plain(self) -> bytes:
        data = bytes(self._buffer if self._left is None else self._buffer[: self._left])
        del self._buffer[: len(data)]
        if self._left is not None:
            self._left -= len(data)
            if self._left == 0:
                self.done = True
                self.rest = bytes(self._buffer)
        return data

    def _chunks(self) -> bytes:
        out = bytearray()
        while not self.done:
            if self._part == "data":
                piece = self._buffer[: self._left]
                del self._buffer[: len(piece)]
                out += piece
                self._left = (self._left or 0) - len(piece)
                if self._left:
                    break
                self._part = "end"
            line = self._line()
            if line is None:
                break
            if self._part == "end":
                if line:
                    raise ProtocolError("a chunk is longer than its length says")
                self._part = "size"
            elif self._part == "size":
                try:
                    self._left = int(line.split(b";")[0], 16)
                except ValueError as error:
                    raise ProtocolError(f"bad chunk length {line[:40]!r}") from error
                self._part = "data" if self._left else "trailers"
            elif not line:
                self.done = True
                self.rest = bytes(self._buffer)
        return bytes(out)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise ProtocolError("a chunk's length does not end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line
