"""Logs as a client asks for them: the options read, the records filtered, dressed and framed for the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from sixhops.dockerd.containers.logs.records import Record, Selection
from sixhops.dockerd.containers.times import fixed, parse_query
from sixhops.dockerd.errors import EngineError, invalid
from sixhops.wire.rawstream import Stream, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sixhops.dockerd.containers.logs.drivers import Log
    from sixhops.dockerd.containers.streams.connection import LogOptions

__all__ = ["LogReader", "past_output", "selection_of"]

_STREAMS = {"stdout": Stream.STDOUT, "stderr": Stream.STDERR}


def selection_of(options: LogOptions) -> Selection:
    """Return what a request selects. Raises EngineError 400."""
    wanted = frozenset(
        name for name, is_wanted in (("stdout", options.stdout), ("stderr", options.stderr)) if is_wanted
    )
    if not wanted:
        raise invalid("Bad parameters: you must choose at least one stream")
    tail = int(options.tail) if options.tail.isascii() and options.tail.isdigit() else None
    return Selection(wanted, parse_query(options.since), parse_query(options.until), tail)


class LogReader:
    """An answer to GET logs: iterate for bytes that are ready for the wire, framed unless there is a terminal."""

    def __init__(self, log: Log | None, options: LogOptions, *, tty: bool) -> None:
        """`log` None is the driver `none`. Raises EngineError."""
        selection = selection_of(options)
        if log is None:
            raise EngineError(501, "configured logging driver does not support reading")
        self.tty = tty
        self._log = log
        self._selection = selection
        self._follow = options.follow and log.is_open
        self._timestamps = options.timestamps
        self._details = options.details

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield one stored record after the other; with `follow` until the program ends."""
        if self._follow:
            async for record in self._log.follow(self._selection):
                yield self._dressed(record)
        else:
            for record in self._log.read(self._selection):
                yield self._dressed(record)

    def _dressed(self, record: Record) -> bytes:
        data = record.data
        if self._details:
            pairs = sorted(record.attributes.items())
            shown = ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
            data = f"{shown} ".encode() + data
        if self._timestamps:
            data = f"{fixed(record.time)} ".encode() + data
        return data if self.tty else encode(_STREAMS[record.stream], data)


def past_output(log: Log | None, streams: frozenset[Stream]) -> Iterator[tuple[Stream, bytes]]:
    """Yield what an attach with `logs` sends first."""
    if log is not None:
        for record in log.read(Selection(frozenset(stream.label for stream in streams))):
            yield _STREAMS[record.stream], record.data
