"""The C library and raw system calls, with errors that say which call failed on what.

Calls are made with the interpreter's lock held (`PyDLL`): the callers are single-threaded, and a clone that
returned in a child without the lock would have to take it again from a parent that no longer exists there.
Anything that may block for long must not go through this module.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["LinuxError", "call", "describe", "syscall"]

_LIBC = ctypes.PyDLL(None, use_errno=True)
_MACHINE = os.uname().machine

# Numbers below 424 differ between architectures; later ones are the same on all of them.
_LEGACY_NUMBERS = {
    "x86_64": {
        "rt_sigaction": 13,
        "pivot_root": 155,
        "keyctl": 250,
        "ioprio_set": 251,
        "sched_setattr": 314,
        "seccomp": 317,
        "bpf": 321,
    },
    "aarch64": {
        "ioprio_set": 30,
        "pivot_root": 41,
        "rt_sigaction": 134,
        "keyctl": 219,
        "sched_setattr": 274,
        "seccomp": 277,
        "bpf": 280,
    },
}
_NUMBERS = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "pidfd_getfd": 438,
    "faccessat2": 439,
    "openat2": 437,
    "mount_setattr": 442,
} | _LEGACY_NUMBERS.get(_MACHINE, {})

_syscall = _LIBC.syscall
_syscall.restype = ctypes.c_long


class LinuxError(OSError):
    """A failed system call; `number` is the errno, `operation` what was attempted, in a user's words."""

    def __init__(self, number: int, operation: str) -> None:
        super().__init__(number, describe(number))
        self.number = number
        self.operation = operation

    def __str__(self) -> str:
        return f"{self.operation}: {self.strerror}"


def describe(number: int) -> str:
    """Return the text of an errno in the lower-case form that OCI runtimes print."""
    return os.strerror(number).lower()


def call(name: str, *arguments: object, operation: str = "") -> int:
    """Call a C library function that answers -1 and errno on failure; raise LinuxError then.

    Strings must be passed as bytes; None is a null pointer. `operation` defaults to the function's name.
    """
    function = getattr(_LIBC, name)
    ctypes.set_errno(0)
    result: int = function(*arguments)
    if result == -1:
        raise LinuxError(ctypes.get_errno(), operation or name)
    return result


def syscall(name: str, *arguments: object, operation: str = "") -> int:
    """Make a system call by name; integers are passed as 64-bit words. Raises LinuxError, ENOSYS if unnumbered."""
    number = _NUMBERS.get(name)
    if number is None:
        raise LinuxError(38, operation or name)
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise LinuxError(ctypes.get_errno(), operation or name)
    return result
