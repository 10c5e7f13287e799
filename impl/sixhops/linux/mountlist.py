"""Mounts as containerd writes them down: type, source and options in fstab's words; mounted and unmounted
as a list.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.linux import mounts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Mount", "mount_all", "mounted_below", "parse_options", "unmount_below"]

# option -> (flag, whether it is cleared)
FLAGS = {
    "async": (mounts.MS_SYNCHRONOUS, True),
    "atime": (mounts.MS_NOATIME, True),
    "bind": (mounts.MS_BIND, False),
    "defaults": (0, False),
    "dev": (mounts.MS_NODEV, True),
    "diratime": (mounts.MS_NODIRATIME, True),
    "dirsync": (mounts.MS_DIRSYNC, False),
    "exec": (mounts.MS_NOEXEC, True),
    "mand": (mounts.MS_MANDLOCK, False),
    "noatime": (mounts.MS_NOATIME, False),
    "nodev": (mounts.MS_NODEV, False),
    "nodiratime": (mounts.MS_NODIRATIME, False),
    "noexec": (mounts.MS_NOEXEC, False),
    "nomand": (mounts.MS_MANDLOCK, True),
    "norelatime": (mounts.MS_RELATIME, True),
    "nostrictatime": (mounts.MS_STRICTATIME, True),
    "nosuid": (mounts.MS_NOSUID, False),
    "rbind": (mounts.MS_BIND | mounts.MS_REC, False),
    "relatime": (mounts.MS_RELATIME, False),
    "remount": (mounts.MS_REMOUNT, False),
    "ro": (mounts.MS_RDONLY, False),
    "rw": (mounts.MS_RDONLY, True),
    "strictatime": (mounts.MS_STRICTATIME, False),
    "suid": (mounts.MS_NOSUID, True),
    "sync": (mounts.MS_SYNCHRONOUS, False),
}


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: filesystem `type` (or `bind`), `source`, `options` in order."""

    type: str
    source: str
    options: tuple[str, ...] = ()


def parse_options(options: Sequence[str]) -> tuple[int, str]:
    """Return the flags and the filesystem's own options (comma-separated) for mount(2)."""
    flags = 0
    data = []
    for option in options:
        if option in FLAGS:
            flag, clear = FLAGS[option]
            flags = flags & ~flag if clear else flags | flag
        else:
            data.append(option)
    return flags, ",".join(data)


def mount_all(wanted: Sequence[Mount], target: str | Path) -> None:
    """Mount the list on `target`, one over the other; what was mounted is undone when one fails
    (LinuxError).
    """
    done = 0
    try:
        for item in wanted:
            flags, data = parse_options(item.options)
            kind = "" if flags & mounts.MS_BIND else item.type
            mounts.mount(item.source, str(target), kind, flags, data)
            done += 1
            if flags & mounts.MS_BIND and flags & mounts.MS_RDONLY:
                # the kernel ignores "ro" in the call that binds
                mounts.mount("", str(target), "", flags | mounts.MS_REMOUNT, "")
    except OSError:
        for _ in range(done):
            with contextlib.suppress(OSError):
                mounts.unmount(str(target), mounts.MNT_DETACH)
        raise


def mounted_below(path: str | Path) -> list[str]:
    """Return the mount points at and below `path`, deepest (and newest) first."""
    prefix = os.path.realpath(path)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ")[4].encode().decode("unicode_escape")
        if point == prefix or point.startswith(prefix + "/"):
            found.append(point)
    return found[::-1]


def unmount_below(path: str | Path) -> None:
    """Unmount everything at and below `path`; LinuxError for the first that refuses."""
    for point in mounted_below(path):
        mounts.unmount(point, mounts.MNT_DETACH)
