"""Descriptors across execve: what stays open is said once, for all at once."""

from __future__ import annotations

from sixhops.linux.libc import syscall

__all__ = ["close_on_exec_from", "keep_only"]

_LAST = 0xFFFFFFFF
_CLOSE_RANGE_CLOEXEC = 4


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from `first` up to be closed by execve."""
    syscall("close_range", first, _LAST, _CLOSE_RANGE_CLOEXEC, operation="close_range")


def keep_only(kept: frozenset[int]) -> None:
    """Close every descriptor that is not in `kept`, at once."""
    start = 0
    for descriptor in (*sorted(kept), _LAST + 1):
        if descriptor > start:
            syscall("close_range", start, descriptor - 1, 0, operation="close_range")
        start = descriptor + 1
