"""The command line that a process shows in /proc, changed while it runs."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = ["set_arguments"]

PR_SET_MM = 35
PR_SET_MM_MAP = 14

# fields of /proc/self/stat, counted from 1 as proc(5) does
STAT_FIELDS = {
    "start_code": 26,
    "end_code": 27,
    "start_stack": 28,
    "start_data": 45,
    "end_data": 46,
    "start_brk": 47,
    "arg_start": 48,
    "arg_end": 49,
    "env_start": 50,
    "env_end": 51,
}


class MemoryMap(ctypes.Structure):
    """struct prctl_mm_map of linux/prctl.h."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("start_code", "end_code", "start_data", "end_data")),
        *((name, ctypes.c_uint64) for name in ("start_brk", "brk", "start_stack")),
        *((name, ctypes.c_uint64) for name in ("arg_start", "arg_end", "env_start", "env_end")),
        ("auxv", ctypes.c_void_p),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    )


_libc = ctypes.PyDLL(None, use_errno=True)
_arguments: ctypes.Array[ctypes.c_char] | None = None  # must outlive the process: the kernel reads it


def set_arguments(arguments: list[str]) -> bool:
    """Show `arguments` as this process's command line in /proc; return whether the kernel let us.

    The strings live in a buffer of ours and the memory map is pointed at it, so any length fits and no
    capability is needed. A kernel without CONFIG_CHECKPOINT_RESTORE refuses; then the command line stays.
    """
    global _arguments  # noqa: PLW0603 - one process, one command line
    data = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
    buffer = ctypes.create_string_buffer(data, len(data))
    start = ctypes.addressof(buffer)
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    numbers = {name: int(fields[position - 3]) for name, position in STAT_FIELDS.items()}
    numbers |= {"arg_start": start, "arg_end": start + len(data)}
    _libc.sbrk.restype = ctypes.c_void_p
    end_of_heap = _libc.sbrk(ctypes.c_long(0))
    memory = MemoryMap(**numbers, brk=end_of_heap, auxv=None, auxv_size=0, exe_fd=0xFFFFFFFF)
    words = [
        ctypes.c_ulong(word) for word in (PR_SET_MM_MAP, ctypes.addressof(memory), ctypes.sizeof(memory), 0)
    ]
    if _libc.prctl(PR_SET_MM, *words) != 0:
        return False
    _arguments = buffer
    return True
