"""containerd's filter language: `name==busybox,labels."a.b"~=|^x|`.

Selectors in one filter must all hold; of several filters one must. A selector is a field path, alone (the field is
there) or with `==`, `!=` or `~=` (regular expression) and a value. Values and field names may be quoted: "..." or, for
the values of `~=`, |...| and /.../ too. What is accepted, and the words for what isn't, are those of containerd 1.6
(its package filters): a scanner that looks one character ahead, and a parser over its tokens.
"""

from __future__ import annotations

import functools
import logging
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sixhops.containerd.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Look = Callable[[tuple[str, ...]], str | None]

__all__ = ["Filter", "parse_all"]

log = logging.getLogger(__name__)
OPERATORS = ("==", "!=", "~=")
QUOTES = '"|/'
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
NUMERIC = {"x": (16, 2), "u": (16, 4), "U": (16, 8)}
OCTAL_DIGITS = 3
END = ""


@functools.lru_cache(maxsize=256)
def _expression(text: str) -> re.Pattern[str] | None:
    """Return the compiled expression, None (and a line in the log) for one that can't be: it matches nothing."""
    try:
        return re.compile(text)
    except re.error:
        log.error("error compiling regexp %s", text)
        return None


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
        if self.operator == "~=":
            expression = _expression(self.value)
            return expression is not None and expression.search(seen or "") is not None
        if seen is None:
            return False
        return not self.operator or seen == self.value


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
    """Return the filters as one; an empty one matches everything. RpcError INVALID_ARGUMENT says where one is wrong."""
    return Filter(tuple(_Parser(text).selectors() if text else () for text in texts))


class Kind(Enum):
    """What a token is. END and OTHER (a character that begins nothing) have no text."""

    END = 0
    QUOTED = 1
    VALUE = 2
    FIELD = 3
    SEPARATOR = 4
    OPERATOR = 5
    ILLEGAL = 6
    OTHER = 7


class _Scanner:
    """Tokens of a filter. After an operator comes a value, which may contain nearly everything."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.next = 0
        self._value = False
        self.error = ""

    def peek(self) -> str:
        """Return the next character, END after the last."""
        return self._text[self.next : self.next + 1]

    def scan(self) -> tuple[int, Kind, str]:
        """Return the next token: where it begins, its kind and its text."""
        while self.peek().isspace():
            self.next += 1
        begin, char = self.next, self.peek()
        if char == END:
            return begin, Kind.END, ""
        self.next += 1
        if char == "\0":
            self.error = self.error or "unexpected null"
            return begin, Kind.ILLEGAL, ""
        if char in QUOTES:
            legal = self._quoted(char)
            return begin, Kind.QUOTED if legal else Kind.ILLEGAL, self._text[begin : self.next]
        if char in ",.":
            self._value = False
            return begin, Kind.SEPARATOR, char
        if char in "=!~":
            self._skip(lambda one: one in "=!~")
            self._value = True
            return begin, Kind.OPERATOR, self._text[begin : self.next]
        if self._value:
            self._skip(_is_value)
            self._value = False
            return begin, Kind.VALUE, self._text[begin : self.next]
        if _is_field(char):
            self._skip(_is_field)
            return begin, Kind.FIELD, self._text[begin : self.next]
        return begin, Kind.OTHER, ""

    def _skip(self, wanted: Callable[[str], bool]) -> None:
        while (char := self.peek()) != END and wanted(char):
            self.next += 1

    def _quoted(self, quote: str) -> bool:
        """Pass a quoted text to its end; return whether it is well-formed."""
        legal = True
        while (char := self.peek()) != quote:
            if char in (END, "\n"):
                self.error = self.error or "quoted literal not terminated"
                return False
            self.next += 1
            if char == "\\":
                legal = self._escape(quote) and legal
        self.next += 1
        return legal

    def _escape(self, quote: str) -> bool:
        char = self.peek()
        if char != END and (char in ESCAPES or char == quote):
            self.next += 1
            return True
        if char in NUMERIC:
            self.next += 1
            return self._digits(*NUMERIC[char])
        if char != END and char in "01234567":
            return self._digits(8, OCTAL_DIGITS)
        self.error = self.error or "illegal escape sequence"
        return False

    def _digits(self, base: int, count: int) -> bool:
        digits = "0123456789abcdefABCDEF" if base == 16 else "01234567"
        for _ in range(count):
            if self.peek() == END or self.peek() not in digits:
                self.error = self.error or "illegal numeric escape sequence"
                return False
            self.next += 1
        return True


def _is_field(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")


def _is_value(char: str) -> bool:
    return char != "," and not char.isspace() and unicodedata.category(char)[0] in "LMNPS"


class _Parser:
    """One filter's selectors."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._scanner = _Scanner(text)

    def selectors(self) -> tuple[Selector, ...]:
        """Return all selectors; RpcError INVALID_ARGUMENT names the place that isn't one."""
        found = [self._selector()]
        while (char := self._scanner.peek()) != END:
            if char != ",":
                raise self._error(self._scanner.next, f"unexpected input: {char}")
            self._scanner.scan()
            found.append(self._selector())
        return tuple(found)

    def _selector(self) -> Selector:
        path = self._path()
        if self._scanner.peek() in (END, ","):
            return Selector(path)
        operator = self._operator()
        return Selector(path, operator, self._one_value(operator))

    def _path(self) -> tuple[str, ...]:
        fields = [self._field()]
        while self._scanner.peek() == ".":
            self._scanner.scan()
            fields.append(self._field())
        return tuple(fields)

    def _field(self) -> str:
        begin, kind, text = self._scanner.scan()
        if kind is Kind.FIELD:
            return text
        if kind is Kind.QUOTED:
            return self._unquote(begin, text, '"')
        raise self._error(begin, self._reason(kind, "expected field or quoted"))

    def _operator(self) -> str:
        begin, kind, text = self._scanner.scan()
        if kind is not Kind.OPERATOR:
            expected = 'expected an operator ("=="|"!="|"~=")'
            raise self._error(begin, self._reason(kind, expected))
        if text not in OPERATORS:
            raise self._error(begin, f'unsupported operator "{text}"')
        return text

    def _one_value(self, operator: str) -> str:
        begin, kind, text = self._scanner.scan()
        if kind in (Kind.VALUE, Kind.FIELD):
            return text
        if kind is Kind.QUOTED:
            return self._unquote(begin, text, QUOTES if operator == "~=" else '"')
        raise self._error(begin, self._reason(kind, "expected value or quoted"))

    def _reason(self, kind: Kind, expected: str) -> str:
        return self._scanner.error if kind is Kind.ILLEGAL else expected

    def _unquote(self, begin: int, text: str, allowed: str) -> str:
        if text[0] not in allowed:
            raise self._error(begin, "invalid quote encountered")
        return _plain(text[1:-1], text[0])

    def _error(self, begin: int, problem: str) -> Exception:
        text = self._text
        shown = text
        if begin < len(text):
            shown = f"{text[:begin]} >|{text[begin]}|< {text[begin + 1 :]}"
        return invalid_argument(f"filters: parse error: [{shown}]: {problem}")


def _plain(text: str, quote: str) -> str:
    """Return what a quoted text, which the scanner has found well-formed, stands for."""
    found = []
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char != "\\":
            found.append(char)
            continue
        char = text[position]
        if char in ESCAPES or char == quote:
            found.append(ESCAPES.get(char, char))
            position += 1
            continue
        base, count = NUMERIC.get(char, (8, OCTAL_DIGITS))
        position += char in NUMERIC
        found.append(chr(int(text[position : position + count], base)))
        position += count
    return "".join(found)
