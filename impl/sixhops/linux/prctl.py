"""The few prctl(2) calls that the project needs, as functions.

Numbers are those of include/uapi/linux/prctl.h; they are the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["die_with_parent", "set_name", "set_subreaper"]

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

# with its types declared, so that a call makes no object for each number
_prctl_of = ctypes.CDLL(None, use_errno=True).prctl
_name = ctypes.create_string_buffer(16)
_prctl_of.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send `signal_number` to this process when its parent's thread ends; 0 switches it off.

    The setting is lost by fork and kept by exec of an ordinary program. A parent that ended before the call
    is not noticed: check for that by other means. Raises OSError.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def set_name(name: str) -> None:
    """Set the name of the calling thread, as /proc/PID/comm shows it; the kernel keeps the first 15 bytes.

    Raises OSError.
    """
    _name.value = name.encode()[:15]
    _prctl(_PR_SET_NAME, ctypes.addressof(_name))


def set_subreaper(enabled: bool = True) -> None:
    """Make this process the new parent of orphaned descendants, instead of init. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(enabled))


def _prctl(option: int, argument: int) -> None:
    if _prctl_of(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
