"""Byte ranges: `Range` of a download, `Content-Range` of an upload's chunk."""

from __future__ import annotations

import re
from typing import Final

_SPEC: Final = re.compile(r"[ \t]*(\d{0,19})-(\d{0,19})[ \t]*")
_CHUNK: Final = re.compile(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/(?:\d{1,19}|\*))?")

RANGE_LIMIT: Final = 16


class Unsatisfiable(ValueError):  # noqa: N818 - the status is called Range Not Satisfiable
    """The range is malformed or lies outside of the content: status 416."""


def parse_range(header: str, size: int) -> list[tuple[int, int]]:
    """Return (offset, length) of each range that `header` asks for of `size` bytes; [] means all of them.

    RFC 9110, 14.1.2. As docker-registry does, a unit other than bytes and a malformed header are refused,
    and ranges that together are longer than the content are answered with the whole. More than 16 ranges
    are refused, so that a small request can't make a large answer of parts. Raises Unsatisfiable.
    """
    if not header.strip():
        return []
    unit, separator, text = header.partition("=")
    specs = text.split(",")
    if unit.strip() != "bytes" or not separator or len(specs) > RANGE_LIMIT:
        raise Unsatisfiable(header)
    found = [part for spec in specs if spec.strip() and (part := _one(spec, size)) is not None]
    if not found:
        raise Unsatisfiable(header)
    return [] if sum(length for _, length in found) > size else found


def _one(spec: str, size: int) -> tuple[int, int] | None:
    found = _SPEC.fullmatch(spec)
    if found is None or not (found[1] or found[2]):
        raise Unsatisfiable(spec)
    if not found[1]:
        length = min(int(found[2]), size)
        return (size - length, length) if length else None
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        raise Unsatisfiable(spec)
    return (first, min(last, size - 1) - first + 1) if first < size else None


def parse_chunk(header: str) -> tuple[int, int]:
    """Return (first, last) of an upload chunk's Content-Range, both inclusive.

    OCI distribution-spec 1.1, "Pushing a blob in chunks": `<first>-<last>`; the RFC's `bytes
    first-last/size` is accepted too, because generic clients send it. Raises Unsatisfiable.
    """
    found = _CHUNK.fullmatch(header.strip())
    if found is None or int(found[2]) < int(found[1]):
        raise Unsatisfiable(header)
    return int(found[1]), int(found[2])
