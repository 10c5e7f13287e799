"""The functions of `--format` templates, and how Go prints values.

Each function raises TypeError, ValueError or LookupError when its arguments make no sense; the caller says where.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FUNCTIONS",
    "SIGNATURES",
    "Fields",
    "Nil",
    "Signature",
    "TemplateError",
    "escaped",
    "go_text",
    "go_type",
    "is_true",
    "show",
]


class TemplateError(ValueError):
    """A template can't be parsed, or does not fit the data; the text is Go's.

    `partial` is what had been made of the data up to there.
    """

    partial = ""


class Fields:
    """Data whose fields are computed when a template asks for them. `kind` is docker's name for it in errors."""

    kind = "interface {}"

    def wants(self, name: str) -> int:
        """Return how many arguments a method takes, -1 for a field that is none. Raises KeyError for an unknown name."""
        raise NotImplementedError(name)

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Return the value of a field, or of a method with arguments. Raises LookupError with what is wrong."""
        raise NotImplementedError(name, arguments)

    def as_text(self) -> str:
        """Return what `.` prints."""
        return self.as_json()

    def as_json(self) -> str:
        """Return what `json .` prints."""
        raise NotImplementedError


class Nil:
    """A JSON null: docker's documents are typed, so what it prints depends on what it would be.

    `type` is Go's name of the pointer where it is known; its fields can't be asked for then.
    """

    def __init__(self, text: str, type_: str = "") -> None:
        self.text = text
        self.type = type_


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
        return value.as_text()
    return str(value)


def go_type(value: Any) -> str:
    """Return what Go calls the type of a value."""
    if isinstance(value, Fields):
        return value.kind
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}"}
    names[dict] = "map[string]interface {}"
    return names.get(type(value), "interface {}")


def escaped(text: str) -> str:
    """Return JSON with & < > escaped, as Go's json.Marshal writes it."""
    for sign in "&<>":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _float(value: float) -> str:
    text = f"{value:g}" if abs(value) < 1e21 and value == int(value) and abs(value) < 1e6 else repr(value)
    return re.sub(r"e([+-])(\d)$", r"e\g<1>0\2", text)


def _json(value: Any) -> str:
    if isinstance(value, Fields):
        return value.as_json()
    if isinstance(value, list):
        return f"[{','.join(_json(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_json(key)}:{_json(item)}' for key, item in value.items())}}}"
    return json.dumps(None if isinstance(value, Nil) else value, ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or isinstance(value, Nil):
            raise TypeError("index of untyped nil")
        if isinstance(value, dict):
            value = value.get(key, "" if all(isinstance(item, str) for item in value.values()) else None)
        elif isinstance(value, list | str):
            if not isinstance(key, int) or isinstance(key, bool):
                raise TypeError(f"cannot index slice/array with type {type(key).__name__}")
            if not 0 <= key <= len(value):
                raise IndexError(f"index out of range: {key}")
            if key == len(value):  # Go looks at the capacity first
                raise IndexError(
                    f"reflect: {'string' if isinstance(value, str) else 'slice'} index out of range"
                )
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
            return f"%!{verb}({go_type(value)}={_inner(value)})"

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
    for bound in bounds:
        if not 0 <= bound <= len(value):
            raise IndexError(f"index out of range: {bound}")
    if first > last:
        raise IndexError(f"invalid slice index: {first} > {last}")
    return value[first:last]


def _call(function: Any, *_: Any) -> Any:
    # no document has functions in it
    raise TypeError(f"non-function of type {go_type(function)}")


def _joined(values: tuple[Any, ...]) -> str:
    """Return what `html`, `js` and `urlquery` escape: the texts, or else all as `print` writes it."""
    return values[0] if len(values) == 1 and isinstance(values[0], str) else _print(*values)


_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})
_SCRIPT = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', **{sign: f"\\u{ord(sign):04X}" for sign in "<>&="}}
    | {chr(code): f"\\u{code:04X}" for code in range(32)}
)


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus  # noqa: PLC0415 - hardly ever asked for

    return quote_plus(_joined(values))


def _truncate(text: str, count: int) -> str:
    return text if len(text) < count else text[:count]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],  # the template looks at one after the other
    "or": lambda *values: values[-1],
    "call": _call,
    "html": lambda *values: _joined(values).translate(_HTML),
    "js": lambda *values: _joined(values).translate(_SCRIPT),
    "urlquery": _urlquery,
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


class Signature(NamedTuple):
    """What a function takes: the types of its arguments in Go, and whether more may follow."""

    types: tuple[str, ...]
    more: bool = False


SIGNATURES: dict[str, Signature] = {
    **dict.fromkeys(("and", "or", "call", "index", "slice", "eq"), Signature(("any",), more=True)),
    **dict.fromkeys(("html", "js", "urlquery", "print", "println"), Signature((), more=True)),
    **dict.fromkeys(("json", "len", "not"), Signature(("any",))),
    **dict.fromkeys(("ne", "lt", "le", "gt", "ge"), Signature(("any", "any"))),
    **dict.fromkeys(("lower", "upper", "title"), Signature(("string",))),
    "printf": Signature(("string",), more=True),
    "split": Signature(("string", "string")),
    "join": Signature(("[]string", "string")),
    "pad": Signature(("string", "int", "int")),
    "truncate": Signature(("string", "int")),
}
