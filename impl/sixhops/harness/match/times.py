"""RFC 3339 times with nanoseconds, as the engine writes them (Go's RFC3339Nano)."""

from __future__ import annotations

import re
from datetime import datetime

__all__ = ["ZERO", "parse_time"]

# Go's zero time; the engine's word for "never".
ZERO = "0001-01-01T00:00:00Z"

_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_EPOCH_ORDINAL = datetime(1970, 1, 1).toordinal()  # noqa: DTZ001 - only the day number is used


def parse_time(text: str) -> int | None:
    """Return nanoseconds since 1970-01-01T00:00:00Z, or None when `text` is not an RFC 3339 time."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1])
    except ValueError:
        return None
    seconds = (moment.toordinal() - _EPOCH_ORDINAL) * 86_400
    seconds += moment.hour * 3600 + moment.minute * 60 + moment.second
    if found[3] != "Z":
        hours, minutes = int(found[3][1:3]), int(found[3][4:6])
        if hours > 23 or minutes > 59:
            return None
        offset = hours * 3600 + minutes * 60
        seconds -= offset if found[3][0] == "+" else -offset
    return seconds * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))
