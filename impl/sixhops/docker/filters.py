"""`--filter` as the engine takes it."""

from __future__ import annotations

import json

__all__ = ["encode"]


def encode(pairs: list[tuple[str, str]]) -> str:
    """Return the `filters` parameter: {"name": {"value": true, …}, …} as JSON."""
    found: dict[str, dict[str, bool]] = {}
    for name, value in pairs:
        found.setdefault(name, {})[value] = True
    return json.dumps(
        {name: dict(sorted(found[name].items())) for name in sorted(found)}, separators=(",", ":")
    )
