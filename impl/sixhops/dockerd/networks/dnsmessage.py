"""Messages of the DNS, as far as the embedded server reads and writes them; bytes in, values out (RFC 1035, RFC 3596).

Only the question of a query is read; answers are made of addresses and names. Everything else is passed on unread.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "SERVFAIL",
    "TYPE_A",
    "TYPE_AAAA",
    "TYPE_PTR",
    "Query",
    "answer",
    "failure",
    "parse",
    "reverse_address",
    "truncated",
]

TYPE_A, TYPE_PTR, TYPE_AAAA, TYPE_OPT = 1, 12, 28, 41
_CLASS_IN = 1
SERVFAIL = 2
_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_RESPONSE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
#: How long an answer holds, in seconds; libnetwork's.
_TTL = 600
_SMALLEST_LIMIT = 512
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Query:
    """A query: `name` without the last dot, as it was written; `question` its bytes; `limit` the longest answer by UDP."""

    id: int
    flags: int
    name: str
    type: int
    question: bytes
    limit: int = _SMALLEST_LIMIT


def parse(data: bytes) -> Query:
    """Return the query. Raises ValueError for what is none: an answer, another operation, not one question, torn bytes."""
    if len(data) < _HEADER.size:
        raise ValueError("shorter than a header")
    number, flags, questions, _answers, _authorities, additional = _HEADER.unpack_from(data)
    if flags & (_RESPONSE | _OPCODE) or questions != 1:
        raise ValueError("not a standard query with one question")
    labels, at = [], _HEADER.size
    while True:
        if at >= len(data):
            raise ValueError("torn name")
        length = data[at]
        at += 1
        if not length:
            break
        if length > 63 or at + length > len(data) or at - _HEADER.size + length > _LONGEST_NAME:
            raise ValueError("not a name")
        labels.append(data[at : at + length].decode("ascii", "replace"))
        at += length
    if at + _QUESTION.size > len(data):
        raise ValueError("torn question")
    kind, class_ = _QUESTION.unpack_from(data, at)
    end = at + _QUESTION.size
    if class_ != _CLASS_IN:
        kind = 0
    limit = _limit(data[end:]) if additional else _SMALLEST_LIMIT
    return Query(number, flags, ".".join(labels), kind, data[_HEADER.size : end], limit)


def answer(query: Query, values: Sequence[str]) -> bytes:
    """Return the answer with these addresses (or, to PTR, names); none of them is an answer too: the name has no such."""
    records = b""
    for value in values:
        data = _name(value) if query.type == TYPE_PTR else ipaddress.ip_address(value).packed
        # 0xc00c: the name of the question, which begins behind the header
        records += b"\xc0\x0c" + _RECORD.pack(query.type, _CLASS_IN, _TTL, len(data)) + data
    return _head(query, 0, len(values)) + query.question + records


def failure(query: Query, code: int = SERVFAIL) -> bytes:
    """Return the answer that there is none."""
    return _head(query, code, 0) + query.question


def truncated(query: Query, response: bytes) -> bytes:
    """Return an answer that fits: one that is too long for UDP says so and has no records."""
    if len(response) <= query.limit:
        return response
    return _HEADER.pack(query.id, _flags(query, _TRUNCATED), 1, 0, 0, 0) + query.question


def reverse_address(name: str) -> str:
    """Return the address whose name is asked for, "" for a name that is none of these."""
    lower = name.lower()
    if lower.endswith(".in-addr.arpa"):
        text = ".".join(reversed(lower.removesuffix(".in-addr.arpa").split(".")))
    elif lower.endswith(".ip6.arpa"):
        digits = "".join(reversed(lower.removesuffix(".ip6.arpa").split(".")))
        text = ":".join(digits[at : at + 4] for at in range(0, len(digits), 4))
    else:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _limit(rest: bytes) -> int:
    """Return the size in an OPT record (RFC 6891) that directly follows the question."""
    if len(rest) >= 5 and rest[0] == 0 and _QUESTION.unpack_from(rest, 1)[0] == TYPE_OPT:
        return max(int(_QUESTION.unpack_from(rest, 1)[1]), _SMALLEST_LIMIT)
    return _SMALLEST_LIMIT


def _flags(query: Query, more: int) -> int:
    return _RESPONSE | _RECURSION_AVAILABLE | (query.flags & _RECURSION_DESIRED) | more


def _head(query: Query, code: int, answers: int) -> bytes:
    return _HEADER.pack(query.id, _flags(query, code), 1, answers, 0, 0)


def _name(text: str) -> bytes:
    parts = [label.encode()[:63] for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
