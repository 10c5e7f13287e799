"""Records of a container's log: how output is cut into them, and which of them a reader wants."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from sixhops.dockerd import metrics

__all__ = ["PARTIAL_SIZE", "LineSplitter", "Partial", "Record", "Selection"]

#: Longer lines are cut into records of this size; dockerd's own number.
PARTIAL_SIZE = 16 << 10
_ID_BYTES = 32


@dataclass(frozen=True, slots=True)
class Partial:
    """Which part of a long line a record is: parts of one line share `id`, `ordinal` counts from 1."""

    id: str
    ordinal: int
    last: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One stored record; `data` with its newline when the line ended, `time` in nanoseconds since 1970.

    `attributes` are what the options labels, env and tag add; `partial` is None for a line that is whole.
    """

    stream: str
    data: bytes
    time: int
    partial: Partial | None = None
    attributes: dict[str, str] = field(default_factory=dict)


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
    """Cuts one output stream into records, as dockerd does: a line, or pieces of one that is too long.

    The pieces of one line carry the time of the first.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._rest = b""
        self._since = 0
        self._id = ""
        self._ordinal = 0

    def feed(self, data: bytes, now: int) -> list[Record]:
        """Take bytes that came at `now`; return the records that they complete."""
        records: list[Record] = []
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            line = self._cut(line, now, records)
            records.append(self._whole(line + b"\n", now))
        self._rest = self._cut(self._rest, now, records)
        return records

    def finish(self, now: int) -> list[Record]:
        """Return what is left when the stream ends inside a line."""
        rest, self._rest = self._rest, b""
        return [self._part(rest, now)] if rest else []

    def _whole(self, line: bytes, now: int) -> Record:
        if not self._id:
            return Record(self._stream, line, now)
        record = Record(self._stream, line, self._since, Partial(self._id, self._ordinal, last=True))
        self._id, self._ordinal = "", 0
        return record

    def _part(self, piece: bytes, now: int) -> Record:
        if not self._id:
            self._id, self._ordinal, self._since = secrets.token_hex(_ID_BYTES), 1, now
        metrics.LOG_PARTIAL.add()
        record = Record(self._stream, piece, self._since, Partial(self._id, self._ordinal, last=False))
        self._ordinal += 1
        return record

    def _cut(self, line: bytes, now: int, records: list[Record]) -> bytes:
        while len(line) >= PARTIAL_SIZE:
            records.append(self._part(line[:PARTIAL_SIZE], now))
            line = line[PARTIAL_SIZE:]
        return line
