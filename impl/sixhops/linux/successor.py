"""A process that goes on in the caller's place: in its memory, on its stack, from the same line.

A fork copies the page tables, and both sides then copy every page that either of them writes to. clone(2) with CLONE_VM
and CLONE_VFORK copies neither: the caller stands still in the kernel until its successor executes a program or ends.
Here it never goes on after that, because its stack is the successor's by then: what follows the system call in the
caller is exit_group(2), in a few instructions that use registers alone. It may be killed as soon as it stands still: the
memory is the successor's as well.
"""

from __future__ import annotations

import ctypes
import mmap
import os

from sixhops.linux.libc import LinuxError
from sixhops.linux.namespaces import CloneArguments

__all__ = ["can_succeed", "succeed"]

_CLONE_VM, _CLONE_VFORK, _CLONE_PARENT = 0x00000100, 0x00004000, 0x00008000
_CLONE_PARENT_SETTID, _CLONE_INTO_CGROUP = 0x00100000, 0x200000000
# long (*)(struct clone_args *, size_t): clone3, and exit_group(0) where that returns a pid
_CODE = {
    "x86_64": bytes.fromhex(
        "b8b3010000"  # mov eax, 435
        "0f05"  # syscall
        "4885c0"  # test rax, rax
        "7f01"  # jg over the next one
        "c3"  # ret: 0 in the successor, or an error
        "31ff"  # xor edi, edi
        "b8e7000000"  # mov eax, 231
        "0f05"  # syscall
    )
}


def _load() -> ctypes._FuncPointer | None:
    code = _CODE.get(os.uname().machine)
    if code is None:
        return None
    try:
        # by way of a file, so that no memory is ever writable and executable at once
        file = os.memfd_create("successor", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        os.write(file, code)
        place = _mmap(None, len(code), mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, file, 0)
    finally:
        os.close(file)
    if place in {None, ctypes.c_void_p(-1).value}:
        return None
    # as PyDLL: the interpreter's lock is kept during the call
    return ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t)(place)


_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_clone = _load()


def can_succeed() -> bool:
    """Tell whether this machine can do it: it is told in the processor's own words, which are known for x86_64."""
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
