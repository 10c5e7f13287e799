"""JSON as Go's encoding/json reads and writes it: the same values as everybody's, and Go's words for what is wrong.

Users search for these messages and clients compare them, so they are part of the API. A good document takes the short way
through Python's own decoder; only a bad one is scanned a second time, by the state machine below, to find out what Go would
have said first. Facts: messages of dockerd 20.10 for malformed bodies.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from typing import Any, NoReturn

from sixhops.dockerd.goquote import quote

__all__ = [
    "GoJsonError",
    "IncompleteError",
    "Kind",
    "Number",
    "Struct",
    "check",
    "decode",
    "decode_whole",
    "encode",
]

_SPACE = " \t\r\n"
_BASE64 = (string.ascii_letters + string.digits + "+/").encode()
_INT64 = range(-(2**63), 2**63)
_RANGES = {
    "uint8": range(2**8),
    "uint16": range(2**16),
    "uint32": range(2**32),
    "fs.FileMode": range(2**32),
    "uint64": range(2**64),
    "uint": range(2**64),
    "int32": range(-(2**31), 2**31),
}
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_GOES_ON = frozenset({".", "e", "E"})
_ESCAPES = 'bfnrt\\/"'


class GoJsonError(ValueError):
    """The text is no JSON, or does not fit; the message is Go's."""


class Number(float):
    """A number with a fraction or an exponent; `text` is how it was written, because Go repeats it."""

    text: str

    def __new__(cls, text: str) -> Number:
        """Read a JSON number."""
        number = super().__new__(cls, text)
        number.text = text
        return number


class IncompleteError(GoJsonError):
    """The text ends before its value does."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A Go type by its printed name, and what it accepts.

    `accepts` is one of string, bool, int, number, list, map, any, words (a string or a list of strings), and bytes (base64);
    `element` is the type of a list's or map's values. How large an int may be follows from the name.
    """

    name: str
    accepts: str
    element: Kind | Struct | None = None


@dataclass(frozen=True, slots=True)
class Struct:
    """A Go struct: `name` as a field error prints it, `package` before it where the whole value is meant."""

    name: str
    fields: dict[str, Kind | Struct]
    package: str = ""

    @property
    def printed(self) -> str:
        """Return the name with its package."""
        return f"{self.package}.{self.name}" if self.package else self.name


_UINT8_KIND = Kind("uint8", "int")
_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int": 0, "number": 0, "words": ""}


def encode(value: object, *, html: bool = True) -> bytes:
    """Return compact JSON with Go's escapes (for HTML too if `html`), and the newline that Go's encoder adds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029" if html else "\u2028\u2029":
        if mark in text:
            text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.encode("utf-8", "surrogateescape") + b"\n"


def decode(data: bytes) -> Any:
    """Return the first JSON value in `data`; what follows it is not looked at, as Go's Decoder does not.

    Raises GoJsonError: `EOF` for nothing, `unexpected EOF` for half a value, `invalid character ...`.
    """
    text = data.decode("utf-8", "replace").lstrip(_SPACE)
    if not text:
        raise IncompleteError("EOF")
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        # bytes that are no text are named as they are
        _Scanner(data.decode("utf-8", "surrogateescape").lstrip(_SPACE)).value()
        raise GoJsonError("exceeded max depth") from None
    if text[end : end + 1] in _GOES_ON and isinstance(value, int) and not isinstance(value, bool):
        # Python takes the whole number before a fraction or an exponent that is none; `1.` and `1e` are no numbers
        _Scanner(text).value()
    return value


def decode_whole(data: bytes) -> Any:
    """Return the JSON value that is all of `data`, as Go's Unmarshal does. Raises GoJsonError.

    Here half a value is an `unexpected end of JSON input`, and nothing may follow a whole one.
    """
    try:
        value = decode(data)
    except IncompleteError:
        raise GoJsonError("unexpected end of JSON input") from None
    text = data.decode("utf-8", "replace").lstrip(_SPACE)
    rest = text[_DECODER.raw_decode(text)[1] :].lstrip(_SPACE)
    if rest:
        raise GoJsonError(f"invalid character {_quoted(rest[0])} after top-level value")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's own


_DECODER = json.JSONDecoder(parse_float=Number, parse_constant=_no_constant)


def check(value: Any, kind: Kind | Struct) -> Any:
    """Return a decoded value with the members of structs under their own names, which Go finds whatever their case.

    Raises GoJsonError when the value does not fit a Go type, for the first member that does not.
    """
    return _check(value, kind, None, ())


def _check(value: Any, kind: Kind | Struct, inside: Struct | None, path: tuple[str, ...]) -> Any:
    if value is None:
        return None
    if isinstance(kind, Struct):
        if not isinstance(value, dict):
            _mismatch(value, kind.printed, inside, path)
        return _check_struct(value, kind, path)
    match kind.accepts:
        case "string":
            fits = isinstance(value, str)
        case "bool":
            fits = isinstance(value, bool)
        case "int":
            fits = (
                isinstance(value, int)
                and not isinstance(value, bool)
                and value in _RANGES.get(kind.name, _INT64)
            )
        case "number":
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        case "bytes":
            fits = isinstance(value, (str, list))
            if isinstance(value, str):
                _check_base64(value)
        case "list":
            fits = isinstance(value, list)
        case "map":
            fits = isinstance(value, dict)
        case "words":
            fits = isinstance(value, str) or (
                isinstance(value, list) and all(word is None or isinstance(word, str) for word in value)
            )
        case _:
            fits = True
    if not fits:
        _mismatch(value, kind.name, inside, path, numeric=kind.accepts == "int")
    element = _UINT8_KIND if kind.accepts == "bytes" else kind.element
    if element is not None and isinstance(value, dict):
        return {key: _member(member, element, kind, inside, path) for key, member in value.items()}
    if element is not None and isinstance(value, list):
        return [_member(member, element, kind, inside, path) for member in value]
    if kind.accepts == "words" and isinstance(value, list):
        return [word or "" for word in value]
    return value


def _member(
    value: Any, element: Kind | Struct, kind: Kind, inside: Struct | None, path: tuple[str, ...]
) -> Any:
    """Return one value of a list or a map: null is the zero value of what is no pointer."""
    if value is not None or "]*" in kind.name:
        return _check(value, element, inside, path)
    if isinstance(element, Struct):
        return {}
    return _ZEROS.get(element.accepts)


def _check_struct(value: dict[str, Any], kind: Struct, path: tuple[str, ...]) -> dict[str, Any]:
    folded = {name.lower(): name for name in kind.fields}
    found: dict[str, Any] = {}
    for key, member in value.items():
        name = key if key in kind.fields else folded.get(key.lower())
        if name is None:
            found[key] = member
            continue
        checked = _check(member, kind.fields[name], kind, (*path, name))
        if checked is not None or name not in found:
            found[name] = checked  # as in Go the last one stands, and null changes nothing
    return found


def _mismatch(
    value: object, printed: str, inside: Struct | None, path: tuple[str, ...], *, numeric: bool = False
) -> NoReturn:
    what = _word(value)
    if numeric and what == "number":
        what += f" {value.text if isinstance(value, Number) else value}"
    where = f"Go struct field {inside.name}.{'.'.join(path)}" if inside is not None else "Go value"
    raise GoJsonError(f"json: cannot unmarshal {what} into {where} of type {printed}")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _check_base64(text: str) -> None:
    """Raise GoJsonError for what is no padded standard base64, at the place that Go names."""
    data = text.replace("\r", "").replace("\n", "").encode()
    whole = len(data) // 4 * 4
    padding = len(data) - len(data.rstrip(b"="))
    for index, byte in enumerate(data):
        is_pad = byte == ord("=")
        if is_pad and index >= len(data) - padding and padding <= 2 and len(data) == whole:
            continue
        if is_pad or byte not in _BASE64:
            raise GoJsonError(f"illegal base64 data at input byte {index}")
    if len(data) != whole:
        raise GoJsonError(f"illegal base64 data at input byte {whole}")


class _Scanner:
    """Walks over one value and raises at the first character that can't be; ends quietly when all is well."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self, depth: int = 0) -> None:
        if depth > 900:
            return
        mark = self._mark()
        if mark == "{":
            self._object(depth)
        elif mark == "[":
            self._array(depth)
        elif mark == '"':
            self._string()
        elif mark == "-" or mark in string.digits:
            self._number(mark)
        elif mark in _LITERALS:
            self._literal(_LITERALS[mark])
        else:
            self._refuse(mark, "looking for beginning of value")

    def _object(self, depth: int) -> None:
        wanted = "looking for beginning of object key string"
        mark = self._mark()
        if mark == "}":
            return
        while True:
            if mark != '"':
                self._refuse(mark, wanted)
            self._string()
            mark = self._mark()
            if mark != ":":
                self._refuse(mark, "after object key")
            self.value(depth + 1)
            mark = self._mark()
            if mark == "}":
                return
            if mark != ",":
                self._refuse(mark, "after object key:value pair")
            mark = self._mark()

    def _array(self, depth: int) -> None:
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            self.value(depth + 1)
            mark = self._mark()
            if mark == "]":
                return
            if mark != ",":
                self._refuse(mark, "after array element")

    def _string(self) -> None:
        while True:
            mark = self._next()
            if mark == '"':
                return
            if mark == "\\":
                mark = self._next()
                if mark == "u":
                    for _ in range(4):
                        digit = self._next()
                        if digit not in string.hexdigits:
                            self._refuse(digit, "in \\u hexadecimal character escape")
                elif mark not in _ESCAPES:
                    self._refuse(mark, "in string escape code")
            elif mark < " ":
                self._refuse(mark, "in string literal")

    def _number(self, first: str) -> None:
        if first == "-":
            first = self._next()
            if first not in string.digits:
                self._refuse(first, "in numeric literal")
        if first != "0":
            self._digits()
        if self._here() == ".":
            self._at += 1
            self._digit("after decimal point in numeric literal")
            self._digits()
        if self._here() in {"e", "E"}:
            self._at += 1
            if self._here() in {"+", "-"}:
                self._at += 1
            self._digit("in exponent of numeric literal")
            self._digits()

    def _literal(self, word: str) -> None:
        for expected in word[1:]:
            mark = self._next()
            if mark != expected:
                self._refuse(mark, f"in literal {word} (expecting {_quoted(expected)})")

    def _digit(self, where: str) -> None:
        mark = self._next()
        if mark not in string.digits:
            self._refuse(mark, where)

    def _digits(self) -> None:
        while self._here() in set(string.digits):
            self._at += 1

    def _here(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self) -> str:
        mark = self._here()
        if not mark:
            raise IncompleteError("unexpected EOF")
        self._at += 1
        return mark

    def _peek(self) -> str:
        while self._here() and self._here() in _SPACE:
            self._at += 1
        return self._here()

    def _mark(self) -> str:
        self._peek()
        return self._next()

    def _refuse(self, mark: str, where: str) -> NoReturn:
        raise GoJsonError(f"invalid character {_quoted(mark)} {where}")


def _quoted(mark: str) -> str:
    """Return a character as Go prints it in single quotes."""
    if mark == "'":
        return "'\\''"
    if mark == '"':
        return "'\"'"
    # Go looks at bytes: of a longer character only the first one is named
    first = mark.encode("utf-8", "surrogateescape")[0]
    return f"'{quote(chr(first))[1:-1]}'"
