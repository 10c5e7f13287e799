"""Patterns of names, as Go's path.Match reads them: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` are one sign."""

from __future__ import annotations

import functools
import re

__all__ = ["PatternError", "matches"]


class PatternError(ValueError):
    """A pattern that is none."""


def matches(pattern: str, text: str) -> bool:
    """Tell whether all of `text` is as the pattern says. Raises PatternError, however the text begins."""
    return _compiled(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=128)
def _compiled(pattern: str) -> re.Pattern[str]:
    out, position = "", 0
    while position < len(pattern):
        sign = pattern[position]
        position += 1
        if sign == "*":
            out += "[^/]*"
        elif sign == "?":
            out += "[^/]"
        elif sign == "[":
            part, position = _one_of(pattern, position)
            out += part
        elif sign == "\\":
            if position == len(pattern):
                raise PatternError("syntax error in pattern")
            out += re.escape(pattern[position])
            position += 1
        else:
            out += re.escape(sign)
    return re.compile(out, re.DOTALL)


def _one_of(pattern: str, position: int) -> tuple[str, int]:
    """Return the expression of what stands in brackets, and where it ends."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges = ""
    while pattern[position : position + 1] != "]" or not ranges:
        low, position = _sign(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _sign(pattern, position + 1)
        if low <= high:
            ranges += f"{re.escape(low)}-{re.escape(high)}"
    return f"[{'^' if negated else ''}{ranges}]", position + 1


def _sign(pattern: str, position: int) -> tuple[str, int]:
    sign = pattern[position : position + 1]
    if sign in {"", "-", "]"}:
        raise PatternError("syntax error in pattern")
    if sign == "\\":
        position += 1
        sign = pattern[position : position + 1]
    if not sign or position + 1 >= len(pattern):
        raise PatternError("syntax error in pattern")
    return sign, position + 1
