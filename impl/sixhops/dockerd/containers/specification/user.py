"""Who a container's program runs as: `User` and `GroupAdd` resolved with the container's own passwd and group files.

The files are the image's and so hostile: they are opened below the mounted root without leaving it, must be regular, and
are read up to a limit. Messages are the runtime library's that dockerd shows.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import open_in_root

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Identity", "resolve"]

_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LIMIT = 4 << 20
_HIGHEST = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Numbers for the runtime; `additional` begins with the primary group, as dockerd writes it."""

    uid: int = 0
    gid: int = 0
    additional: tuple[int, ...] = (0,)


def resolve(root: str, user: str, group_add: Sequence[str]) -> Identity:
    """Return who `user` (`name`, `uid`, `name:group`, `uid:gid`, or "") is inside `root`, a mounted root directory.

    Raises EngineError 500 for a name that the files don't have, or a number out of range.
    """
    name, colon, group = user.partition(":")
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        passwd = _entries(directory, "/etc/passwd", 7)
        groups = _entries(directory, "/etc/group", 4)
    finally:
        os.close(directory)
    uid, gid, login = _person(name, passwd)
    extra: list[int] = []
    if colon and group:
        gid = _group(group, groups, "unable")
    elif login:
        extra = [
            number
            for entry in groups
            if login in entry[3].split(",") and (number := _number(entry[2])) is not None
        ]
    extra += [_group(text, groups, "Unable") for text in group_add]
    return Identity(uid, gid, (gid, *extra))


def _person(name: str, passwd: list[list[str]]) -> tuple[int, int, str]:
    wanted = _number(name) if name else 0
    for entry in passwd:
        number = _number(entry[2])
        if number is not None and (entry[0] == name or (wanted is not None and number == wanted)):
            return number, _number(entry[3]) or 0, entry[0]
    if wanted is None:
        raise system(f"unable to find user {name}: no matching entries in passwd file")
    if not 0 <= wanted <= _HIGHEST:
        raise system("uids and gids must be in range 0-2147483647")
    return wanted, 0, ""


def _group(name: str, groups: list[list[str]], unable: str) -> int:
    wanted = _number(name)
    for entry in groups:
        number = _number(entry[2])
        if number is not None and (entry[0] == name or number == wanted):
            return number
    if wanted is None:
        raise system(f"{unable} to find group {name}: no matching entries in group file")
    if not 0 <= wanted <= _HIGHEST:
        raise system("uids and gids must be in range 0-2147483647")
    return wanted


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _entries(directory: int, path: str, fields: int) -> list[list[str]]:
    try:
        # O_NONBLOCK: a fifo in the file's place must not stop the engine
        descriptor = open_in_root(directory, path, os.O_RDONLY | os.O_NONBLOCK)
    except LinuxError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return []
        text = file.read(_LIMIT).decode("utf-8", "replace")
    found = []
    for line in text.splitlines():
        entry = line.strip().split(":")
        if not line.startswith("#") and len(entry) >= min(fields, 4):
            found.append([*entry, *[""] * (fields - len(entry))])
    return found
