"""Texts of the command line read as numbers, sizes, times and pairs, with the messages of docker (that is, of Go).

Every reader takes the text and raises ValueError with what docker would say of it.
"""

from __future__ import annotations

import json
import re

__all__ = [
    "billionths",
    "boolean",
    "duration",
    "integer",
    "name_and_value",
    "not_json",
    "os_error",
    "pairs",
    "quote",
    "separated",
    "size_in_bytes",
    "unreadable",
    "unsigned16",
]

_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}
_UNITS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE = re.compile(r"(\d+(?:\.\d+)*) ?([kKmMgGtTpP])?(?:i?[bB])?")
_SPAN = re.compile(r"(\d*)(?:\.(\d*))?([^\d.]*)")
_SPANS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def quote(text: str) -> str:
    """Return `text` in double quotes with escapes, as Go's %q writes it."""
    import json  # noqa: PLC0415 - only messages need it

    return json.dumps(text, ensure_ascii=False)


def os_error(operation: str, path: str, error: OSError) -> str:
    """Return what docker says of a file that can't be used: `open x: no such file or directory`."""
    return f"{operation} {path}: {(error.strerror or str(error)).lower()}"


def unreadable(path: str, error: OSError) -> str:
    """Return why a file can't be read as Go says it: a directory can be opened and not be read."""
    operation = "read" if isinstance(error, IsADirectoryError) else "open"
    return f"{operation} {path}: {(error.strerror or str(error)).lower()}"


def not_json(error: ValueError) -> str:
    """Return what is wrong with JSON in the words of Go's encoding/json where they are known."""
    if isinstance(error, json.JSONDecodeError):
        if not error.doc[error.pos :].strip():
            return "unexpected end of JSON input"
        if error.msg == "Expecting value":
            return f"invalid character {error.doc[error.pos]!r} looking for beginning of value"
        if error.msg == "Extra data":
            return f"invalid character {error.doc[error.pos]!r} after top-level value"
    return str(error)


def boolean(text: str) -> bool:
    """Read a switch's value."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def integer(text: str) -> int:
    """Read a 64-bit number; 0x, 0o and 0b prefixes count, as in Go with base 0."""
    try:
        value = int(text, 0) if re.fullmatch(r"[+-]?\w+", text, re.ASCII) else None
    except ValueError:
        value = int(text, 8) if re.fullmatch(r"[+-]?0[0-7]+", text) else None
    if value is None:
        raise ValueError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return value


def unsigned16(text: str) -> int:
    """Read a number from 0 to 65535."""
    try:
        value = integer(text)
    except ValueError as error:
        raise ValueError(str(error).replace("ParseInt", "ParseUint")) from error
    if value < 0:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if value > 0xFFFF:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return value


def size_in_bytes(text: str) -> int:
    """Read a size such as 64m or 1.5g in bytes; units count by 1024."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"invalid size: '{text}'")
    try:
        number = float(found[1])
    except ValueError as error:
        raise ValueError(f"strconv.ParseFloat: parsing {quote(found[1])}: invalid syntax") from error
    return int(number * 1024 ** _UNITS[(found[2] or "").lower()])


def billionths(text: str) -> int:
    """Read a number of CPUs in billionths of one."""
    from fractions import Fraction  # noqa: PLC0415 - rarely given, and the import takes milliseconds

    try:
        value = Fraction(text) * 1_000_000_000
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"failed to parse {text} as a rational number") from error
    if value.denominator != 1:
        raise ValueError("value is too precise")
    return int(value)


def duration(text: str) -> int:
    """Read a time such as 1m30s or 1.5h in nanoseconds."""
    rest = text[1:] if text[:1] in {"+", "-"} else text
    sign = -1 if text.startswith("-") else 1
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {quote(text)}")
    total = 0
    while rest:
        found = _SPAN.match(rest)
        whole, part, unit = (found[1], found[2] or "", found[3]) if found else ("", "", "")
        if not whole and not part:
            raise ValueError(f"time: invalid duration {quote(text)}")
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _SPANS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        scale = _SPANS[unit]
        total += int(whole or "0") * scale + (int(part) * scale // 10 ** len(part) if part else 0)
        rest = rest[found.end() if found else 0 :]
    return sign * total


def name_and_value(text: str) -> tuple[str, str]:
    """Read a filter, NAME=VALUE; names are lower case."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def separated(text: str) -> list[str]:
    """Read values with commas between them; one in double quotes may hold commas."""
    import csv  # noqa: PLC0415 - rarely given

    return next(csv.reader([text]), []) if text else []


def pairs(text: str) -> list[tuple[str, str]]:
    """Read NAME=VALUE pairs with commas between them."""
    found = []
    for item in separated(text):
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{item} must be formatted as key=value")
        found.append((name, value))
    return found
