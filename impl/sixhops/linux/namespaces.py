"""Namespaces: their names and flags, entering them, and starting a child in new ones."""

from __future__ import annotations

import ctypes
import os

from sixhops.linux.clone import clone_with
from sixhops.linux.libc import LinuxError, call

__all__ = [
    "FILES",
    "FLAGS",
    "CloneArguments",
    "clone",
    "clones_into_groups",
    "open_namespace",
    "set_namespace",
    "unshare",
]

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000

# Names of the runtime specification, https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#namespaces
FLAGS = {
    "user": CLONE_NEWUSER,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "network": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
    "mount": CLONE_NEWNS,
}

# Where the kernel shows them below /proc/<pid>/ns.
FILES = {
    "user": "user",
    "ipc": "ipc",
    "uts": "uts",
    "network": "net",
    "pid": "pid",
    "cgroup": "cgroup",
    "time": "time",
    "mount": "mnt",
}

_SIGCHLD = 17


class CloneArguments(ctypes.Structure):
    """struct clone_args, clone(2)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls"),
            *("set_tid", "set_tid_size", "cgroup"),
        )
    )


def clones_into_groups() -> bool:
    """Whether this kernel's clone3 knows CLONE_INTO_CGROUP (5.7, see clone(2))."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (5, 7)


def clone(flags: int, group: int = -1) -> int:
    """Fork with the given CLONE_ flags; 0 in the child, the child's pid in the parent. Single-threaded callers only.

    With CLONE_PARENT the child is a sibling of the caller. `group` is the descriptor of a version 2 control group that
    the child is born in. The interpreter's hooks are left out (see `clone`). Raises LinuxError.
    """
    # The kernel takes the exit signal of CLONE_PARENT from the caller and refuses one here.
    arguments = CloneArguments(flags=flags, exit_signal=0 if flags & CLONE_PARENT else _SIGCHLD)
    if group >= 0:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = group
    try:
        return clone_with(ctypes.addressof(arguments), ctypes.sizeof(arguments))
    except OSError as error:
        raise LinuxError(error.errno or 0, "clone3") from error


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (for pid and time: its children)."""
    call("unshare", flags, operation="unshare")


def open_namespace(path: str) -> int:
    """Open a namespace file, close-on-exec."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def set_namespace(descriptor: int, flags: int = 0) -> None:
    """Enter the namespace behind `descriptor`; `flags` (0: any) is the kind that it must be."""
    call("setns", descriptor, flags, operation="setns")
