"""Requests as Go's net/http reads them, behind the seam at which aiohttp plugs in its own parser.

Rules: one request at a time (what comes behind it waits until `finished`, because the connection may be taken over by
then); a head that is no HTTP raises `BadRequestError`, and a body that breaks does so where its reader reaches the broken
place, because the engine answers many requests without ever looking at their bodies.

Facts: net/http of Go 1.19 (`readRequest`, `readTransfer`, `internal/chunked`), and the answers of dockerd 20.10 to each of
these (tests/dockerd/api/test_dockerd_requests.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import HttpVersion
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.base_protocol import BaseProtocol

__all__ = ["BadRequestError", "Body", "BodyError", "RequestReader"]

#: What Go reads of a head: a mebibyte, and a little slack.
_LONGEST_HEAD = (1 << 20) + 4096
_LONGEST_CHUNK_LINE = 4096
#: A length is Go's int64.
_NO_LENGTH = 2**63
_LONGEST_CHUNK_SIZE = 16
_BUFFERED = 1 << 16
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = _METHOD
_VERSION = re.compile(rb"HTTP/(\d)\.(\d)")
_HOST = re.compile(rb"[\x21-\x7e\x80-\xff]*")
_CONTROL = re.compile(rb"[\x00-\x20\x7f]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?]*)")
_HEX = re.compile(rb"[0-9a-fA-F]*")
#: Handlers look at the raw target, never at this; to build a URL of each target would be wasted.
_NOWHERE = URL("/")


class BadRequestError(HttpProcessingError):
    """What came is no request; `text` is both the reason phrase and the body of the answer, as Go writes them."""

    def __init__(self, status: int, text: str, body: str | None = None) -> None:
        super().__init__(code=status, message=text)
        self.text = text
        self.body = body if body is not None else f"{status} {text}"


class BodyError(Exception):
    """A body that can't be read to its end; the message is Go's."""


class Body(StreamReader):
    """A request's body. Reading beyond what could be read raises BodyError."""

    failure: BodyError | None = None

    async def readany(self) -> bytes:
        """Return what is there, b"" at the end."""
        return self._checked(await super().readany())

    async def read(self, n: int = -1) -> bytes:
        """Return up to `n` bytes, b"" at the end."""
        return self._checked(await super().read(n))

    def fail(self, text: str) -> None:
        """Say that nothing more can be read."""
        self.failure = BodyError(text)
        self.feed_eof()

    def _checked(self, data: bytes) -> bytes:
        if not data and self.failure is not None:
            raise self.failure
        return data


class RequestReader:
    """The parser of one connection, with the methods that aiohttp's protocol calls on its own."""

    def __init__(self, protocol: BaseProtocol, loop: asyncio.AbstractEventLoop) -> None:
        self._protocol = protocol
        self._loop = loop
        self._data = bytearray()
        self._body: Body | None = None
        #: Takes from `_data` what belongs to the body; True once that is complete.
        self._more: Callable[[Body], bool] | None = None
        self._left = 0
        self._is_in_chunk = False
        self._busy = False
        self._upgraded = False

    @property
    def is_busy(self) -> bool:
        """Whether a request has been given out that is not finished."""
        return self._busy

    def finished(self) -> None:
        """Go on with the next request: the present one is being answered."""
        self._busy = False

    def take_rest(self) -> bytes:
        """Return what came behind the present request; it is no HTTP."""
        rest = bytes(self._data)
        self._data.clear()
        return rest

    def feed_data(self, data: bytes) -> tuple[list[tuple[RawRequestMessage, Body]], bool, bytes]:
        """Take bytes; return requests, whether the connection may change protocols now, and the bytes for that.

        Raises BadRequestError.
        """
        self._data += data
        found: list[tuple[RawRequestMessage, Body]] = []
        self._read_body()
        if not self._busy and self._more is None:
            head = self._head()
            if head is not None:
                message = self._message(head)
                self._busy = True
                found.append((message, self._start_body(message)))
                self._read_body()
                if message.upgrade:
                    self._upgraded = True
        if self._upgraded:
            return found, True, self.take_rest()
        return found, False, b""

    def feed_eof(self) -> None:
        """Note that nothing more will come."""
        if self._body is not None and self._more is not None:
            self._body.fail("unexpected EOF")
        self._more = None

    def set_upgraded(self, upgraded: bool) -> None:
        """Note that the protocol was not changed after all."""
        self._upgraded = upgraded
        if not upgraded:
            self._busy = False

    def message_consumed(self) -> None:
        """Do nothing: there is never more than one message."""

    def pause_reading(self) -> None:
        """Do nothing: what was read goes on to the body, and the transport is paused."""

    def _read_body(self) -> None:
        if self._more is not None and self._body is not None and self._more(self._body):
            self._more = None

    def _head(self) -> list[bytes] | None:
        """Return the lines of the head when it is complete."""
        data = self._data
        end = -1
        at = 0
        while (at := data.find(b"\n", at)) >= 0:
            if data.startswith(b"\n", at + 1):
                end = at + 2
                break
            if data.startswith(b"\r\n", at + 1):
                end = at + 3
                break
            if data.find(b"\n") == at:
                _check_line(bytes(data[: at + 1]))
            at += 1
        # complete or not: how much of a head comes at once is a matter of time
        if (end if end >= 0 else len(data)) > _LONGEST_HEAD:
            raise BadRequestError(431, "Request Header Fields Too Large")
        if end < 0:
            return None
        lines = bytes(data[:end]).split(b"\n")
        del data[:end]
        return [line.removesuffix(b"\r") for line in lines[:-2]]

    def _message(self, lines: list[bytes]) -> RawRequestMessage:
        method, target, version = _check_line(lines[0])
        fields = _fields(lines[1:])
        headers = CIMultiDict(
            (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in fields
        )
        _check_fields(fields, headers, version)
        connection = ",".join(headers.getall("Connection", ())).lower()
        should_close = "close" in connection or (version < (1, 1) and "keep-alive" not in connection)
        return RawRequestMessage(
            method=method,
            path=target,
            version=HttpVersion(*version),
            headers=CIMultiDictProxy(headers),
            raw_headers=tuple(fields),
            should_close=should_close,
            compression=None,
            upgrade=headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in connection,
            chunked=version >= (1, 1) and "Transfer-Encoding" in headers,
            url=_NOWHERE,
        )

    def _start_body(self, message: RawRequestMessage) -> Body:
        self._body = body = Body(self._protocol, _BUFFERED, loop=self._loop)
        self._left = 0
        self._is_in_chunk = False
        if message.chunked:
            self._more = self._read_chunks
            return body
        self._left = int(message.headers.get("Content-Length") or 0)
        if self._left:
            self._more = self._read_length
        else:
            body.feed_eof()
        return body

    def _read_length(self, body: Body) -> bool:
        self._take(body)
        if self._left:
            return False
        body.feed_eof()
        return True

    def _take(self, body: Body) -> None:
        piece = bytes(self._data[: self._left])
        del self._data[: len(piece)]
        self._left -= len(piece)
        if piece:
            body.feed_data(piece)

    def _read_chunks(self, body: Body) -> bool:
        try:
            return self._next_chunks(body)
        except BodyError as error:
            body.fail(str(error))
            # where the next request would begin can't be known
            self._data.clear()
            return True

    def _next_chunks(self, body: Body) -> bool:
        while True:
            if self._is_in_chunk:
                self._take(body)
                if self._left:
                    return False
                if len(self._data) < 2 and self._data != b"\r"[: len(self._data)]:
                    raise BodyError("malformed chunked encoding")
                if len(self._data) < 2:
                    return False
                if not self._data.startswith(b"\r\n"):
                    raise BodyError("malformed chunked encoding")
                del self._data[:2]
                self._is_in_chunk = False
            line = self._line()
            if line is None:
                return False
            self._left = _chunk_size(line)
            if not self._left:
                self._more = self._read_trailer
                return self._read_trailer(body)
            self._is_in_chunk = True

    def _read_trailer(self, body: Body) -> bool:
        try:
            while (line := self._line()) is not None:
                if not line.rstrip(b"\r"):
                    body.feed_eof()
                    return True
                if b":" not in line:
                    raise BodyError(
                        f"malformed MIME header line: {line.rstrip(bytes((13,))).decode('latin-1')}"
                    )
        except BodyError as error:
            body.fail(str(error))
            return True
        return False

    def _line(self) -> bytes | None:
        end = self._data.find(b"\n")
        if end > _LONGEST_CHUNK_LINE or (end < 0 and len(self._data) > _LONGEST_CHUNK_LINE):
            raise BodyError("header line too long")
        if end < 0:
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        return line


def _chunk_size(line: bytes) -> int:
    digits = line.rstrip(b" \t\r\n").partition(b";")[0]
    if not digits:
        raise BodyError("empty hex number for chunk length")
    for index, digit in enumerate(digits):
        if not _HEX.fullmatch(bytes([digit])):
            raise BodyError("invalid byte in chunk length")
        if index == _LONGEST_CHUNK_SIZE:
            raise BodyError("http chunk length too large")
    return int(digits, 16)


def _check_line(line: bytes) -> tuple[str, str, tuple[int, int]]:
    """Return method, target and version of a request line."""
    method, space, rest = line.rstrip(b"\r\n").partition(b" ")
    target, second, protocol = rest.partition(b" ")
    version = _VERSION.fullmatch(protocol)
    if not (space and second and version and _METHOD.fullmatch(method)):
        raise BadRequestError(400, "Bad Request")
    numbers = (int(version[1]), int(version[2]))
    if numbers[0] != 1:
        raise BadRequestError(505, "HTTP Version Not Supported: unsupported protocol version")
    if _CONTROL.search(target):
        raise BadRequestError(400, "Bad Request")
    absolute = _SCHEME.match(target)
    if absolute is not None:
        target = target[absolute.end() :] or b"/"
    elif not (target.startswith(b"/") or target == b"*"):
        raise BadRequestError(400, "Bad Request")
    return method.decode("ascii"), target.decode("utf-8", "surrogateescape"), numbers


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    if lines and lines[0][:1] in {b" ", b"\t"}:
        raise BadRequestError(400, "Bad Request")
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line[:1] in {b" ", b"\t"}:
            name, value = fields.pop()
            fields.append((name, value + b" " + line.strip(b" \t")))
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise BadRequestError(400, "Bad Request")
        if name:
            fields.append((name, value.strip(b" \t")))
    return fields


def _check_fields(
    fields: list[tuple[bytes, bytes]], headers: CIMultiDict[str], version: tuple[int, int]
) -> None:
    """Refuse what Go refuses, in its order: framing first, then the host, then names and values."""
    lengths = set(headers.getall("Content-Length", ()))
    encodings = headers.getall("Transfer-Encoding", ())
    if encodings and version >= (1, 1):
        if len(encodings) > 1 or encodings[0].lower() != "chunked":
            raise BadRequestError(501, "Not Implemented", "Unsupported transfer encoding")
        headers.popall("Content-Length", None)
    elif len(lengths) > 1 or not all(
        length.isascii() and length.isdigit() and int(length) < _NO_LENGTH for length in lengths
    ):
        raise BadRequestError(400, "Bad Request")
    hosts = [value for name, value in fields if name.lower() == b"host"]
    if len(hosts) > 1:
        raise BadRequestError(400, "Bad Request")
    if not hosts and version >= (1, 1):
        raise BadRequestError(400, "Bad Request: missing required Host header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise BadRequestError(400, "Bad Request: malformed Host header")
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise BadRequestError(400, "Bad Request: invalid header name")
        if _BAD_VALUE.search(value):
            raise BadRequestError(400, "Bad Request: invalid header value")
