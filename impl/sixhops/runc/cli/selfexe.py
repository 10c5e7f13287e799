"""Making the interpreter's own binary unwritable for the container that it is about to enter (CVE-2019-5736).

A process that enters a container can be made to execute `/proc/self/exe`, and processes in there can open
`/proc/<pid>/exe`: either way they hold the host's interpreter, and whoever may write it owns the host. So commands that
enter a container run from a copy of the mount that the binary lies on, detached and read-only: nobody can make that
writable again, for it is in no mount namespace. Where the kernel refuses this (user namespaces), a sealed copy in
memory does the same for more memory.
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys

import sixhops

__all__ = ["command_line", "is_sealed", "reexecute"]

_SELF = "/proc/self/exe"
_MARK = "_SIXHOPS_RUNC_SEALED"
_ST_RDONLY = 1
_F_ADD_SEALS, _ALL_SEALS = 1033, 0xF


def is_sealed() -> bool:
    """Whether this process's binary lies on a read-only mount or is a sealed memory file."""
    if os.statvfs(_SELF).f_flag & _ST_RDONLY:
        return True
    # The mark alone proves nothing (it is the caller's environment), the name that the kernel gives does.
    return os.readlink(_SELF).startswith("/memfd:")


def reexecute(again: list[str] | None = None) -> None:
    """Replace this process by itself from a sealed binary; returns only if that had been done before.

    `again` is the command line of the second start, that of the first unless given.
    """
    if is_sealed():
        os.environ.pop(_MARK, None)
        return
    if _MARK in os.environ:
        raise OSError("the interpreter's binary could not be sealed")
    descriptor = _sealed_mount()
    if descriptor < 0:
        descriptor = _sealed_copy()
    os.execve(f"/proc/self/fd/{descriptor}", again or sys.orig_argv, {**os.environ, _MARK: "1"})


def command_line(words: list[str]) -> list[str]:
    """Return a command line for the second start of this program with `words`, without what the first one doesn't need.

    No search for installed packages, no variables that change an interpreter: it has all it needs in the directory that
    our package lies in.
    """
    packages = os.path.dirname(os.path.dirname(os.path.abspath(sixhops.__file__)))
    program = (
        f"import sys; sys.path.insert(0, {packages!r}); from sixhops.runc.main import main; sys.exit(main())"
    )
    return [sys.orig_argv[0], "-I", "-S", "-c", program, *words]


def _sealed_mount() -> int:
    from sixhops.linux.libc import LinuxError
    from sixhops.linux.mounts import MOUNT_ATTR_RDONLY, clone_tree, set_attributes

    try:
        tree = clone_tree(os.readlink(_SELF))
        set_attributes(tree, MOUNT_ATTR_RDONLY)
    except LinuxError:
        return -1
    # The descriptor of a tree is O_PATH; executing through it is what it is for.
    return tree


def _sealed_copy() -> int:
    import fcntl

    memory = os.memfd_create("interpreter", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(_SELF, "rb") as source:
        while os.sendfile(memory, source.fileno(), None, 1 << 24):
            continue
    fcntl.fcntl(memory, _F_ADD_SEALS, _ALL_SEALS)
    return memory
