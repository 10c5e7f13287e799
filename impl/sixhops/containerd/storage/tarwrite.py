"""Layer archives, byte for byte as containerd's differ writes them (Go's archive/tar with its format PAX).

So the digest of a layer doesn't depend on which of the two made it. A member has a PAX record only for what a plain
header can't hold (long or non-ASCII names and link targets, numbers that are too large, extended attributes); no user
names; whole seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BLOCK", "END", "Member", "header", "padding"]

BLOCK = 512
END = bytes(2 * BLOCK)
NAME_SIZE, PREFIX_SIZE = 100, 155
XATTR = "SCHILY.xattr."


@dataclass(frozen=True, slots=True)
class Member:
    """One member: `name` (a directory's ends with a slash), `kind` (the type flag), `mode` (permission bits).

    `plain` asks for a plain header with a split name where that is enough, as whiteouts have it.
    """

    name: bytes
    kind: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    plain: bool = False


def header(member: Member) -> bytes:
    """Return the block (with its PAX blocks in front, if it needs any) that stands before a member's data."""
    records = dict(_records(member))
    prefix, name = b"", member.name
    if member.plain and set(records) <= {b"path"}:
        split = _split(member.name)
        if split is not None:
            records.clear()
            prefix, name = split
    block = _block(member, name, prefix)
    return _extended(member.name, records) + block if records else block


def padding(size: int) -> bytes:
    """Return the zeros that follow `size` bytes of data."""
    return bytes(-size % BLOCK)


def _records(member: Member) -> Iterator[tuple[bytes, bytes]]:
    for key, text in ((b"path", member.name), (b"linkpath", member.link)):
        if len(text) > NAME_SIZE or not text.isascii():
            yield key, text
    for key, number, digits in (
        (b"uid", member.uid, 7),
        (b"gid", member.gid, 7),
        (b"size", member.size, 11),
        (b"mtime", member.mtime, 11),
    ):
        if not 0 <= number < 8**digits:
            yield key, b"%d" % number
    for name, value in member.xattrs.items():
        yield f"{XATTR}{name}".encode(), value


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Return prefix and name of a long name, None when it can't be split so."""
    if len(name) <= NAME_SIZE or not name.isascii():
        return None
    length = min(len(name), PREFIX_SIZE + 1)
    if length == len(name) and name.endswith(b"/"):
        length -= 1
    slash = name[:length].rfind(b"/")
    rest = len(name) - slash - 1
    if slash <= 0 or not 0 < rest <= NAME_SIZE or slash > PREFIX_SIZE:
        return None
    return name[:slash], name[slash + 1 :]


def _extended(name: bytes, records: dict[bytes, bytes]) -> bytes:
    directory, _, base = name.rpartition(b"/")
    parts = [part for part in (directory, b"PaxHeaders.0", base) if part]
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    shown = _ascii(b"/".join(parts))[:NAME_SIZE].rstrip(b"/")
    block = bytearray(BLOCK)
    block[: len(shown)] = shown
    _numbers(block, 0, 0, 0, len(data), 0)
    block[156:157] = b"x"
    return _sum(block) + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """Return `LENGTH key=value\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _ascii(text: bytes) -> bytes:
    """Return a text without what is no ASCII."""
    return bytes(byte for byte in text if byte < 0x80)


def _text(block: bytearray, start: int, size: int, text: bytes) -> None:
    text = _ascii(text)
    block[start : start + size] = text[:size].ljust(size, b"\0")
    if len(text) > size and block[start + size - 1 : start + size] == b"/":
        # a regular file whose cut name ends with a slash would be read as a directory
        kept = text[:size].rstrip(b"/")
        block[start + len(kept)] = 0


def _octal(block: bytearray, start: int, size: int, number: int) -> None:
    if not 0 <= number < 8 ** (size - 1):
        number = 0  # the PAX record has it
    block[start : start + size] = b"%0*o\0" % (size - 1, number)


def _numbers(block: bytearray, mode: int, uid: int, gid: int, size: int, mtime: int) -> None:
    for start, width, number in (
        (100, 8, mode),
        (108, 8, uid),
        (116, 8, gid),
        (124, 12, size),
        (136, 12, mtime),
    ):
        _octal(block, start, width, number)


def _block(member: Member, name: bytes, prefix: bytes) -> bytes:
    block = bytearray(BLOCK)
    _text(block, 0, NAME_SIZE, name)
    _numbers(block, member.mode, member.uid, member.gid, member.size, member.mtime)
    block[156:157] = member.kind
    _text(block, 157, NAME_SIZE, member.link)
    _octal(block, 329, 8, member.device[0])
    _octal(block, 337, 8, member.device[1])
    _text(block, 345, PREFIX_SIZE, prefix)
    return _sum(block)


def _sum(block: bytearray) -> bytes:
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
