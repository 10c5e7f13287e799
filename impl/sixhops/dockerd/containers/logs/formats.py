"""The two formats in which logs are stored, byte for byte dockerd's: a JSON object a line, and protobuf between its lengths.

Each format encodes a record, reads records forwards up to one that is torn or still being written (and then stands before
it), and reads them backwards.
"""

from __future__ import annotations

import json
import os
import struct
from typing import IO, TYPE_CHECKING, Protocol

from google.protobuf.message import DecodeError

from sixhops.dockerd.containers.logs.records import Partial, Record
from sixhops.dockerd.containers.times import parse_rfc3339, rfc3339
from sixhops.wire.proto.logentry_pb2 import LogEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Format", "JsonFormat", "LocalFormat"]

_BLOCK = 64 << 10
_LENGTH = struct.Struct(">I")
#: A longer record can't be one; dockerd's own number.
_LONGEST = 1_000_000


class Format(Protocol):
    """How records are written to a file and read from it."""

    def encode(self, record: Record) -> bytes:
        """Return a record's bytes."""
        ...

    def records(self, file: IO[bytes]) -> Iterator[Record]:
        """Yield records from where the file stands; it is left behind the last whole one."""
        ...

    def backwards(self, file: IO[bytes], end: int | None = None) -> Iterator[Record]:
        """Yield the file's records, last first; `end` is where the last one ends, None for the file's end."""
        ...


class JsonFormat:
    """The json-file driver's: `{"log":...,"stream":...,"attrs":{...},"time":...}`, one a line."""

    def encode(self, record: Record) -> bytes:
        """Return a record's line."""
        attributes = f'"attrs":{_json(dict(sorted(record.attributes.items())))},' if record.attributes else ""
        text = _json(record.data.decode("utf-8", "replace"))
        stamp = rfc3339(record.time)
        return f'{{"log":{text},"stream":"{record.stream}",{attributes}"time":"{stamp}"}}\n'.encode()

    def records(self, file: IO[bytes]) -> Iterator[Record]:
        """Yield records; see `Format`."""
        while line := file.readline():
            if not line.endswith(b"\n"):
                # the writer is in the middle of it, or died there
                file.seek(-len(line), os.SEEK_CUR)
                return
            record = _from_json(line)
            if record is not None:
                yield record

    def backwards(self, file: IO[bytes], end: int | None = None) -> Iterator[Record]:
        """Yield records; see `Format`."""
        for line in _lines_backwards(file, end):
            record = _from_json(line)
            if record is not None:
                yield record


class LocalFormat:
    """The local driver's: protobuf (logentry.proto), its length before and behind it."""

    def encode(self, record: Record) -> bytes:
        """Return a record's bytes."""
        entry = LogEntry(source=record.stream, time_nano=record.time, line=record.data.removesuffix(b"\n"))
        if record.partial is not None:
            entry.partial = True
            part = entry.partial_log_metadata
            part.last, part.id, part.ordinal = record.partial.last, record.partial.id, record.partial.ordinal
        data = entry.SerializeToString()
        length = _LENGTH.pack(len(data))
        return length + data + length

    def records(self, file: IO[bytes]) -> Iterator[Record]:
        """Yield records; see `Format`."""
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(head)
            data = file.read(length + _LENGTH.size) if length <= _LONGEST else b""
            if len(data) < length + _LENGTH.size:
                file.seek(-len(data), os.SEEK_CUR)
                break
            record = _from_entry(data[:length])
            if record is not None:
                yield record
        file.seek(-len(head), os.SEEK_CUR)

    def backwards(self, file: IO[bytes], end: int | None = None) -> Iterator[Record]:
        """Yield records; see `Format`. What does not begin with the length that it ends with ends the walk."""
        end = file.seek(0, os.SEEK_END) if end is None else end
        while end >= 2 * _LENGTH.size:
            file.seek(end - _LENGTH.size)
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            begin = end - length - 2 * _LENGTH.size
            if begin < 0:
                return
            file.seek(begin)
            if file.read(_LENGTH.size) != _LENGTH.pack(length):
                return
            record = _from_entry(file.read(length))
            if record is not None:
                yield record
            end = begin


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        if mark in text:
            text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _from_json(line: bytes) -> Record | None:
    """Return a record, None for a line that a crash has torn."""
    try:
        entry = json.loads(line)
        return Record(
            str(entry["stream"]),
            str(entry.get("log", "")).encode(),
            parse_rfc3339(entry["time"]),
            attributes={str(name): str(value) for name, value in (entry.get("attrs") or {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _from_entry(data: bytes) -> Record | None:
    try:
        entry = LogEntry.FromString(data)
    except DecodeError:
        return None
    if not entry.partial:
        return Record(entry.source, entry.line + b"\n", entry.time_nano)
    found = entry.partial_log_metadata
    part = Partial(found.id, found.ordinal, found.last)
    # dockerd reads the end of a long line back without the newline that it was written with
    return Record(entry.source, entry.line, entry.time_nano, part)


def _lines_backwards(file: IO[bytes], end: int | None) -> Iterator[bytes]:
    position = file.seek(0, os.SEEK_END) if end is None else end
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
