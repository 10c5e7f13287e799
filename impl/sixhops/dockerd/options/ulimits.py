"""`--default-ulimit`: limits of resources for containers that don't say, written `name=soft[:hard]`.

Source of the messages: docker/go-units, ulimit.go.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["parse"]

_NAMES = frozenset(
    {
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    }
)
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_MOST_PARTS = 2


def parse(text: str) -> dict[str, Any]:
    """Return a limit as HostConfig's Ulimits has it: {"Name", "Hard", "Soft"}. Raises ValueError for the user."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _NAMES:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = value.split(":")
    if len(parts) > _MOST_PARTS:
        raise ValueError(f"too many limit value arguments - {value}, can only have up to two, `soft[:hard]`")
    for part in reversed(parts):
        if not _NUMBER.fullmatch(part):
            raise ValueError(f'strconv.ParseInt: parsing "{part}": invalid syntax')
    soft, hard = int(parts[0]), int(parts[-1])
    if hard != -1 and soft == -1:
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
        )
    if hard != -1 and soft > hard:
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}
