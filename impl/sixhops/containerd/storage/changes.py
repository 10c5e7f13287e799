"""What one directory tree has that another doesn't: additions, changes and removals in the order of their paths.

The rules are those of containerd's walking differ (continuity, fs.Changes). Files are the same when owner, mode, device,
capabilities, size and time are; where one of the two times is a whole second, which an archive may have cut, the content
decides. A removed directory is one removal.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CAPABILITY", "Change", "Kind", "capability", "changes"]

CHUNK = 1 << 16
CAPABILITY = "security.capability"
SECOND = 10**9


class Kind(Enum):
    """What happened to a path. UNMODIFIED is told of files with several names only: one of the others may be new."""

    UNMODIFIED = 0
    ADDED = 1
    MODIFIED = 2
    REMOVED = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One change: the path below the root (bytes, no slash in front) and, unless removed, the file's facts."""

    kind: Kind
    path: bytes
    facts: os.stat_result | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    parts: tuple[bytes, ...]
    facts: os.stat_result

    @property
    def path(self) -> bytes:
        return b"/".join(self.parts)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.facts.st_mode)


def changes(old: Path, new: Path) -> Iterator[Change]:
    """Yield what has to be done to the tree `old` to get the tree `new`. OSError when a tree can't be read."""
    lower, upper = _walk(old, ()), _walk(new, ())
    left, right = next(lower, None), next(upper, None)
    removed: tuple[bytes, ...] | None = None  # the directory whose removal says it for all in it
    while left is not None or right is not None:
        if right is not None and (left is None or right.parts < left.parts):
            removed = None
            yield Change(Kind.ADDED, right.path, right.facts)
            right = next(upper, None)
        elif left is not None and (right is None or left.parts < right.parts):
            if removed is None or left.parts[: len(removed)] != removed:
                removed = left.parts if left.is_directory else None
                yield Change(Kind.REMOVED, left.path)
            left = next(lower, None)
        else:
            assert left is not None
            assert right is not None
            same = _same(old, left, new, right)
            removed = left.parts if left.is_directory and not right.is_directory else None
            if not same:
                yield Change(Kind.MODIFIED, right.path, right.facts)
            elif not right.is_directory and right.facts.st_nlink > 1:
                yield Change(Kind.UNMODIFIED, right.path, right.facts)
            left, right = next(lower, None), next(upper, None)


def _walk(root: Path, parts: tuple[bytes, ...]) -> Iterator[_Entry]:
    for path in sorted(root.iterdir(), key=lambda path: os.fsencode(path.name)):
        entry = _Entry((*parts, os.fsencode(path.name)), path.lstat())
        yield entry
        if entry.is_directory:
            yield from _walk(path, entry.parts)


def _same(old: Path, left: _Entry, new: Path, right: _Entry) -> bool:
    a, b = left.facts, right.facts
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino):
        return True
    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev):
        return False
    one, other = old / os.fsdecode(left.path), new / os.fsdecode(right.path)
    if capability(one) != capability(other):
        return False
    if left.is_directory:
        return True
    if a.st_size != b.st_size or a.st_mtime_ns // SECOND != b.st_mtime_ns // SECOND:
        return False
    if a.st_mtime_ns % SECOND and b.st_mtime_ns % SECOND:
        return a.st_mtime_ns == b.st_mtime_ns
    if stat.S_ISLNK(a.st_mode):
        return one.readlink() == other.readlink()
    return not stat.S_ISREG(a.st_mode) or _same_content(one, other)


def capability(path: Path) -> bytes:
    """Return the extended attribute that holds a file's capabilities, empty without one."""
    try:
        return os.getxattr(path, CAPABILITY, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return b""
        raise


def _same_content(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            a, b = left.read(CHUNK), right.read(CHUNK)
            if a != b:
                return False
            if not a:
                return True
