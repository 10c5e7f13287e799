"""Times as Go's `time.Parse` reads them, for the layouts that the engine uses, and its words for what is none.

Sources: `GetTimestamp` of moby 20.10 (api/types/time), which picks a layout by the look of a text; Go 1.19's time.Parse.
"""

from __future__ import annotations

import calendar
import re
from typing import Final

from sixhops.dockerd import goduration
from sixhops.dockerd.goquote import quote, quote_time

__all__ = ["TimeError", "parse_moment", "parse_timestamp"]

_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SECOND: Final = 1_000_000_000
_INT64: Final = range(-(2**63), 2**63)
_NUMBER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_ZONE: Final = "Z07:00"
_FRACTION: Final = ".999999999"
#: The parts of layouts that stand for something; all else stands for itself.
_PARTS: Final = re.compile(r"(2006|01|02|15|04|05|\.999999999|Z07:00)")
#: What a part must be below, and how the error calls it; days are looked at when month and year are known.
_BOUNDS: Final = {
    "01": (1, 13, "month"),
    "15": (0, 24, "hour"),
    "04": (0, 60, "minute"),
    "05": (0, 60, "second"),
}
_YEAR_DIGITS: Final = 4
#: The year 0, which Python's calendar has not: long before any container.
_BEFORE: Final = -62167219200
_ZONE_LENGTH: Final = 6
_NANO_DIGITS: Final = 9


class TimeError(ValueError):
    """The text is no time; the message is the engine's."""


def parse_moment(text: str, now: int) -> int:
    """Return nanoseconds since 1970: of a span before `now`, a time, or seconds since 1970. Raises TimeError."""
    if text != "0":
        try:
            return (now - goduration.parse(text)) // _SECOND * _SECOND
        except goduration.DurationError:
            pass
    try:
        return _parse(_layout(text), text.encode("utf-8", "surrogateescape").decode("latin-1"))
    except TimeError:
        if "-" in text:
            raise
    whole, point, fraction = text.partition(".")
    if not _is_int64(whole) or (point and not _is_int64(fraction)):
        raise TimeError(f"failed to parse value as time or duration: {quote(text)}")
    return int(whole) * _SECOND + (int(int(fraction) * 10.0 ** (9 - len(fraction))) if point else 0)


def _is_int64(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and int(text) in _INT64


def _layout(text: str) -> str:
    is_local = not re.search("[zZ+]", text) and text.count("-") != 3
    zone = "" if is_local else _ZONE
    if "." in text:
        return f"2006-01-02T15:04:05{_FRACTION}{zone}"
    if "T" not in text:
        return f"2006-01-02{zone}"
    colons = text.count(":")
    if not is_local and not re.search("[zZ]", text) and colons:
        colons -= 1  # the one in the zone
    return "2006-01-02T15" + ("", ":04", ":04:05")[min(colons, 2)] + zone


def _parse(layout: str, text: str) -> int:
    """Return nanoseconds since 1970; `text` has a character for each byte, as Go counts. Raises TimeError."""
    rest = text
    found = {"2006": 1, "01": 1, "02": 1, "15": 0, "04": 0, "05": 0, _FRACTION: 0, _ZONE: 0}
    parts = _PARTS.split(layout)
    for at, part in enumerate(parts):
        if at % 2 == 0:
            common = next((n for n, mark in enumerate(part) if rest[n : n + 1] != mark), len(part))
            rest = rest[common:]
            if common < len(part):
                raise _no_part(layout, text, rest, part)
            continue
        value, rest = _read(part, rest, layout, text)
        low, high, name = _BOUNDS.get(part, (value, value + 1, ""))
        if not low <= value < high:
            raise TimeError(f"parsing time {_quoted(text)}: {name} out of range")
        found[part] = value
        if part == "05" and _FRACTION not in parts:
            # a fraction may stand behind the seconds, also where the layout has none
            found[_FRACTION], rest = _fraction(rest)
    if rest:
        raise TimeError(f"parsing time {_quoted(text)}: extra text: {_quoted(rest)}")
    year, month, day = found["2006"], found["01"], found["02"]
    leap = month == 2 and calendar.isleap(year)  # the year 0 as well
    if not 1 <= day <= _DAYS[month - 1] + leap:
        raise TimeError(f"parsing time {_quoted(text)}: day out of range")
    seconds = calendar.timegm((year, month, day, found["15"], found["04"], found["05"])) if year else _BEFORE
    return (seconds - found[_ZONE]) * _SECOND + found[_FRACTION]


def _read(part: str, rest: str, layout: str, text: str) -> tuple[int, str]:
    """Return the value of one part at the beginning of `rest`, and what is behind it. Raises TimeError."""
    bad = _no_part(layout, text, rest, part)
    match part:
        case "2006":
            if len(rest) < _YEAR_DIGITS or rest[0] not in "0123456789":
                raise bad
            year, rest = rest[:_YEAR_DIGITS], rest[_YEAR_DIGITS:]
            if not re.fullmatch("[0-9]{4}", year):
                raise _no_part(layout, text, rest, part)  # what Go has read by then is left out
            return int(year), rest
        case "15":
            number = re.match("[0-9]{1,2}", rest)
        case "Z07:00":
            return _zone(rest, layout, text)
        case ".999999999":
            return _fraction(rest, 9)
        case _:
            number = re.match("[0-9]{2}", rest)
    if number is None:
        raise bad
    return int(number[0]), rest[number.end() :]


def _zone(rest: str, layout: str, text: str) -> tuple[int, str]:
    if rest.startswith("Z"):
        return 0, rest[1:]
    if len(rest) < _ZONE_LENGTH or rest[3] != ":":
        raise _no_part(layout, text, rest, _ZONE)
    sign, hours, minutes, rest = rest[0], rest[1:3], rest[4:6], rest[6:]
    if sign not in "+-" or not re.fullmatch(r"[0-9]{2}", hours) or not re.fullmatch(r"[0-9]{2}", minutes):
        raise _no_part(layout, text, rest, _ZONE)
    seconds = int(hours) * 3600 + int(minutes) * 60
    return -seconds if sign == "-" else seconds, rest


def _fraction(rest: str, most: int | None = None) -> tuple[int, str]:
    """Return nanoseconds, 0 where there is no fraction; `most` digits are taken, all of them with None."""
    digits = re.match(r"[.,]([0-9]+)", rest)
    if digits is None:
        return 0, rest
    taken = digits[1][:most]
    return int(taken[:9].ljust(9, "0")), rest[1 + len(taken) :]


def _no_part(layout: str, text: str, rest: str, part: str) -> TimeError:
    return TimeError(
        f"parsing time {_quoted(text)} as {_quoted(layout)}: cannot parse {_quoted(rest)} as {_quoted(part)}"
    )


def _quoted(text: str) -> str:
    return quote_time(text.encode("latin-1").decode("utf-8", "surrogateescape"))


def parse_timestamp(text: str) -> int:
    """Return nanoseconds of `seconds[.fraction]`, which is how clients send moments. Raises TimeError.

    As ParseTimestamps of moby's api/types/time reads it: two numbers, the second brought to nanoseconds by its length.
    """
    whole, point, fraction = text.partition(".")
    seconds = _int64(whole)
    if not point:
        return seconds * _SECOND
    digits = len(fraction)
    rest: int = _int64(fraction) * 10 ** max(_NANO_DIGITS - digits, 0) // 10 ** max(digits - _NANO_DIGITS, 0)
    return seconds * _SECOND + rest


def _int64(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise TimeError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if int(text) not in _INT64:
        raise TimeError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return int(text)
