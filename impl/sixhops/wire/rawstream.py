"""Docker's multiplexed raw stream: the frames in which stdout and stderr share one connection.

A frame is eight bytes of header and then its data: the stream's number, three zero bytes, and the length
of the data as a big-endian 32-bit number. The engine sends it on attach, exec start and logs whenever the
container has no TTY; with a TTY the bytes travel bare. Client to engine there are no frames at all: stdin
is sent as it is.

This module knows nothing of HTTP or sockets. Bytes go in by `Decoder.feed`, frames come out, however the
bytes were cut.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["DEFAULT_LIMIT", "Decoder", "Frame", "RawStreamError", "Stream", "encode"]

_HEADER = struct.Struct(">B3sI")

#: The largest frame that a decoder takes by default, in bytes. Engines send what one read of a pipe gave
#: them (32 KiB) or one log record (16 KiB); a length beyond this is a stream that is not multiplexed, or a
#: lie that would make us wait forever.
DEFAULT_LIMIT = 16 * 1024 * 1024


class Stream(IntEnum):
    """What a frame belongs to. `SYSTEMERR` carries the engine's own error text since Docker 1.13."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    SYSTEMERR = 3

    @property
    def label(self) -> str:
        """Return the lower-case name, as scenarios and transcripts write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: the stream that it belongs to, and its data without the header."""

    stream: Stream
    data: bytes


class RawStreamError(ValueError):
    """The bytes are not a multiplexed stream; `offset` is where in the whole stream the bad frame begins.

    `frames` are those that the same call of `feed` had completed before it came to the bad one.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset} of the stream)")
        self.offset = offset
        self.frames: list[Frame] = []


def encode(stream: Stream, data: bytes) -> bytes:
    """Return `data` as one frame of `stream`. Raises OverflowError beyond 2**32 - 1 bytes, which no header
    can say.
    """
    if len(data) > 0xFFFFFFFF:
        raise OverflowError(f"a frame holds at most 4294967295 bytes, not {len(data)}")
    return _HEADER.pack(stream, b"\0\0\0", len(data)) + data


class Decoder:
    """Turns bytes into frames. Keep one for each connection and direction.

    After a RawStreamError nothing more can be decoded, because without a sound header the next frame's
    place is unknown.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._offset = 0

    @property
    def pending(self) -> bytes:
        """Return the bytes of a frame that has begun and not ended."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take `data` and return the frames that it completes, in order.

        Raises RawStreamError for an unknown stream number, padding that is not zero, or a length above the
        limit.
        """
        self._buffer += data
        frames: list[Frame] = []
        position = 0
        try:
            while len(self._buffer) - position >= _HEADER.size:
                number, padding, length = _HEADER.unpack_from(self._buffer, position)
                self._check(number, padding, length, self._offset + position)
                end = position + _HEADER.size + length
                if len(self._buffer) < end:
                    break
                frames.append(Frame(Stream(number), bytes(self._buffer[position + _HEADER.size : end])))
                position = end
        except RawStreamError as error:
            error.frames = frames
            raise
        finally:
            # One deletion for all frames of a read: deleting frame by frame moves the rest each time.
            del self._buffer[:position]
            self._offset += position
        return frames

    def finish(self) -> None:
        """Say that the stream has ended. Raises RawStreamError when it ended inside a frame."""
        if not self._buffer:
            return
        have = len(self._buffer)
        if have < _HEADER.size:
            raise RawStreamError(
                f"the stream ended {have} bytes into a frame header of {_HEADER.size}", self._offset
            )
        length = _HEADER.unpack_from(self._buffer)[2]
        message = f"the stream ended {have - _HEADER.size} bytes into a frame of {length}"
        raise RawStreamError(message, self._offset)

    def _check(self, number: int, padding: bytes, length: int, offset: int) -> None:
        if number > Stream.SYSTEMERR:
            raise RawStreamError(f"there is no stream {number}", offset)
        if padding != b"\0\0\0":
            raise RawStreamError(f"the header's padding is {padding.hex(' ')} instead of zeros", offset)
        if length > self._limit:
            raise RawStreamError(f"a frame of {length} bytes is above the limit of {self._limit}", offset)
