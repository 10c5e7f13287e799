"""The functions of `--format` templates, and how Go prints values.

Each function raises TypeError, ValueError or LookupError when its arguments make no sense; the caller says where.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FUNCTIONS", "Fields", "Nil", "TemplateError", "go_text", "is_true", "show"]


class TemplateError(ValueError):
    """A template can't be parsed, or does not fit the data; the text is Go's."""


class Fields:
    """Data whose fields are computed when a template asks for them. `kind` is docker's name for it in errors."""

    kind = "interface {}"

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Return the value of a field, or of a method with arguments. Raises KeyError for an unknown one."""
        raise NotImplementedError(name, arguments)

    def as_json(self) -> str:
        """Return what `json .` prints."""
        raise NotImplementedError


class Nil:
    """A JSON null under a name: docker's documents are typed, so what it prints depends on what it would be."""

    def __init__(self, text: str) -> None:
        self.text = text


#: Names whose null is a pointer or a map in docker's types; every other null is an empty list.
_POINTERS = {
    "PidsLimit",
    "OomKillDisable",
    "Init",
    "IPAMConfig",
    "Health",
    "StopTimeout",
    "ExitCode",
    "GraphDriver",
}
_MAPS = {
    "Labels", "Volumes", "ExposedPorts", "PortBindings", "Ports", "DriverOpts", "Options", "Sysctls", "Tmpfs",
    "StorageOpt", "Networks", "EndpointsConfig", "Config", "Data",
}  # fmt: skip


def go_text(name: str) -> Nil:
    """Return the null of a field called `name`."""
    return Nil("<nil>" if name in _POINTERS else "map[]" if name in _MAPS else "[]")


def is_true(value: Any) -> bool:
    """Tell whether `if` takes the value for true: not zero, not empty."""
    return (
        value is not None and not isinstance(value, Nil) and bool(value)
        if not isinstance(value, Fields)
        else True
    )


def show(value: Any) -> str:
    """Return a value as Go's %v prints it at the top of a template."""
    return "<no value>" if value is None else _inner(value)


def _inner(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, Nil):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list):
        return f"[{' '.join(_inner(item) for item in value)}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_inner(value[key])}' for key in sorted(value))}]"
    if isinstance(value, Fields):
        return value.as_json()
    return str(value)


def _float(value: float) -> str:
    text = f"{value:g}" if abs(value) < 1e21 and value == int(value) and abs(value) < 1e6 else repr(value)
    return re.sub(r"e([+-])(\d)$", r"e\g<1>0\2", text)


def _json(value: Any) -> str:
    if isinstance(value, Fields):
        return value.as_json()
    plain = None if isinstance(value, Nil) else value
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or isinstance(value, Nil):
            raise TypeError("index of untyped nil")
        if isinstance(value, dict):
            value = value.get(key, "" if all(isinstance(item, str) for item in value.values()) else None)
        elif isinstance(value, list | str):
            if not isinstance(key, int) or isinstance(key, bool):
                raise TypeError(f"cannot index slice/array with type {type(key).__name__}")
            if not 0 <= key < len(value):
                raise IndexError(f"index out of range: {key}")
            value = value[key] if isinstance(value, list) else ord(value[key])
        else:
            raise TypeError(f"can't index item of type {type(value).__name__}")
    return value


def _len(value: Any) -> int:
    if isinstance(value, Nil):
        return 0
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | dict):
        return len(value)
    raise TypeError(f"len of type {type(value).__name__}")


def _print(*values: Any) -> str:
    out = ""
    for index, value in enumerate(values):
        # Go puts a space between two operands when neither is a string
        gap = index and not isinstance(value, str) and not isinstance(values[index - 1], str)
        out += (" " if gap else "") + _inner(value)
    return out


def _printf(form: Any, *values: Any) -> str:
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        flags, verb = found[1], found[2]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        if verb in "vs":
            return f"%{flags}s" % _inner(value) if "+" not in flags and "#" not in flags else _inner(value)
        if verb == "q":
            return f"%{flags}s" % json.dumps(_inner(value), ensure_ascii=False)
        if verb == "t":
            return f"%{flags}s" % _inner(value)
        try:
            return str(f"%{flags}{verb}" % value)
        except (TypeError, ValueError):
            return f"%!{verb}({_inner(value)})"

    return re.sub(r"%([-+ #0]*\d*(?:\.\d+)?)([a-zA-Z%])", one, str(form))


def _compared(left: Any, right: Any) -> tuple[Any, Any]:
    numbers = int | float
    if isinstance(left, bool) != isinstance(right, bool) or (
        type(left) is not type(right) and not (isinstance(left, numbers) and isinstance(right, numbers))
    ):
        raise TypeError("incompatible types for comparison")
    return left, right


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TypeError("missing argument for comparison")
    return any(a == b for a, b in (_compared(first, other) for other in others))


def _less(left: Any, right: Any) -> bool:
    a, b = _compared(left, right)
    return bool(a < b)


def _slice(value: Any, *bounds: int) -> Any:
    if not isinstance(value, str | list):
        raise TypeError(f"can't slice item of type {type(value).__name__}")
    first, last = (bounds[0] if bounds else 0), (bounds[1] if len(bounds) > 1 else len(value))
    if not 0 <= first <= last <= len(value):
        raise IndexError(f"index out of range: {last}")
    return value[first:last]


def _truncate(text: str, count: int) -> str:
    return text if len(text) < count else text[:count]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "index": _index,
    "len": _len,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(_inner(value) for value in values) + "\n",
    "printf": _printf,
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _less,
    "le": lambda left, right: not _less(right, left),
    "gt": lambda left, right: _less(right, left),
    "ge": lambda left, right: not _less(left, right),
    "not": lambda value: not is_true(value),
    "split": lambda text, separator: text.split(separator),
    "join": lambda items, separator: "" if isinstance(items, Nil) else separator.join(items),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: re.sub(r"(?<!\S)\S", lambda found: found[0].upper(), text),
    "pad": lambda text, before, after: f"{' ' * before}{text}{' ' * after}" if text else text,
    "truncate": _truncate,
}
