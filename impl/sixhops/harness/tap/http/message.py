"""Reads HTTP/1.x alongside a proxy: cuts a direction's bytes into pieces and says what each piece is.

Two rules. The pieces' `raw` bytes, put together, are the bytes that went in: this module never writes
HTTP. And it does no I/O: `feed` takes bytes, `next_piece` gives pieces, so that whole, torn and pipelined
input are the same to it. A library's parser would validate, normalise and lose the original bytes; a tap
must have none of that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

__all__ = ["HEAD_LIMIT", "Body", "Head", "Kind", "MessageError", "MessageReader", "Piece"]

#: Bytes of a start line with its headers; what is longer is refused, as most servers do (Go stops at 1
#: MiB, nginx at 32 KiB).
HEAD_LIMIT = 64 * 1024

_LINE_LIMIT = 4 * 1024
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TOKEN_START = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (\S+) HTTP/(\d\.\d)")
_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) (\d{3})(?: ([^\r\n]*))?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")


class MessageError(ValueError):
    """The bytes are not HTTP/1.x."""


class Kind(Enum):
    """What a piece of the byte stream is."""

    HEAD = "head"
    DATA = "data"
    FRAMING = "framing"
    END = "end"


class Body(Enum):
    """How a message's body is delimited."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its headers, in the order and spelling in which they came.

    Requests have `method` and `target`, answers have `status` and `reason`; the others are empty or 0.
    """

    version: str
    method: str = ""
    target: str = ""
    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = Body.NONE

    def joined(self) -> dict[str, str]:
        """Return lower-case names with their values; repeated headers are joined by a comma and a space."""
        result: dict[str, str] = {}
        for name, value in self.headers:
            key = name.lower()
            result[key] = f"{result[key]}, {value}" if key in result else value
        return result

    @property
    def informational(self) -> bool:
        """Say whether this is an interim answer, after which the real one follows. 101 is final: HTTP ends
        there.
        """
        return 100 <= self.status < 200 and self.status != 101


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of raw bytes of one kind. `head` is set for HEAD. END has no bytes."""

    kind: Kind
    raw: bytes
    head: Head | None = None


class MessageReader:
    """Reads one direction of a connection. Answers need to know the method that they answer: see
    `answers_to`.
    """

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers
        self._buffer = bytearray()
        self._method = "GET"
        self._state = "head"
        self._left = 0
        self._closed = False

    @property
    def between(self) -> bool:
        """Say that no message is under way and no byte of the next one is here."""
        return self._state == "head" and not self._buffer

    def answers_to(self, method: str) -> None:
        """Say which request the next answer belongs to: an answer to HEAD has no body whatever its headers
        say.
        """
        self._method = method

    def feed(self, data: bytes) -> None:
        """Take bytes; `next_piece` returns what they hold."""
        self._buffer += data

    def close(self) -> None:
        """Say that the direction has ended; a body that lasts until then gets its END."""
        self._closed = True

    def take_rest(self) -> bytes:
        """Return and forget the bytes that were not read yet; for connections that stop being HTTP."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def next_piece(self) -> Piece | None:
        """Return the next piece, or None when more bytes are needed. Raises MessageError when they are not
        HTTP.
        """
        match self._state:
            case "head":
                return self._read_head()
            case "end":
                self._state = "head"
                return Piece(Kind.END, b"")
            case "length" | "chunk data":
                return self._read_counted()
            case "chunk size":
                return self._read_chunk_size()
            case "chunk end":
                return self._read_chunk_end()
            case "trailers":
                return self._read_trailer()
            case _:
                return self._read_until_close()

    def _take(self, count: int) -> bytes:
        raw = bytes(self._buffer[:count])
        del self._buffer[:count]
        return raw

    def _read_head(self) -> Piece | None:
        blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        if blank and not self._answers:
            # RFC 9112, section 2.2: a server should ignore an empty line before a request line.
            return Piece(Kind.FRAMING, self._take(blank))
        if not self._buffer:
            return None
        if not _TOKEN_START.match(self._buffer):
            raise MessageError(f"not HTTP: starts with {bytes(self._buffer[:16])!r}")
        end = _HEAD_END.search(self._buffer)
        if end is None or end.end() > HEAD_LIMIT:
            self._check_start_line()
            if len(self._buffer) > HEAD_LIMIT:
                raise MessageError(f"a head of more than {HEAD_LIMIT} bytes")
            return None
        raw = self._take(end.end())
        head = _parse_head(raw, self._answers, self._method)
        if not head.informational:
            self._enter(head)
        return Piece(Kind.HEAD, raw, head)

    def _check_start_line(self) -> None:
        line, found, _ = self._buffer.partition(b"\n")
        if found:
            pattern = _STATUS_LINE if self._answers else _REQUEST_LINE
            if not pattern.fullmatch(line.rstrip(b"\r")):
                raise MessageError(f"not a start line: {bytes(line[:80])!r}")

    def _enter(self, head: Head) -> None:
        match head.body:
            case Body.NONE:
                self._state = "end"
            case Body.CHUNKED:
                self._state = "chunk size"
            case Body.UNTIL_CLOSE:
                self._state = "until close"
            case Body.LENGTH:
                self._left = _content_length(head)
                self._state = "length" if self._left else "end"

    def _read_counted(self) -> Piece | None:
        if not self._buffer:
            return None
        raw = self._take(min(self._left, len(self._buffer)))
        self._left -= len(raw)
        if not self._left:
            self._state = "end" if self._state == "length" else "chunk end"
        return Piece(Kind.DATA, raw)

    def _line(self) -> bytes | None:
        position = self._buffer.find(b"\n", 0, _LINE_LIMIT)
        if position < 0:
            if len(self._buffer) >= _LINE_LIMIT:
                raise MessageError(f"a line of chunked framing with more than {_LINE_LIMIT} bytes")
            return None
        return self._take(position + 1)

    def _read_chunk_size(self) -> Piece | None:
        line = self._line()
        if line is None:
            return None
        found = _CHUNK_SIZE.fullmatch(line.rstrip(b"\r\n"))
        if found is None:
            raise MessageError(f"not a chunk size: {line[:40]!r}")
        self._left = int(found[1], 16)
        self._state = "chunk data" if self._left else "trailers"
        return Piece(Kind.FRAMING, line)

    def _read_chunk_end(self) -> Piece | None:
        line = self._line()
        if line is None:
            return None
        if line.strip(b"\r\n"):
            raise MessageError(f"a chunk is longer than its size said: {line[:40]!r}")
        self._state = "chunk size"
        return Piece(Kind.FRAMING, line)

    def _read_trailer(self) -> Piece | None:
        line = self._line()
        if line is None:
            return None
        if not line.strip(b"\r\n"):
            self._state = "end"
        return Piece(Kind.FRAMING, line)

    def _read_until_close(self) -> Piece | None:
        if self._buffer:
            return Piece(Kind.DATA, self._take(len(self._buffer)))
        if self._closed:
            self._state = "head"
            return Piece(Kind.END, b"")
        return None


def _content_length(head: Head) -> int:
    value = head.joined()["content-length"]
    # Repeated equal values are one value (RFC 9110, section 8.6); anything else has no meaning.
    values = {part.strip() for part in value.split(",")}
    if len(values) != 1 or not (text := values.pop()).isascii() or not text.isdigit():
        raise MessageError(f"not a Content-Length: {value!r}")
    return int(text)


def _parse_head(raw: bytes, answer: bool, method: str) -> Head:
    first, *lines = raw.rstrip(b"\r\n").split(b"\n")
    first = first.rstrip(b"\r")
    headers = _parse_headers(lines)
    names = {name.lower(): value for name, value in headers}
    if answer:
        found = _STATUS_LINE.fullmatch(first)
        if found is None:
            raise MessageError(f"not a status line: {first[:80]!r}")
        status = int(found[2])
        body = _answer_body(status, method, names)
        reason = (found[3] or b"").decode("latin-1")
        return Head(found[1].decode(), status=status, reason=reason, headers=headers, body=body)
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise MessageError(f"not a request line: {first[:80]!r}")
    body = _delimited_body(names) or Body.NONE
    return Head(
        found[3].decode(),
        method=found[1].decode(),
        target=found[2].decode("latin-1"),
        headers=headers,
        body=body,
    )


def _parse_headers(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        line = line.rstrip(b"\r")
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN_START.fullmatch(name):
            raise MessageError(f"not a header line: {line[:80]!r}")
        headers.append((name.decode(), value.strip(b" \t").decode("latin-1")))
    return tuple(headers)


def _delimited_body(names: dict[str, str]) -> Body | None:
    if "chunked" in names.get("transfer-encoding", "").lower():
        return Body.CHUNKED
    return Body.LENGTH if "content-length" in names else None


def _answer_body(status: int, method: str, names: dict[str, str]) -> Body:
    if status == 101:
        return Body.UNTIL_CLOSE
    if method == "HEAD" or status < 200 or status in {204, 304}:
        return Body.NONE
    return _delimited_body(names) or Body.UNTIL_CLOSE
