"""Frames: a ten-byte header and at most 4 MiB of payload.

The header is big-endian: payload length (4 bytes), stream id (4), type (1), flags (1). Types are 1 request,
2 response, 3 data (streams). Observed between containerd 1.6.20 and its shim.

A payload over the limit is skipped, not kept: the peer gets an answer on that stream and the connection
goes on, as with containerd's own server. A type that we don't know, or the end of the stream inside a
frame, is an error of the connection.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "HEADER_LENGTH",
    "MAXIMUM_LENGTH",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "FrameType",
    "encode_frame",
]

HEADER = struct.Struct(">IIBB")
HEADER_LENGTH = HEADER.size
MAXIMUM_LENGTH = 4 << 20


class FrameType(IntEnum):
    """The third field of the header."""

    REQUEST = 1
    RESPONSE = 2
    DATA = 3


class FrameError(Exception):
    """The bytes are not ttrpc: an unknown type, or the stream ended inside a frame. The connection is
    lost.
    """


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `oversized` is the length of a payload that was too long and has been skipped; else None."""

    type: FrameType
    stream: int
    payload: bytes = b""
    flags: int = 0
    oversized: int | None = None


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of `frame`; ValueError when its payload is over the limit."""
    if len(frame.payload) > MAXIMUM_LENGTH:
        raise ValueError(too_long(len(frame.payload)))
    return HEADER.pack(len(frame.payload), frame.stream, frame.type, frame.flags) + frame.payload


def too_long(length: int) -> str:
    """Return containerd's message for a payload of `length` bytes."""
    return f"message length {length} exceed maximum message size of {MAXIMUM_LENGTH}"


class FrameDecoder:
    """Turns bytes, in pieces of any size, into frames. Holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes; FrameError on an unknown type."""
        frames: list[Frame] = []
        buffer = self._buffer
        buffer += data
        while True:
            if self._skip:
                dropped = min(self._skip, len(buffer))
                del buffer[:dropped]
                self._skip -= dropped
                if self._skip:
                    return frames
            if len(buffer) < HEADER_LENGTH:
                return frames
            length, stream, kind, flags = HEADER.unpack_from(buffer)
            frame_type = _TYPES.get(kind)
            if frame_type is None:
                raise FrameError(f"frame of unknown type {kind} on stream {stream}")
            if length > MAXIMUM_LENGTH:
                del buffer[:HEADER_LENGTH]
                self._skip = length
                frames.append(Frame(frame_type, stream, b"", flags, oversized=length))
                continue
            end = HEADER_LENGTH + length
            if len(buffer) < end:
                return frames
            frames.append(Frame(frame_type, stream, bytes(buffer[HEADER_LENGTH:end]), flags))
            del buffer[:end]

    def end(self) -> None:
        """Tell that the stream ended; FrameError when it did so inside a frame."""
        if self._buffer or self._skip:
            raise FrameError(f"stream ended inside a frame, after {len(self._buffer)} bytes of it")


_TYPES = {int(kind): kind for kind in FrameType}
