"""A process of its own for a short piece of work, in the caller's memory.

A fork copies the page tables, and then every page that the child writes to; for a step of a millisecond that is most of
the time. clone(2) with CLONE_VM and CLONE_VFORK copies neither: the child works on our objects while we stand still.
Descriptors, directory, umask, signal mask and exit status are its own. What it leaves in memory stays, so it must
close what it opens: an object that is collected later would close a descriptor of ours with the same number.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["can_borrow", "run_borrowed"]

_CLONE_VM, _CLONE_VFORK = 0x00000100, 0x00004000
# waitpid(2): also for children that send no signal when they end, which nobody else takes for his
_WALL = 0x40000000
_STACK = 1 << 20
_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
# PyDLL keeps the interpreter's lock during the call
_clone = ctypes.PyDLL(None, use_errno=True).clone


def can_borrow() -> bool:
    """Tell whether this interpreter can run on another stack than its thread's: later ones compare addresses."""
    return sys.version_info < (3, 14)


def run_borrowed(work: Callable[[], int]) -> int:
    """Run `work` in a child in our memory and return its exit status; 1 for an exception, which it prints.

    The caller has one thread; signals wait for it meanwhile. Raises OSError when there can be no child.
    """

    def child(_argument: object) -> int:
        try:
            return work() & 0xFF
        except SystemExit as error:
            return error.code & 0xFF if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - nothing may get past this point into the parent's frames
            traceback.print_exc()
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    sys.stdout.flush()
    sys.stderr.flush()
    entry = _FUNCTION(child)
    # a handler would run in the child, on what it believes to be its own
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with mmap.mmap(-1, _STACK, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as stack:
            base = ctypes.c_char.from_buffer(stack)
            top = ctypes.c_void_p(ctypes.addressof(base) + _STACK)
            pid = _clone(entry, top, _CLONE_VM | _CLONE_VFORK, None)
            failure = ctypes.get_errno()
            del base
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if pid < 0:
        raise OSError(failure, f"clone: {os.strerror(failure)}")
    return os.waitstatus_to_exitcode(os.waitpid(pid, _WALL)[1])
