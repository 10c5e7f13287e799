"""The command line that a process shows in /proc, changed while it runs."""

from __future__ import annotations

import ctypes

__all__ = ["prepare", "set_arguments", "show_original"]

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
_prctl = _libc["prctl"]
_prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_end_of_heap = _libc["sbrk"]
_end_of_heap.argtypes = (ctypes.c_long,)
_end_of_heap.restype = ctypes.c_void_p
_map = MemoryMap(exe_fd=0xFFFFFFFF)
# The kernel reads it as long as the process lives. Made once: each length of a buffer is a type of its own to ctypes, and
# making that costs more memory than all else here.
_ROOM = 4096
_room = ctypes.create_string_buffer(_ROOM)
_longer: ctypes.Array[ctypes.c_char] | None = None
_original = (0, 0)


def prepare() -> None:
    """Read what of the memory map stays as it is; done once, before the fork if there is one."""
    global _original  # noqa: PLW0603 - as below
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    for name, position in STAT_FIELDS.items():
        setattr(_map, name, int(fields[position - 3]))
    _original = _map.arg_start, _map.arg_end


def set_arguments(arguments: list[str]) -> bool:
    """Show `arguments` as this process's command line in /proc; return whether the kernel let us.

    The strings live in a buffer of ours and the memory map is pointed at it, so any length fits and no
    capability is needed. A kernel without CONFIG_CHECKPOINT_RESTORE refuses; then the command line stays.
    """
    global _longer  # noqa: PLW0603 - one process, one command line
    if not _map.start_code:
        prepare()
    data = "\0".join((*arguments, "")).encode(errors="surrogateescape")
    buffer = _room
    if len(data) > _ROOM:
        _longer = buffer = ctypes.create_string_buffer(len(data))
    buffer.raw = data.ljust(len(buffer), b"\0")
    start = ctypes.addressof(buffer)
    return _show(start, start + len(data))


def show_original() -> bool:
    """Show the command line that was there at `prepare` again; return whether the kernel let us."""
    return _show(*_original)


def _show(start: int, end: int) -> bool:
    _map.arg_start, _map.arg_end = start, end
    _map.brk = _end_of_heap(0)
    done: int = _prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.addressof(_map), ctypes.sizeof(_map), 0)
    return done == 0
