"""A process that goes on in the caller's place: in its memory, on its stack, from the same line.

A fork copies the page tables, and both sides then copy every page that either of them writes to. clone(2) with CLONE_VM
and CLONE_VFORK copies neither: the caller stands still in the kernel until its successor executes a program or ends.
Here it never goes on after that, because its stack is the successor's by then: what follows the system call in the
caller is exit_group(2), in a few instructions that use registers alone. It may be killed as soon as it stands still: the
memory is the successor's as well.
"""

from __future__ import annotations

import ctypes

from sixhops.linux import machinecode
from sixhops.linux.libc import LinuxError
from sixhops.linux.namespaces import CloneArguments

__all__ = ["can_succeed", "succeed"]

_CLONE_VM, _CLONE_VFORK, _CLONE_PARENT = 0x00000100, 0x00004000, 0x00008000
_CLONE_PARENT_SETTID, _CLONE_INTO_CGROUP = 0x00100000, 0x200000000
# as PyDLL: the interpreter's lock is kept during the call
_clone = (
    ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t)(machinecode.address("clone"))
    if machinecode.is_known()
    else None
)


def can_succeed() -> bool:
    """Tell whether this machine can do it (`machinecode`)."""
    return _clone is not None


def succeed(flags: int, group: int = -1) -> int:
    """Clone a successor with `flags` (CLONE_NEW...); return, in it alone, its pid as the caller's namespace has it.

    It is a child of the caller's parent and has its descriptors; `group` is that of a version 2 control group to be born
    in. The caller must be alone in its memory, its one thread, and have flushed its buffers. Raises LinuxError, in the
    caller.
    """
    assert _clone is not None
    born = ctypes.c_int(0)
    arguments = CloneArguments(
        flags=flags | _CLONE_VM | _CLONE_VFORK | _CLONE_PARENT | _CLONE_PARENT_SETTID,
        parent_tid=ctypes.addressof(born),
    )
    if group >= 0:
        arguments.flags |= _CLONE_INTO_CGROUP
        arguments.cgroup = group
    result = _clone(ctypes.addressof(arguments), ctypes.sizeof(arguments))
    if result < 0:
        raise LinuxError(-result, "clone3")
    return born.value
