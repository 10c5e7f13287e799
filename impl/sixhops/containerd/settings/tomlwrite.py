"""TOML as `containerd config` prints it: keys in order, values before tables, each depth of tables indented."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["dumps"]

BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(document: Mapping[str, Any]) -> str:
    """Return a document of tables, texts, numbers, truth values and lists of those; TypeError for anything else."""
    return "\n".join(_lines(document, (), "")).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], above: tuple[str, ...], indent: str) -> Iterator[str]:
    for key in sorted(table):
        if not isinstance(table[key], dict):
            yield f"{indent}{_key(key)} = {_value(table[key])}"
    for key in sorted(table):
        if isinstance(table[key], dict):
            path = (*above, key)
            yield ""
            yield f"{indent}[{'.'.join(_key(part) for part in path)}]"
            yield from _lines(table[key], path, indent + "  ")


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"{type(value).__name__} is nothing that TOML has")
