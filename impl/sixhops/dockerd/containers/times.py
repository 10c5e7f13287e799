"""Times as Docker writes them: RFC 3339 in UTC with nanoseconds, kept as integers of nanoseconds since 1970."""

from __future__ import annotations

import re
import time
from calendar import timegm

from sixhops.dockerd.errors import system
from sixhops.dockerd.gotime import TimeError, parse_timestamp

__all__ = ["NEVER", "fixed", "parse_query", "parse_rfc3339", "rfc3339"]

#: What Docker prints for a time that never was.
NEVER = "0001-01-01T00:00:00Z"
_SECOND = 1_000_000_000
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)


def rfc3339(nanoseconds: int) -> str:
    """Return a time without trailing zeros in its fraction; 0 is the time that never was."""
    if not nanoseconds:
        return NEVER
    fraction = f"{nanoseconds % _SECOND:09d}".rstrip("0")
    return _whole(nanoseconds) + (f".{fraction}Z" if fraction else "Z")


def fixed(nanoseconds: int) -> str:
    """Return a time with all nine digits, as `logs?timestamps=1` prints it."""
    return f"{_whole(nanoseconds)}.{nanoseconds % _SECOND:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Return nanoseconds since 1970. Raises ValueError."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no RFC 3339 time")
    seconds = timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    if found[3] != "Z":
        sign = 1 if found[3][0] == "+" else -1
        seconds -= sign * (int(found[3][1:3]) * 3600 + int(found[3][4:6]) * 60)
    return seconds * _SECOND + int((found[2] or "").ljust(9, "0"))


def parse_query(text: str) -> int | None:
    """Return what `since` or `until` of a request means: `seconds[.fraction]`; None for "" and "0".

    Raises EngineError 500, for an RFC 3339 time as well: clients turn those into seconds themselves.
    """
    if text in {"", "0"}:
        return None
    try:
        return parse_timestamp(text)
    except TimeError as error:
        raise system(str(error)) from error


def _whole(nanoseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // _SECOND))
