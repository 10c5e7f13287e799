"""Text in double quotes as Go's `%q` prints it, which is how many messages of the engine repeat what they refuse.

Source: Go's strconv.Quote, and the quote of its package time.
"""

from __future__ import annotations

from typing import Final

__all__ = ["quote", "quote_time"]

_NAMED: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_DELETE: Final = 0x7F
_TWO_BYTES: Final = 0x10000


def quote(text: str) -> str:
    """Return text in double quotes; what can't be printed is escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def quote_time(text: str) -> str:
    """Return text in double quotes as Go's package time prints it: what is not ASCII byte by byte."""
    data = text.encode("utf-8", "surrogateescape")
    return f'"{"".join(map(_time_escaped, data))}"'


def _time_escaped(byte: int) -> str:
    if byte < 0x20 or byte > _DELETE:
        return f"\\x{byte:02x}"
    return f"\\{byte:c}" if byte in b'"\\' else chr(byte)


def _escaped(mark: str) -> str:
    if mark in _NAMED:
        return _NAMED[mark]
    number = ord(mark)
    # as Go does, Python counts the space among what can be printed, and no other white space
    if mark.isprintable():
        return mark
    if 0xDC80 <= number < 0xDD00:  # a byte that is no text, as `surrogateescape` keeps it
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x20 or number == _DELETE:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < _TWO_BYTES else f"\\U{number:08x}"
