"""As much of protobuf's wire format as the command line needs, which must start before protobuf could be imported."""

from __future__ import annotations

__all__ = ["fields", "varint"]


def varint(number: int) -> bytes:
    """Return `number` in base 128, least significant part first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Return a message's fields in order: number, and an integer or bytes. ValueError when it is none."""
    found: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(data):
        key, position = _read(data, position)
        kind = key & 7
        value: int | bytes
        if kind == 0:
            value, position = _read(data, position)
        elif kind in (1, 2, 5):
            length = {1: 8, 5: 4}.get(kind)
            if length is None:
                length, position = _read(data, position)
            if position + length > len(data):
                raise ValueError("a field is longer than its message")
            value = data[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {kind}")
        if not key >> 3:
            raise ValueError("field number 0")
        found.append((key >> 3, value))
    return found


def _read(data: bytes, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ValueError("the message ends inside a number")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number of more than ten bytes")
