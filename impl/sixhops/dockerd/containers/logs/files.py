"""A log in files: appended to, rotated by size, older files compressed, read from either end and followed without polling.

All happens in the event loop's thread (but for the mode non-blocking, where another one writes the bytes, and only that),
so a reader that has seen the end of the file and then waits can't miss a record. Names are dockerd's: `path` is the current
file, `path.1` the one before, `path.2.gz` the one before that; a rotated file is compressed once it is no longer written to.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import struct
import tempfile
import zlib
from collections import deque
from typing import IO, TYPE_CHECKING

from sixhops.dockerd.containers.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sixhops.dockerd.containers.logs.formats import Format
    from sixhops.dockerd.containers.logs.records import Record, Selection

__all__ = ["LogFiles"]

_PIECE = 1 << 20
#: gzip's header with an extra field, where dockerd looks for the time of a file's last record.
_GZIP_HEAD = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"


class LogFiles:
    """The files of one log."""

    def __init__(self, path: Path, form: Format, limit: int | None, count: int, *, compress: bool) -> None:
        """`limit` is the size in bytes from which on a file is rotated, `count` how many files are kept."""
        self.path = path
        self._form = form
        self._limit = limit
        self._count = count
        self._compress = compress
        self._descriptor: int | None = None
        self._size = 0
        self._generation = 0
        self._last_time = 0
        self._changed: set[asyncio.Future[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether somebody writes, so that following makes sense."""
        return self._descriptor is not None

    def open(self) -> None:
        """Begin to write."""
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o640)
            self._size = os.fstat(self._descriptor).st_size

    def write(self, records: list[Record]) -> None:
        """Append records. Raises OSError (a full disk)."""
        if self._descriptor is None or not records:
            return
        if self._limit is None:
            self._append(b"".join(map(self._form.encode, records)))
        else:
            for record in records:
                if self._size >= self._limit:
                    self._rotate()
                self._append(self._form.encode(record))
                self._last_time = record.time
        self._fire()

    async def append(self, records: list[Record]) -> None:
        """Append records as `write` does, but let a thread wait for the disk; one call at a time, and `close` not before.

        Raises OSError (a full disk).
        """
        left = deque(records)
        while left:
            if self._limit is not None and self._size >= self._limit:
                self._rotate()
            data = bytearray()
            while left and (self._limit is None or not data or self._size + len(data) < self._limit):
                self._last_time = left[0].time
                data += self._form.encode(left.popleft())
            await asyncio.to_thread(self._put, data)
            self._size += len(data)
            self._fire()

    def close(self) -> None:
        """End writing; followers end with it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._fire()

    def read(self, selection: Selection) -> Iterator[Record]:
        """Yield stored records."""
        for record in self._tail(selection) if selection.tail is not None else self._all():
            if selection.is_over(record):
                return
            if selection.takes(record):
                yield record

    async def follow(self, selection: Selection) -> AsyncIterator[Record]:
        """Yield stored records, and then new ones until writing ends."""
        generation = self._generation
        file = self._open_generation(generation)
        position = os.fstat(file.fileno()).st_size if file else 0
        try:
            # what is stored up to this moment; later records are read from `position` on
            for record in list(self.read(selection)):
                yield record
            if file:
                file.seek(position)
            while True:
                for record in self._form.records(file) if file else ():
                    if selection.is_over(record):
                        return
                    if selection.takes(record):
                        yield record
                if file is None:
                    generation = self._generation
                    file = self._open_generation(generation)
                    if file:
                        continue
                elif generation != self._generation:
                    # the file that was read to its end has been rotated away; the next one begins
                    file.close()
                    generation += 1
                    file = self._open_generation(generation)
                    continue
                if not self.is_open:
                    return
                await self._wait()
        finally:
            if file:
                file.close()

    def remove(self) -> None:
        """Remove all files; followers end."""
        self.close()
        for number in range(self._count + 1):
            self._plain(number).unlink(missing_ok=True)
            self._packed(number).unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        self._put(data)
        self._size += len(data)

    def _put(self, data: bytes | bytearray) -> None:
        assert self._descriptor is not None
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _rotate(self) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None
        if self._count == 1:
            self.path.unlink(missing_ok=True)
        for number in range(self._count - 1, 0, -1):
            for name in (self._packed, self._plain):
                if name(number - 1).exists():
                    name(number - 1).replace(name(number))
        if self._count > 1:
            # a file of the other kind may stand beside the one that took its place
            self._packed(1).unlink(missing_ok=True)
            if self._compress:
                self._pack()
        self._generation += 1
        self.open()

    def _pack(self) -> None:
        """Compress the file that was rotated last; a reader finds it under one name or the other."""
        plain, packed = self._plain(1), self._packed(1)
        stamp = json.dumps({"lastTime": rfc3339(self._last_time)}).encode()
        temporary = packed.with_name(f"{packed.name}.tmp")
        with plain.open("rb") as source, temporary.open("wb") as target:
            target.write(_GZIP_HEAD + struct.pack("<H", len(stamp)) + stamp)
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            check = size = 0
            while piece := source.read(_PIECE):
                check, size = zlib.crc32(piece, check), size + len(piece)
                target.write(packer.compress(piece))
            target.write(packer.flush() + struct.pack("<II", check, size & 0xFFFFFFFF))
        temporary.chmod(0o640)
        temporary.replace(packed)
        plain.unlink()

    def _plain(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _packed(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}.gz")

    def _open_generation(self, generation: int) -> IO[bytes] | None:
        return self._open_number(max(0, self._generation - generation))

    def _open_number(self, number: int) -> IO[bytes] | None:
        with contextlib.suppress(FileNotFoundError):
            return self._plain(number).open("rb")
        if number:
            with contextlib.suppress(FileNotFoundError):
                return _unpacked(self._packed(number))
        return None

    def _files(self) -> Iterator[tuple[IO[bytes], int | None]]:
        """Yield the files that there are, opened, newest first, and where the last whole record of each ends."""
        for number in range(self._count):
            # behind that point a thread may be writing just now
            end = self._size if self.is_open and not number else None
            file = self._open_number(number)
            if file is not None:
                with file:
                    yield file, end

    def _all(self) -> Iterator[Record]:
        for number in reversed(range(self._count)):
            file = self._open_number(number)
            if file is not None:
                with file:
                    yield from self._form.records(file)

    def _tail(self, selection: Selection) -> Iterator[Record]:
        """Return the last records, oldest first. The engine counts those of both streams, whichever are wanted."""
        assert selection.tail is not None
        found: deque[Record] = deque()
        for file, end in self._files():
            for record in self._form.backwards(file, end):
                if len(found) >= selection.tail:
                    return iter(found)
                found.appendleft(record)
        return iter(found)

    def _fire(self) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)
        self._changed.clear()

    async def _wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._changed.add(future)
        try:
            await future
        finally:
            self._changed.discard(future)


def _unpacked(path: Path) -> IO[bytes]:
    """Return a compressed file's content as a file that can be read backwards too."""
    with gzip.open(path, "rb") as source:
        target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        while piece := source.read(_PIECE):
            target.write(piece)
    target.seek(0)
    return target
