"""mount(2) and its younger relatives: mounting, propagation, pivot_root, attributes, detached trees."""

from __future__ import annotations

import ctypes
import os

from sixhops.linux.libc import LinuxError, call, syscall

__all__ = [
    "MountError",
    "clone_tree",
    "filesystem_type",
    "mount",
    "mount_flags",
    "move_to",
    "pivot_root",
    "set_attributes",
    "unmount",
]

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_POSIXACL = 1 << 16
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000

PROC_SUPER_MAGIC = 0x9FA0
CGROUP2_SUPER_MAGIC = 0x63677270

# statvfs reports the flags of a mount with the same values as mount(2), but for relatime.
_STATFS_KEPT = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME
_ST_RELATIME = 4096


class MountError(LinuxError):
    """A failed mount; the text names source, target, descriptor path, flags and data, as OCI runtimes do."""

    def __init__(self, number: int, source: str, target: str, through: str, flags: int, data: str) -> None:
        text = f"mount {source}:{target}" if source else f"mount {target}"
        text += f" (via {through})" if through and through != target else ""
        text += f", flags: 0x{flags:x}" if flags else ""
        text += f", data: {data}" if data else ""
        super().__init__(number, text)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _StatFs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_char * 248))


def mount(
    source: str, target: str, filesystem: str = "", flags: int = 0, data: str = "", *, shown: str = ""
) -> None:
    """Call mount(2); `shown` is the target's name in the error text when `target` is a /proc/self/fd path."""
    try:
        call(
            "mount",
            os.fsencode(source) if source else None,
            os.fsencode(target),
            filesystem.encode() if filesystem else None,
            ctypes.c_ulong(flags),
            os.fsencode(data) if data else None,
        )
    except LinuxError as error:
        raise MountError(error.number, source, shown or target, target, flags, data) from error


def unmount(target: str, flags: int = 0) -> None:
    """Call umount2(2)."""
    call("umount2", os.fsencode(target), flags, operation=f"unmount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root mount of this mount namespace and hang the old one at `put_old`."""
    syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old), operation="pivot_root")


def mount_flags(path: str) -> int:
    """Return the flags of the mount that `path` is on, in mount(2)'s values."""
    reported = os.statvfs(path).f_flag
    return (reported & _STATFS_KEPT) | (MS_RELATIME if reported & _ST_RELATIME else 0)


def filesystem_type(descriptor: int) -> int:
    """Return the magic number of the filesystem that an open descriptor is on (statfs f_type)."""
    buffer = _StatFs()
    call("fstatfs", descriptor, ctypes.byref(buffer), operation="fstatfs")
    return int(buffer.f_type)


def set_attributes(
    descriptor: int,
    set_bits: int = 0,
    clear_bits: int = 0,
    *,
    recursive: bool = False,
    user_namespace: int = 0,
) -> None:
    """Change attributes of the mount behind `descriptor` (mount_setattr), of all below it when recursive."""
    attributes = _MountAttributes(set_bits, clear_bits, 0, user_namespace)
    syscall(
        "mount_setattr",
        descriptor,
        b"",
        _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
        operation="mount_setattr",
    )


def clone_tree(path: str, *, recursive: bool = False) -> int:
    """Return a descriptor of a detached copy of the mount at `path` (open_tree with OPEN_TREE_CLONE)."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return syscall("open_tree", -100, os.fsencode(path), flags, operation=f"open_tree {path}")


def move_to(tree: int, target: int) -> None:
    """Attach a detached tree on the directory or file behind the descriptor `target` (move_mount)."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    syscall("move_mount", tree, b"", target, b"", flags, operation="move_mount")
