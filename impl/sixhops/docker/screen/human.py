"""Sizes and times as docker's tables say them: 12.3kB, 7.6MiB, 2 seconds ago, About an hour."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

__all__ = [
    "ago",
    "binary_size",
    "decimal_size",
    "duration",
    "local_time",
    "parse_time",
    "rfc3339",
]

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def decimal_size(count: float, digits: int = 4) -> str:
    """Return bytes in units of 1000, with `digits` significant digits (3 in tables, 4 in progress)."""
    return _size(count, 1000.0, _DECIMAL, digits)


def binary_size(count: float) -> str:
    """Return bytes in units of 1024, with four significant digits."""
    return _size(count, 1024.0, _BINARY, 4)


def duration(seconds: float) -> str:
    """Return a span in words, rounded as docker rounds: `Less than a second`, `About a minute`, `3 weeks`."""
    whole = int(seconds)
    minutes, hours = int(seconds / _MINUTE), int(seconds / _HOUR + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / _HOUR) // 24 // 365} years"


def ago(moment: float) -> str:
    """Return how long ago a Unix time was, "" for the time that means never."""
    return f"{duration(time.time() - moment)} ago"


def parse_time(text: str) -> float | None:
    """Return the Unix time of an RFC 3339 text with nanoseconds, None when it is none (or Go's year 1)."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not found or text.startswith("0001-"):
        return None
    zone = "+00:00" if found[3] == "Z" else found[3]
    moment = datetime.fromisoformat(found[1] + zone).astimezone(UTC)
    return moment.timestamp() + float(found[2] or 0)


def _size(count: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while count >= base and index < len(units) - 1:
        count /= base
        index += 1
    return f"{count:.{digits}g}{units[index]}"


def local_time(moment: float) -> str:
    """Return a Unix time as docker's tables write it: 2026-11-23 21:05:42 +0000 UTC."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")


def rfc3339(moment: float) -> str:
    """Return a Unix time with seconds in the local zone: 2026-11-23T21:05:42Z."""
    text = datetime.fromtimestamp(moment, UTC).astimezone().isoformat(timespec="seconds")
    return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text
