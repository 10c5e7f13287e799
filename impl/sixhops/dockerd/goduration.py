"""Spans of time as Go's `time.ParseDuration` reads them: `1h30m`, `-1.5s`, `0`.

Source: Go's time.ParseDuration, with its messages.
"""

from __future__ import annotations

import re
from typing import Final

from sixhops.dockerd.goquote import quote_time

__all__ = ["DurationError", "parse"]

_UNITS: Final = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_NUMBER: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?")
_UNIT: Final = re.compile(r"[^0-9.]*")
_LONGEST: Final = 2**63


class DurationError(ValueError):
    """The text is no span of time; the message is Go's."""


def parse(text: str) -> int:
    """Return nanoseconds. Raises DurationError."""
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0
    invalid = DurationError(f"time: invalid duration {quote_time(text)}")
    if not rest:
        raise invalid
    total = 0
    while rest:
        number = _NUMBER.match(rest)
        whole, fraction = (number[1], number[2] or "") if number else ("", "")
        if number is None or not (whole or fraction):
            raise invalid
        rest = rest[number.end() :]
        unit = _UNIT.match(rest)
        name = unit[0] if unit else ""
        if not name:
            raise DurationError(f"time: missing unit in duration {quote_time(text)}")
        if name not in _UNITS:
            raise DurationError(f"time: unknown unit {quote_time(name)} in duration {quote_time(text)}")
        rest = rest[len(name) :]
        total += int(whole or 0) * _UNITS[name]
        total += int(fraction or 0) * _UNITS[name] // 10 ** len(fraction)
        if total > _LONGEST or (total == _LONGEST and not negative):
            raise invalid
    return -total if negative else total
