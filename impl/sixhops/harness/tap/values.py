"""Values as messages carry them: bytes as text where they are text, long ones shortened."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["BYTES_LIMIT", "as_text", "shorten"]

#: Bytes values that are longer are reported as length, SHA-256 and first 64 bytes.
BYTES_LIMIT = 4096
_HEAD = 64


def as_text(data: bytes) -> str | bytes:
    """Return `data` as a string when it is UTF-8, else as it is."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def shorten(value: Any) -> tuple[Any, int]:
    """Return a decoded value with its long bytes values replaced by length, SHA-256 and head; and the bytes saved."""
    if isinstance(value, bytes):
        if len(value) <= BYTES_LIMIT:
            return value, 0
        digest = hashlib.sha256(value).hexdigest()
        return {"length": len(value), "sha256": digest, "head": value[:_HEAD]}, len(value) - _HEAD
    if isinstance(value, dict):
        pairs = {name: shorten(item) for name, item in value.items()}
        return {name: item for name, (item, _) in pairs.items()}, sum(saved for _, saved in pairs.values())
    if isinstance(value, list):
        items = [shorten(item) for item in value]
        return [item for item, _ in items], sum(saved for _, saved in items)
    return value, 0
