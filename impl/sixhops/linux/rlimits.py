"""Resource limits by the names of the runtime specification."""

from __future__ import annotations

import resource

from sixhops.linux.libc import LinuxError

__all__ = ["NUMBERS", "set_limit"]

# asm-generic/resource.h; Python's module lacks some of them (LOCKS, for one).
NUMBERS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        [
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        ]
    )
}
_INFINITY = 0xFFFFFFFFFFFFFFFF


def set_limit(pid: int, name: str, soft: int, hard: int) -> None:
    """Set one limit of process `pid`; 2**64-1 is no limit. Raises LinuxError (EPERM above the hard one)."""
    number = NUMBERS[name]
    try:
        resource.prlimit(pid, number, (_signed(soft), _signed(hard)))
    except (OSError, ValueError) as error:
        # Python turns EINVAL into ValueError; the text of both is the user's known one.
        code = error.errno if isinstance(error, OSError) else 22
        raise LinuxError(code or 22, f"error setting rlimit type {number}") from error


def _signed(value: int) -> int:
    return -1 if value == _INFINITY else value - (1 << 64) if value >= 1 << 63 else value
