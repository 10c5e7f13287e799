"""Cuts the data of one direction of a call into gRPC's length-prefixed messages, in bounded memory."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, NamedTuple

from sixhops.harness.tap.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MESSAGE_LIMIT", "Budget", "Long", "MessageReader"]

#: Bytes of a message that is kept: containerd's own limit for what it sends and takes.
MESSAGE_LIMIT = 16 * 1024 * 1024
#: Bytes of messages of one connection that are held because they are not complete.
_BUDGET = 64 * 1024 * 1024
#: Bytes of a body without prefix that are kept.
_PLAIN_LIMIT = 64 * 1024
_PREFIX = 5
_HEAD = 64


class Long(NamedTuple):
    """What is left of a message that was too long to keep, as it was on the wire."""

    length: int
    sha256: str
    head: bytes


class Budget:
    """The memory that the unfinished messages of one connection share."""

    def __init__(self, size: int = _BUDGET) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False when they are not there."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Return what was taken."""
        self._left += size


class MessageReader:
    """Reads messages out of one direction of a stream, whose headers say how they are compressed.

    A body that isn't gRPC's (by its content-type) is one message without a prefix, which `end` returns.
    """

    __slots__ = (
        "_budget",
        "_compressed",
        "_encoding",
        "_hash",
        "_held",
        "_left",
        "_length",
        "_parts",
        "_plain",
    )

    def __init__(self, headers: list[tuple[bytes, bytes]], budget: Budget) -> None:
        self._encoding = b""
        self._plain = True
        for name, value in headers:
            if name == b"grpc-encoding":
                self._encoding = value
            elif name == b"content-type" and value.startswith(b"application/grpc"):
                self._plain = False
        self._budget = budget
        self._parts = bytearray()
        self._left = -1
        self._length = 0
        self._compressed = False
        self._held = 0
        self._hash: hashlib._Hash | None = None

    def feed(self, data: bytes) -> Iterator[bytes | Long]:
        """Take bytes and give the messages that they complete. Raises ProtocolError; must be exhausted."""
        if self._plain:
            self._add_plain(data)
            return
        position = 0
        while position < len(data):
            if self._left < 0:
                missing = _PREFIX - len(self._parts)
                self._parts += data[position : position + missing]
                position += missing
                if len(self._parts) < _PREFIX:
                    return
                self._begin()
            part = data[position : position + self._left]
            position += len(part)
            self._left -= len(part)
            self._add(part)
            if not self._left:
                yield self._finish()

    def end(self) -> bytes | Long | None:
        """Say that the direction has ended; return a body without prefix. ProtocolError when inside a message."""
        if not self._plain:
            if self._left >= 0:
                raise ProtocolError(
                    f"ended inside a gRPC message: {self._left} bytes of {self._length} are missing"
                )
            if self._parts:
                raise ProtocolError(f"ended inside the prefix of a gRPC message: {bytes(self._parts)!r}")
            return None
        return self._finish() if self._length else None

    def drop(self) -> None:
        """Forget what was begun."""
        self._budget.give(self._held)
        self._held = 0
        self._parts = bytearray()

    def _begin(self) -> None:
        flag = self._parts[0]
        if flag > 1:
            raise ProtocolError(f"not the prefix of a gRPC message: {bytes(self._parts)!r}")
        self._compressed = flag == 1
        self._length = self._left = int.from_bytes(self._parts[1:])
        self._parts = bytearray()
        if self._length <= MESSAGE_LIMIT and self._budget.take(self._length):
            self._held = self._length
        else:
            self._hash = hashlib.sha256()

    def _add(self, part: bytes) -> None:
        if self._hash is None:
            self._parts += part
            return
        self._hash.update(part)
        if len(self._parts) < _HEAD:
            self._parts += part[: _HEAD - len(self._parts)]

    def _add_plain(self, data: bytes) -> None:
        self._length += len(data)
        if self._hash is None and self._length > _PLAIN_LIMIT:
            self._hash = hashlib.sha256(self._parts)
            del self._parts[_HEAD:]
        self._add(data)

    def _finish(self) -> bytes | Long:
        data = bytes(self._parts)
        length, digest = self._length, self._hash
        self._hash = None
        self._left = -1
        self._length = 0
        self.drop()
        if digest is not None:
            return Long(length, digest.hexdigest(), data)
        return self._decompress(data) if self._compressed else data

    def _decompress(self, data: bytes) -> bytes | Long:
        # What can't be decompressed is reported as it came: which error it deserves is up to the peers.
        wbits = {b"gzip": 31, b"deflate": 15}.get(self._encoding)
        if wbits is None:
            return data
        decompressor = zlib.decompressobj(wbits)
        try:
            plain = decompressor.decompress(data, MESSAGE_LIMIT)
        except zlib.error:
            return data
        if decompressor.unconsumed_tail or not decompressor.eof:
            return Long(len(data), hashlib.sha256(data).hexdigest(), data[:_HEAD])
        return plain
