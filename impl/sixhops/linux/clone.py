"""clone(2) without the interpreter's hooks around it, for processes with one thread.

os.fork and PyOS_AfterFork_Child are there for other threads, of which there are none, and for modules (`threading`,
`random`) whose hooks would make a hundred pages the child's own. What they would put right stays as it was: the one
thread has its lock, its state and its identity. `random` gives every child the same sequence; use os.urandom, or
tempfile, which looks at the pid.
"""

from __future__ import annotations

import ctypes
import os
import signal

__all__ = ["clone_with", "fork_plainly", "fork_sibling"]

CLONE_PARENT = 0x00008000
SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
SYS_CLONE3 = 435

# PyDLL keeps the interpreter's lock during the call; CDLL would give it up around a clone
_syscall = ctypes.PyDLL(None, use_errno=True).syscall


def _words(flags: int) -> list[ctypes.c_ulong]:
    number = SYS_CLONE[os.uname().machine]
    return [ctypes.c_ulong(word) for word in (number, flags | signal.SIGCHLD, 0, 0, 0, 0)]


_PLAIN = _words(0)
_SIBLING = _words(CLONE_PARENT)


def fork_plainly() -> int:
    """Fork: the pid of the child, 0 in the child. Raises OSError. Buffers must be flushed, as before os.fork."""
    return _clone(_PLAIN)


def fork_sibling() -> int:
    """Fork a child of our own parent: its pid, 0 in the child. Raises OSError."""
    return _clone(_SIBLING)


def clone_with(arguments: int, size: int) -> int:
    """Fork as the struct clone_args at address `arguments` says: the pid of the child, 0 in the child. Raises OSError."""
    return _clone([ctypes.c_ulong(word) for word in (SYS_CLONE3, arguments, size)])


def _clone(words: list[ctypes.c_ulong]) -> int:
    pid: int = _syscall(*words)
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid
