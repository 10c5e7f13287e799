"""The json-file log: one JSON object a line, rotated by size, read from the start or the end and followed without polling.

Writing: `LineSplitter` cuts a stream into records as dockerd does (a line, or 16 KiB of a line that is longer; the parts of
one line carry the time of the first), `JsonFileLog` appends them. Reading: `read` walks the files, `follow` waits for
`changed`, which the writer fires. Both live in the event loop's thread, so a reader that has seen the end of the file
and then waits can't miss a record.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from sixhops.dockerd.containers.times import parse_rfc3339, rfc3339
from sixhops.dockerd.errors import invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

__all__ = ["JsonFileLog", "LineSplitter", "Record", "Selection"]

PARTIAL_SIZE = 16 << 10
_BLOCK = 64 << 10
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True)
class Record:
    """One stored record; `data` with its newline when the line ended, `time` in nanoseconds since 1970."""

    stream: str
    data: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records are wanted: streams, time span (None: open), the last `tail` (None: all)."""

    streams: frozenset[str]
    since: int | None = None
    until: int | None = None
    tail: int | None = None

    def takes(self, record: Record) -> bool:
        """Return whether a record is wanted, by stream and start of the span."""
        return record.stream in self.streams and (self.since is None or record.time >= self.since)

    def is_over(self, record: Record) -> bool:
        """Return whether a record, and so all after it, is too late."""
        return self.until is not None and record.time > self.until


class LineSplitter:
    """Cuts one output stream into records."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._rest = b""
        self._partial_since = 0

    def feed(self, data: bytes, now: int) -> list[Record]:
        """Take bytes that came at `now`; return the records that they complete."""
        records: list[Record] = []
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            line = self._cut(line, now, records)
            records.append(Record(self._stream, line + b"\n", self._partial_since or now))
            self._partial_since = 0
        self._rest = self._cut(self._rest, now, records)
        return records

    def finish(self, now: int) -> list[Record]:
        """Return what is left when the stream ends inside a line."""
        rest, self._rest = self._rest, b""
        return [Record(self._stream, rest, self._partial_since or now)] if rest else []

    def _cut(self, line: bytes, now: int, records: list[Record]) -> bytes:
        while len(line) >= PARTIAL_SIZE:
            self._partial_since = self._partial_since or now
            records.append(Record(self._stream, line[:PARTIAL_SIZE], self._partial_since))
            line = line[PARTIAL_SIZE:]
        return line


class JsonFileLog:
    """The log of one container. `path` is the current file, `path.1` the one before, and so on."""

    def __init__(self, path: Path, options: dict[str, str]) -> None:
        """`options`: `max-size` (10m) and `max-file` (3). Raises EngineError 400 for values that make no sense."""
        self.path = path
        self._limit = _parse_size(options.get("max-size", "-1"))
        self._files = _parse_count(options.get("max-file", "1"))
        if self._limit is None and self._files > 1:
            raise invalid("max-file cannot be used without max-size")
        self._descriptor: int | None = None
        self._size = 0
        self._generation = 0
        self._changed: set[asyncio.Future[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether somebody writes, so that following makes sense."""
        return self._descriptor is not None

    def open(self) -> None:
        """Begin to write."""
        if self._descriptor is None:
            self._descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
            self._size = os.fstat(self._descriptor).st_size

    def write(self, records: list[Record]) -> None:
        """Append records. Raises OSError (a full disk)."""
        if self._descriptor is None or not records:
            return
        if self._limit is None:
            self._append(b"".join(map(_encode, records)))
        else:
            for record in records:
                if self._size >= self._limit:
                    self._rotate()
                self._append(_encode(record))
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
        file = self._open_current()
        position = os.fstat(file.fileno()).st_size if file else 0
        try:
            # what is stored up to this moment; later records are read from `position` on
            for record in list(self.read(selection)):
                yield record
            if file:
                file.seek(position)
            while True:
                for record in _records(file) if file else ():
                    if selection.is_over(record):
                        return
                    if selection.takes(record):
                        yield record
                if file is None:
                    generation = self._generation
                    file = self._open_current()
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
        for number in range(self._files + 1):
            self._numbered(number).unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        assert self._descriptor is not None
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._size += len(data)

    def _rotate(self) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None
        if self._files == 1:
            self.path.unlink(missing_ok=True)
        for number in range(self._files - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self._generation += 1
        self.open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _open_current(self) -> IO[bytes] | None:
        return self._open_generation(self._generation)

    def _open_generation(self, generation: int) -> IO[bytes] | None:
        path = self._numbered(max(0, self._generation - generation))
        return path.open("rb") if path.exists() else None

    def _paths(self) -> list[Path]:
        """Return the files that there are, newest first."""
        return [path for number in range(self._files) if (path := self._numbered(number)).exists()]

    def _all(self) -> Iterator[Record]:
        for path in reversed(self._paths()):
            with path.open("rb") as file:
                yield from _records(file)

    def _tail(self, selection: Selection) -> Iterator[Record]:
        """Return the last records, oldest first. The engine counts those of both streams, whichever are wanted."""
        assert selection.tail is not None
        found: deque[Record] = deque()
        for path in self._paths():
            with path.open("rb") as file:
                for line in _backwards(file):
                    if len(found) >= selection.tail:
                        return iter(found)
                    record = _decode(line)
                    if record is not None:
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


def _records(file: IO[bytes]) -> Iterator[Record]:
    while line := file.readline():
        if not line.endswith(b"\n"):
            # the writer is in the middle of it, or died there
            file.seek(-len(line), os.SEEK_CUR)
            return
        record = _decode(line)
        if record is not None:
            yield record


def _backwards(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the whole lines of a file, last first."""
    position = file.seek(0, os.SEEK_END)
    rest = b""
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        lines = (file.read(size) + rest).split(b"\n")
        rest = lines.pop(0)
        for line in reversed(lines):
            if line:
                yield line
    if rest:
        yield rest


def _encode(record: Record) -> bytes:
    text = json.dumps(record.data.decode("utf-8", "replace"), ensure_ascii=False)
    for mark in "<>&\u2028\u2029":
        if mark in text:
            text = text.replace(mark, f"\\u{ord(mark):04x}")
    return f'{{"log":{text},"stream":"{record.stream}","time":"{rfc3339(record.time)}"}}\n'.encode()


def _decode(line: bytes) -> Record | None:
    """Return a record, None for a line that a crash has torn."""
    try:
        entry = json.loads(line)
        return Record(str(entry["stream"]), str(entry.get("log", "")).encode(), parse_rfc3339(entry["time"]))
    except (ValueError, KeyError, TypeError):
        return None


def _parse_size(text: str) -> int | None:
    if text == "-1":
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise invalid(f"invalid size: '{text}'")
    size = int(float(found[1]) * _UNITS[found[2].lower()])
    if size <= 0:
        raise invalid("max-size must be a positive number")
    return size


def _parse_count(text: str) -> int:
    if not text.isdigit():
        raise invalid(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise invalid("max-file cannot be less than 1")
    return int(text)
