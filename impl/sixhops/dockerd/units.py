"""Sizes as people write them: `64m`, `1.5 GiB`, `20MB`. Source: docker/go-units, size.go."""

from __future__ import annotations

import re

__all__ = ["binary_size", "parse_size"]

_SIZE = re.compile(r"(\d+(?:\.\d+)*) ?([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_UNITS = " kmgtp"
_NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STEP = 1024


def parse_size(text: str, unit: int = _STEP) -> int:
    """Return bytes; `unit` is what `k` multiplies by. Raises ValueError with docker's words."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(found[1]) * unit ** _UNITS.index(found[2].lower() or " "))


def binary_size(size: float) -> str:
    """Return a size with at most four digits and its unit: `64MiB`, `1.5GiB`."""
    for name in _NAMES[:-1]:
        if size < _STEP:
            return f"{size:.4g}{name}"
        size /= _STEP
    return f"{size:.4g}{_NAMES[-1]}"
