"""Times for `--since` and `--until`, read as docker reads them: a span, a part of an RFC 3339 time, or Unix seconds.

Which layout a text is held against, and what is said of a text that does not fit it, is upstream's: api/types/time of
moby, and Parse of Go's package time.
"""

from __future__ import annotations

import calendar
import re
import time
from datetime import date
from typing import NamedTuple, NoReturn

from sixhops.docker.values import duration, quote

__all__ = ["timestamp"]

_ZONE = "Z07:00"
_ELEMENTS = re.compile(r"2006|01|02|15|04|05|\.999999999|Z07:00|.")
#: How an element that is a number is called in messages, and the first value that is out of its range.
_RANGES = {"01": ("month", 1, 12), "15": ("hour", 0, 23), "04": ("minute", 0, 59), "05": ("second", 0, 59)}
_CYCLE = 400, 146_097  # years and days after which the calendar repeats


class _Read(NamedTuple):
    """What a layout took from a text: element by element, the fraction in nanoseconds, the zone in seconds."""

    numbers: dict[str, int]
    fraction: int
    offset: int | None


def timestamp(text: str) -> str:
    """Return a time as the engine's `since` and `until` take it: seconds since 1970, with nanoseconds where there are.

    `text` is a span before now (10m), an RFC 3339 time or a part of one (a zone that is not said is the local one), or
    seconds since 1970, which stay as they are. Raises ValueError for anything else.
    """
    if text != "0":
        try:
            return str((time.time_ns() - duration(text)) // 10**9)
        except ValueError:
            pass  # no span
    layout = _layout(text)
    try:
        read = _parse(layout, text)
    except ValueError:
        if "-" in text:
            raise
        parts = text.split(".", 1)
        if all(re.fullmatch(r"[+-]?\d+", part, re.ASCII) and abs(int(part)) < 1 << 63 for part in parts):
            return text
        raise ValueError(f"failed to parse value as time or duration: {quote(text)}") from None
    return f"{_seconds(read)}.{read.fraction:09d}"


def _layout(text: str) -> str:
    """Return the layout that a text is held against, in Go's notation."""
    zoned = any(sign in text for sign in "zZ+") or text.count("-") == 3
    end = _ZONE if zoned else ""
    if "." in text:
        return f"2006-01-02T15:04:05.999999999{end}"
    if "T" not in text:
        return f"2006-01-02{end}"
    colons = text.count(":")
    if zoned and "z" not in text and "Z" not in text and colons:
        colons -= 1  # the zone's own
    return f"2006-01-02T15{('', ':04', ':04:05')[min(colons, 2)]}{end}"


def _parse(layout: str, text: str) -> _Read:
    """Read a text by a layout. Raises ValueError as Go's time.Parse words it."""
    numbers: dict[str, int] = {}
    fraction, offset, rest = 0, None, text

    def refuse(element: str) -> NoReturn:
        place = f"cannot parse {quote(rest)} as {quote(element)}"
        raise ValueError(f"parsing time {quote(text)} as {quote(layout)}: {place}")

    for element in _ELEMENTS.findall(layout):
        if element == _ZONE:
            found = re.match(r"Z|([+-])(\d\d):(\d\d)", rest, re.ASCII)
            if found is None:
                refuse(element)
            ahead = int(found[2] or 0) * 3600 + int(found[3] or 0) * 60
            offset = -ahead if found[1] == "-" else ahead
        elif element.startswith(".9"):
            found = re.match(r"(?:\.(\d{1,9}))?", rest, re.ASCII)
            fraction = int(f"{found[1]:0<9}") if found and found[1] else 0
        elif element.isdigit():
            width = {"2006": r"\d{4}", "15": r"\d\d?"}.get(element, r"\d\d")
            found = re.match(width, rest, re.ASCII)
            if found is None:
                refuse(element)
            numbers[element] = int(found[0])
            name, least, most = _RANGES.get(element, ("", 0, 9999))
            if not least <= numbers[element] <= most:
                raise ValueError(f"parsing time {quote(text)}: {name} out of range")
        else:
            found = re.match(re.escape(element), rest)
            if found is None:
                refuse(element)
        rest = rest[found.end() if found else 0 :]
    if rest:
        raise ValueError(f"parsing time {quote(text)}: extra text: {quote(rest)}")
    if not 1 <= numbers["02"] <= _days(numbers["2006"], numbers["01"]):
        raise ValueError(f"parsing time {quote(text)}: day out of range")
    return _Read(numbers, fraction, offset)


def _days(year: int, month: int) -> int:
    return calendar.monthrange(year % 400 + 400, month)[1]


def _seconds(read: _Read) -> int:
    """Return the Unix time; the year 0 exists, as in Go."""
    numbers = read.numbers
    years, days = _CYCLE
    cycle, year = divmod(numbers["2006"], years)
    day = date(year + years, numbers["01"], numbers["02"]).toordinal() + (cycle - 1) * days
    offset = time.localtime().tm_gmtoff if read.offset is None else read.offset
    clock = numbers.get("15", 0) * 3600 + numbers.get("04", 0) * 60 + numbers.get("05", 0)
    return (day - date(1970, 1, 1).toordinal()) * 86400 + clock - offset
