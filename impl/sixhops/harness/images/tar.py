"""Layers as tar streams, written in one fixed way so that equal entries give equal bytes on every machine.

The format is POSIX ustar; what doesn't fit there (long names, large numbers, extended attributes) goes into
a pax header before the member, with its records sorted. The standard library's writer is not used because its
bytes have changed between Python versions. Content is yielded in pieces: a big layer is never held in memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from sixhops.harness.documents import Node
from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.images.entries import DEFAULT_MTIME, Content, Entry, read_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Programs", "file_member", "member", "random_bytes", "tar_bytes", "tar_stream"]

_BLOCK: Final = 512
_PIECE: Final = 1 << 16
_TYPES: Final = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "dir": b"5",
    "fifo": b"6",
    "whiteout": b"0",
    "opaque": b"0",
}


class Programs(Protocol):
    """Where a file's program comes from."""

    def path(self, name: str, mark: Mark | None = None) -> Path:
        """Return the executable `name` on this machine (busybox, or one of ours); raise when there is
        none."""
        ...


def tar_bytes(entries: object, programs: Programs, mark: Mark) -> bytes:
    """Return the archive of `entries`, plain data in the grammar of `entries.read_entry`; for `tar:` bodies.

    `mark` is where the body stands, for the ScenarioError that bad entries raise.
    """
    node = Node.of_data(entries, mark, "tar")
    return b"".join(tar_stream([read_entry(item) for item in node.items()], programs))


def tar_stream(entries: Iterable[Entry], programs: Programs) -> Iterator[bytes]:
    """Yield the archive in pieces, in the order of `entries`; applet links follow their busybox, sorted."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        original = seen.get(entry.target) if entry.inherits else None
        if original is not None:
            entry = replace(
                entry, mode=original.mode, uid=original.uid, gid=original.gid, mtime=original.mtime
            )
        seen[entry.path] = entry
        yield from member(entry, programs)
        directory = entry.path.rpartition("/")[0]
        name = entry.path.rpartition("/")[2]
        for applet in entry.applets:
            path = f"{directory}/{applet}" if directory else applet
            link = Entry("symlink", path, entry.mark, 0o777, entry.uid, entry.gid, entry.mtime, target=name)
            yield from member(link, programs)
    yield bytes(2 * _BLOCK)


def member(entry: Entry, programs: Programs | None) -> Iterator[bytes]:
    """Yield one member: headers, content, padding. `programs` may be None for what is no program."""
    path = entry.path
    directory, _, name = path.rpartition("/")
    if entry.kind == "whiteout":
        path = f"{directory}/.wh.{name}" if directory else f".wh.{name}"
    elif entry.kind == "opaque":
        path = ".wh..wh..opq" if path == "." else f"{path}/.wh..wh..opq"
    elif entry.kind == "dir":
        path += "/"
    size = _size(entry.content, programs, entry.mark) if entry.content else 0
    records = {f"SCHILY.xattr.{key}": value for key, value in entry.xattrs.items()}
    if len(path.encode()) > 100:
        records["path"] = path
    if len(entry.target.encode()) > 100:
        records["linkpath"] = entry.target
    for key, value in (("uid", entry.uid), ("gid", entry.gid)):
        if value > 0o7777777:
            records[key] = str(value)
    if size > 0o77777777777:
        records["size"] = str(size)
    if records:
        data = b"".join(_record(key, records[key]) for key in sorted(records))
        yield _header("PaxHeaders/member", b"x", 0o644, 0, 0, len(data), 0) + data + _padding(len(data))
    yield _header(
        path,
        _TYPES[entry.kind],
        entry.mode,
        entry.uid,
        entry.gid,
        size,
        entry.mtime,
        link=entry.target,
        device=(entry.major, entry.minor) if entry.kind in {"char", "block"} else None,
    )
    if entry.content:
        yield from _pieces(entry.content, programs, entry.mark)
        yield _padding(size)


def file_member(path: str, size: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a regular file of `size` bytes whose content comes from elsewhere; `path` has at most 100
    bytes."""
    yield _header(path, b"0", 0o644, 0, 0, size, DEFAULT_MTIME)
    yield from pieces
    yield _padding(size)


def random_bytes(seed: int, size: int) -> Iterator[bytes]:
    """Yield `size` bytes decided by `seed`: SHAKE-256 of "seed:piece number", 64 KiB a piece."""
    for number in range(-(-size // _PIECE)):
        yield hashlib.shake_256(f"{seed}:{number}".encode()).digest(min(_PIECE, size - number * _PIECE))


def _size(content: Content, programs: Programs | None, mark: Mark) -> int:
    if content.kind == "random":
        once = content.size
    elif content.kind == "text":
        once = len(content.data)
    elif programs is None:
        raise ScenarioError(f"the program {content.name!r} can't stand here", mark)
    else:
        once = programs.path(content.name, mark).stat().st_size
    return once * content.copies


def _pieces(content: Content, programs: Programs | None, mark: Mark) -> Iterator[bytes]:
    for _ in range(content.copies):
        if content.kind == "random":
            yield from random_bytes(content.seed, content.size)
        elif content.kind == "text":
            yield content.data
        elif programs is not None:
            with programs.path(content.name, mark).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece


def _header(
    path: str,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    *,
    link: str = "",
    device: tuple[int, int] | None = None,
) -> bytes:
    fields = b"".join(
        (
            path.encode()[:100].ljust(100, b"\0"),
            _octal(mode, 8),
            _octal(uid if uid <= 0o7777777 else 0, 8),
            _octal(gid if gid <= 0o7777777 else 0, 8),
            _octal(size if size <= 0o77777777777 else 0, 12),
            _octal(mtime, 12),
            b" " * 8,
            kind,
            link.encode()[:100].ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),  # no user and group names: numbers alone decide
            _octal(device[0], 8) + _octal(device[1], 8) if device else bytes(16),
        )
    ).ljust(_BLOCK, b"\0")
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def _record(key: str, value: str) -> bytes:
    # A record's length counts its own digits, so it is found by trying.
    body = f" {key}={value}\n".encode()
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
