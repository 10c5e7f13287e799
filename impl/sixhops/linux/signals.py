"""The state of signals in which a program that is about to be executed must find itself."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the public module would cost 2 ms of import
import ctypes

from sixhops.linux.libc import syscall

__all__ = ["DEFAULT", "reset_signals", "set_handler"]

#: Set one handler: signal.signal without its turning of numbers into enumerations and back, which is most of its cost.
set_handler = signal.signal
#: The handler for that which stands for a signal's default action.
DEFAULT = signal.SIG_DFL


#: Sizes in bytes of the kernel's struct sigaction (all zero is the default action) and sigset_t.
_KERNEL_SIGACTION, _KERNEL_SIGSET = 32, 8
_KEPT_BY_GLIBC = (32, 33)


def reset_signals() -> None:
    """Give every signal its default action and unblock all: an interpreter ignores SIGPIPE, its child must not."""
    for number in signal.valid_signals():
        if number not in {9, 19} and signal.getsignal(number) != signal.SIG_DFL:
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError, TypeError):
                continue  # those that the C library keeps for itself
    # glibc keeps 32 and 33 for its threads and lets nobody name them, yet its posix_spawn (make uses it) leaves them
    # ignored in every child, and so in every container below
    default = ctypes.create_string_buffer(_KERNEL_SIGACTION)
    for kept in _KEPT_BY_GLIBC:
        syscall("rt_sigaction", kept, ctypes.addressof(default), 0, _KERNEL_SIGSET)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
