"""Values as the page takes them: JSON, bytes marked, and what is too long for a page cut with a word about it. Pure."""

from __future__ import annotations

import base64
import math
from typing import Any, Final

__all__ = ["LONGEST_BYTES", "LONGEST_TEXT", "MOST_ITEMS", "page_value"]

LONGEST_TEXT: Final = 64 * 1024
"""Characters of a text that the page has."""

LONGEST_BYTES: Final = 4 * 1024
"""Bytes, of what is no text, that the page has."""

MOST_ITEMS: Final = 400
"""Elements of a list that the page has."""


def page_value(value: Any) -> Any:
    """Return `value` as JSON. `{"$bytes": base64, "length": n}` are bytes, `{"$cut": text, "length": n}` a text and
    `{"$more": n}` elements of a list that were left out; an object that looks like one of them is `{"$plain": ...}`.
    """
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, str):
        return {"$cut": value[:LONGEST_TEXT], "length": len(value)} if len(value) > LONGEST_TEXT else value
    if isinstance(value, dict):
        data = {str(key): page_value(item) for key, item in value.items()}
        return {"$plain": data} if any(key.startswith("$") for key in data) else data
    if isinstance(value, list | tuple):
        kept = [page_value(item) for item in value[:MOST_ITEMS]]
        return [*kept, {"$more": len(value) - MOST_ITEMS}] if len(value) > MOST_ITEMS else kept
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _bytes(data: bytes) -> Any:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if text and all(character.isprintable() or character in "\r\n\t" for character in text):
        return page_value(text)
    return {"$bytes": base64.b64encode(data[:LONGEST_BYTES]).decode("ascii"), "length": len(data)}
