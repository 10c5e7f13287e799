"""How the kernel schedules a process: policy and its values, disk priority, the processors that it may run on."""

from __future__ import annotations

import os
import struct

from sixhops.linux.libc import LinuxError, syscall

__all__ = [
    "FLAGS",
    "IO_CLASSES",
    "POLICIES",
    "parse_processors",
    "set_affinity",
    "set_io_priority",
    "set_scheduler",
]

# include/uapi/linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
# include/uapi/linux/ioprio.h
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_IO_CLASS_SHIFT = 13
_WHO_PROCESS = 1
# size, policy, flags, nice, priority, runtime, deadline, period: struct sched_attr, first version
_ATTRIBUTES = struct.Struct("IIQiIQQQ")


def set_scheduler(
    policy: str, nice: int, priority: int, flags: tuple[str, ...], times: tuple[int, int, int]
) -> None:
    """Set the calling process's policy; `times` are runtime, deadline and period in ns. Raises LinuxError.

    The words must be keys of POLICIES and FLAGS.
    """
    bits = 0
    for flag in flags:
        bits |= FLAGS[flag]
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, POLICIES[policy], bits, nice, priority, *times)
    syscall("sched_setattr", 0, attributes, 0, operation="error setting scheduler: sched_setattr")


def set_io_priority(io_class: str, priority: int) -> None:
    """Set the calling process's disk priority; the word must be a key of IO_CLASSES. Raises LinuxError."""
    value = IO_CLASSES[io_class] << _IO_CLASS_SHIFT | priority
    syscall("ioprio_set", _WHO_PROCESS, 0, value, operation="failed to set io priority: ioprio_set")


def parse_processors(text: str) -> frozenset[int]:
    """Return the processors of a list such as `0-3,7`; raises ValueError. Pure."""
    found: set[int] = set()
    for part in text.split(","):
        first, separator, last = part.strip().partition("-")
        low = int(first)
        high = int(last) if separator else low
        if low < 0 or high < low:
            raise ValueError(f"invalid range: {part}")
        found.update(range(low, high + 1))
    return frozenset(found)


def set_affinity(processors: frozenset[int]) -> None:
    """Bind the calling process to processors. Raises LinuxError."""
    try:
        os.sched_setaffinity(0, processors)
    except OSError as error:
        raise LinuxError(error.errno or 22, "setting CPU affinity: sched_setaffinity") from error
