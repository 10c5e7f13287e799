"""Reading typed members out of decoded JSON; an error names the member's path and what was expected.

The wording of a type error is the one that users of OCI runtimes know: the last structure's name, the path without
list positions, the type expected. `SpecError.path` has the positions as well (`process.rlimits[1].soft`).
"""

from __future__ import annotations

import json
import marshal
import sys

__all__ = ["Members", "SpecError", "decode"]

_MAX_DEPTH = 10000
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_EXPECTATIONS = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Invalid \\escape": "in string escape code",
    "Invalid control character at": "in string literal",
}


class SpecError(ValueError):
    """The document is not JSON, or a member has the wrong type; `path` is its place, empty for the whole."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def decode(text: str, structure: str) -> Members:
    """Return the first JSON value of `text`, which must be an object; what follows it is not looked at.

    `structure` names the object in errors (`specs.Spec`). Raises SpecError.
    """
    stripped = text.lstrip(" \t\r\n")
    if not stripped:
        raise SpecError("EOF")
    try:
        value = _first_value(stripped)
    except json.JSONDecodeError as error:
        raise SpecError(_syntax(error)) from error
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise SpecError(f"json: cannot unmarshal {_kind(value)} into Go value of type {structure}")
    return Members(value, structure.rpartition(".")[2], "", "")


def _first_value(text: str) -> object:
    """Return the first JSON value; raises SpecError if it is nested deeper than 10000 levels."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    try:
        return decoder.raw_decode(text)[0]
    except RecursionError as error:
        # Only now is it worth a look at every bracket: the interpreter's own limit is a tenth of this one.
        opened = _opening_past(text, _MAX_DEPTH)
        if opened:
            raise SpecError(f"invalid character {opened!r} exceeded max depth") from error
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + _MAX_DEPTH)
    try:
        return decoder.raw_decode(text)[0]
    finally:
        sys.setrecursionlimit(before)


def _opening_past(text: str, limit: int) -> str:
    """Return the bracket that opens a level past `limit`, empty if none does."""
    depth = 0
    quoted = escaped = False
    for letter in text:
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            depth += 1
            if depth > limit:
                return letter
        elif letter in "]}":
            depth -= 1
    return ""


def _refuse_constant(name: str) -> object:
    raise SpecError(f"invalid character {name[0]!r} looking for beginning of value")


def _syntax(error: json.JSONDecodeError) -> str:
    text, position = error.doc, error.pos
    if error.msg.startswith("Unterminated string") or position >= len(text):
        return "unexpected EOF"
    found = text[position]
    literal = _LITERALS.get(found)
    if error.msg == "Expecting value" and literal:
        for offset, letter in enumerate(literal):
            if position + offset >= len(text):
                return "unexpected EOF"
            if text[position + offset] != letter:
                return f"invalid character {text[position + offset]!r} in literal {literal} (expecting {letter!r})"
    if error.msg == "Expecting ',' delimiter":
        before = _container_at(text, position)
        return f"invalid character {found!r} after {before}"
    return f"invalid character {found!r} {_EXPECTATIONS.get(error.msg, error.msg)}"


def _container_at(text: str, position: int) -> str:
    depth, quoted, escaped, opened = 0, False, False, [""]
    for letter in text[:position]:
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            depth += 1
            opened.append(letter)
        elif letter in "]}":
            depth -= 1
            opened.pop()
    return "array element" if opened[-1:] == ["["] else "object key:value pair"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object"


class Members:
    """The members of one JSON object with their place in the document; null counts as absent."""

    __slots__ = ("_data", "_place", "_plain", "_structure")

    def __init__(self, data: dict[str, object], structure: str, place: str, plain: str) -> None:
        self._data = data
        self._structure = structure
        self._place = place
        self._plain = plain

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def _fail(self, key: str, value: object, wanted: str, position: str = "") -> SpecError:
        kind = _kind(value)
        if kind == "number" and wanted[0] in "ui":
            kind = f"number {value}"
        return SpecError(
            f"json: cannot unmarshal {kind} into Go struct field {self._structure}.{self._plain}{key} of type {wanted}",
            f"{self._place}{key}{position}",
        )

    def packed(self) -> bytes:
        """Return all members, known ones or not, as bytes that are the same for the same JSON values in the same order."""
        return marshal.dumps(self._data, 2)  # a version without references, which are a matter of chance

    def text(self, key: str, default: str = "", wanted: str = "string") -> str:
        """Return a string member."""
        value = self._data.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._fail(key, value, wanted)
        return value

    def flag(self, key: str) -> bool:
        """Return a boolean member, False if absent."""
        value = self._data.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._fail(key, value, "bool")
        return value

    def number(self, key: str, wanted: str) -> int | None:
        """Return an integer member within its type (`int64`, `uint32`, ...), None if absent."""
        value = self._data.get(key)
        return None if value is None else self._checked(key, value, wanted)

    def count(self, key: str, wanted: str) -> int:
        """Return an integer member, 0 if absent."""
        return self.number(key, wanted) or 0

    def _checked(self, key: str, value: object, wanted: str, position: str = "") -> int:
        bits = int(wanted.lstrip("uint") or "64")
        low, high = (0, 1 << bits) if wanted[0] == "u" else (-1 << bits - 1, 1 << bits - 1)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
            raise self._fail(key, value, wanted, position)
        return value

    def _list(self, key: str, wanted: str) -> list[object]:
        value = self._data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._fail(key, value, f"[]{wanted}")
        return value

    def texts(self, key: str, wanted: str = "string") -> tuple[str, ...]:
        """Return a list of strings."""
        values = self._list(key, wanted)
        for position, value in enumerate(values):
            if not isinstance(value, str):
                raise self._fail(key, value, wanted, f"[{position}]")
        return tuple(values)  # type: ignore[arg-type]  # every element was checked above

    def numbers(self, key: str, wanted: str) -> tuple[int, ...]:
        """Return a list of integers."""
        return tuple(
            self._checked(key, value, wanted, f"[{position}]")
            for position, value in enumerate(self._list(key, wanted))
        )

    def child(self, key: str, structure: str) -> Members | None:
        """Return the members of an object member, None if absent."""
        value = self._data.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._fail(key, value, f"specs.{structure}")
        return Members(value, structure, f"{self._place}{key}.", f"{self._plain}{key}.")

    def children(self, key: str, structure: str) -> tuple[Members, ...]:
        """Return the members of each object of a list."""
        found = []
        for position, value in enumerate(self._list(key, f"specs.{structure}")):
            if not isinstance(value, dict):
                raise self._fail(key, value, f"specs.{structure}", f"[{position}]")
            found.append(
                Members(value, structure, f"{self._place}{key}[{position}].", f"{self._plain}{key}.")
            )
        return tuple(found)

    def table(self, key: str) -> dict[str, str]:
        """Return an object member whose values are strings."""
        value = self._data.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._fail(key, value, "map[string]string")
        for name, entry in value.items():
            if not isinstance(entry, str):
                raise self._fail(key, entry, "string", f".{name}")
        return dict(value)

    def tables(self, key: str, structure: str) -> dict[str, Members]:
        """Return an object member whose values are objects."""
        value = self._data.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._fail(key, value, f"map[string]specs.{structure}")
        found = {}
        for name, entry in value.items():
            if not isinstance(entry, dict):
                raise self._fail(key, entry, f"specs.{structure}", f".{name}")
            found[name] = Members(entry, structure, f"{self._place}{key}.{name}.", f"{self._plain}{key}.")
        return found
