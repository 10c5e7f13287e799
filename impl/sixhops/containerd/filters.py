"""containerd's filter language: `name==busybox,labels."a.b"~=|^x|`.

Selectors in one filter must all hold; of several filters one must. A selector is a field path, alone (the field is
there) or with `==`, `!=` or `~=` (regular expression) and a value. Values and field names may be quoted: "..." or, for
values, |...| and /.../.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.containerd.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Look = Callable[[tuple[str, ...]], str | None]

__all__ = ["Filter", "parse_all"]

FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
RAW = re.compile(r"\|(?:[^|\\]|\\.)*\||/(?:[^/\\]|\\.)*/")
BARE = re.compile(r"[^\s,]+")
OPERATORS = ("==", "!=", "~=")


@dataclass(frozen=True, slots=True)
class Selector:
    """One condition; `operator` is empty for "is there"."""

    path: tuple[str, ...]
    operator: str = ""
    value: str = ""

    def holds(self, look: Look) -> bool:
        """Tell whether the condition holds; `look` returns a field's value or None."""
        seen = look(self.path)
        if self.operator == "!=":
            return (seen or "") != self.value
        if seen is None:
            return False
        if self.operator == "==":
            return seen == self.value
        if self.operator == "~=":
            return re.search(self.value, seen) is not None
        return True


@dataclass(frozen=True, slots=True)
class Filter:
    """Several filters, of which one must match; none at all match everything."""

    alternatives: tuple[tuple[Selector, ...], ...]

    def matches(self, look: Look) -> bool:
        """Tell whether one alternative holds in all its conditions."""
        if not self.alternatives:
            return True
        return any(all(selector.holds(look) for selector in selectors) for selectors in self.alternatives)


def parse_all(texts: Sequence[str]) -> Filter:
    """Return the filters as one; RpcError INVALID_ARGUMENT says where one is wrong."""
    return Filter(tuple(_parse(text) for text in texts if text))


def _parse(text: str) -> tuple[Selector, ...]:
    selectors = []
    position = 0
    while True:
        path, position = _path(text, position)
        operator = text[position : position + 2]
        if operator in OPERATORS:
            value, position = _value(text, position + 2, operator)
            selectors.append(Selector(path, operator, value))
        else:
            selectors.append(Selector(path))
        if position == len(text):
            return tuple(selectors)
        if text[position] != ",":
            raise _error(text, position, "expected a comma or an operator")
        position += 1


def _path(text: str, position: int) -> tuple[tuple[str, ...], int]:
    fields = []
    while True:
        if match := QUOTED.match(text, position):
            fields.append(_unquote(match[0]))
        elif match := FIELD.match(text, position):
            fields.append(match[0])
        else:
            raise _error(text, position, "expected a field")
        position = match.end()
        if text[position : position + 1] != ".":
            return tuple(fields), position
        position += 1


def _value(text: str, position: int, operator: str) -> tuple[str, int]:
    if match := QUOTED.match(text, position):
        value = _unquote(match[0])
    elif operator == "~=" and (match := RAW.match(text, position)):
        value = match[0][1:-1].replace("\\" + match[0][0], match[0][0])
    elif match := BARE.match(text, position):
        value = match[0]
    else:
        raise _error(text, position, "expected a value")
    if operator == "~=":
        try:
            re.compile(value)
        except re.error as error:
            raise _error(text, position, f"bad regular expression: {error}") from error
    return value, match.end()


def _unquote(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def _error(text: str, position: int, problem: str) -> Exception:
    shown = f"{text[:position]} >|{text[position : position + 1]}|< {text[position + 1 :]}"
    return invalid_argument(f"filters: parse error: [{shown}]: {problem}")
