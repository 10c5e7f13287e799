"""Cuts one direction of an HTTP/2 connection into frames (RFC 9113, section 4), without I/O."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from sixhops.harness.tap.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "PREFACE",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "Frame",
    "FrameReader",
    "fragment",
    "settings",
]

#: What a client sends before its first frame.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
_PRIORITY_FLAG = 0x20

_HEADER = struct.Struct(">HBBBL")
_HEADER_LENGTH = _HEADER.size
_SETTING = struct.Struct(">HL")
#: Frames whose payload is wanted, and in one piece; no honest one is longer.
_WHOLE = frozenset({HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, GOAWAY, CONTINUATION})
_WHOLE_LIMIT = 64 * 1024 + 512
_DEFAULT_LIMIT = 16 * 1024


class Frame(NamedTuple):
    """A frame, or a part of a DATA frame: then only the last part has END_STREAM. Padding of DATA is left out."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class FrameReader:
    """Reads frames out of the bytes of one direction.

    `limit` is the length of payload that the receiving side is ready to take (SETTINGS_MAX_FRAME_SIZE); the owner
    raises it. DATA frames come in parts, as they arrive; frames that nobody needs are skipped, never held.
    """

    def __init__(self, preface: bytes) -> None:
        self.limit = _DEFAULT_LIMIT
        self._preface = preface
        self._rest = b""
        self._data: Frame | None = None
        self._left = 0
        self._skip = 0

    @property
    def torn(self) -> bool:
        """Say whether a frame has begun and not ended."""
        return bool(self._rest) or self._data is not None or self._skip > 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes and give the frames that they complete. Raises ProtocolError; must be exhausted."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = self._read_preface(data)
        while True:
            if self._data is not None:
                frame, part = self._data, data[position : position + self._left]
                position += len(part)
                self._left -= len(part)
                if self._left:
                    if part:
                        yield frame._replace(flags=0, payload=part)
                    return
                self._data = None
                yield frame._replace(payload=part)
            if self._skip:
                step = min(self._skip, len(data) - position)
                position += step
                self._skip -= step
                if self._skip:
                    return
            begun = self._read_header(data, position)
            if begun is None:
                self._rest = data[position:]
                return
            position, whole = begun
            if whole is not None:
                yield whole

    def _read_preface(self, data: bytes) -> int:
        preface = self._preface
        if not preface:
            return 0
        if not preface.startswith(data[: len(preface)]):
            raise ProtocolError(f"not HTTP/2: starts with {data[:24]!r}")
        if len(data) < len(preface):
            # `_read_header` finds too few bytes, since the position is behind them, or keeps them as they are.
            return 0
        self._preface = b""
        return len(preface)

    def _read_header(self, data: bytes, position: int) -> tuple[int, Frame | None] | None:
        """Return where the frame's payload goes on, and the frame if it is here and wanted as a whole."""
        if self._preface:
            return None
        start = position + _HEADER_LENGTH
        if len(data) < start:
            return None
        high, low, kind, flags, stream = _HEADER.unpack_from(data, position)
        length = high << 8 | low
        if length > self.limit:
            raise ProtocolError(f"a frame of {length} bytes, where {self.limit} are allowed")
        stream &= 0x7FFFFFFF
        if kind == DATA:
            return self._begin_data(data, start, Frame(kind, flags, stream, b""), length)
        if kind not in _WHOLE:
            self._skip = length
            return start, None
        if length > _WHOLE_LIMIT:
            raise ProtocolError(f"a frame of type {kind} with {length} bytes")
        end = start + length
        if len(data) < end:
            return None
        return end, Frame(kind, flags, stream, data[start:end])

    def _begin_data(self, data: bytes, start: int, frame: Frame, length: int) -> tuple[int, None] | None:
        padding = 0
        if frame.flags & PADDED:
            if not length:
                raise ProtocolError("a padded frame without the length of its padding")
            if len(data) <= start:
                return None
            padding = data[start]
            start += 1
            length -= 1
            if padding > length:
                raise ProtocolError(f"{padding} bytes of padding in a frame of {length}")
        self._data = frame
        self._left = length - padding
        self._skip = padding
        return start, None


def fragment(frame: Frame) -> bytes:
    """Return the part of a header block that a HEADERS frame holds. Raises ProtocolError."""
    start, end = 0, len(frame.payload)
    if frame.flags & PADDED:
        if not end:
            raise ProtocolError("a padded frame without the length of its padding")
        start = 1
        end -= frame.payload[0]
    if frame.flags & _PRIORITY_FLAG:
        start += 5
    if start > end:
        raise ProtocolError("a HEADERS frame that is shorter than its padding and priority")
    return frame.payload[start:end]


def settings(frame: Frame) -> list[tuple[int, int]]:
    """Return numbers and values of a SETTINGS frame; none when it is an acknowledgement. Raises ProtocolError."""
    if frame.flags & ACK:
        return []
    if len(frame.payload) % _SETTING.size:
        raise ProtocolError(f"SETTINGS with {len(frame.payload)} bytes")
    return list(_SETTING.iter_unpack(frame.payload))
