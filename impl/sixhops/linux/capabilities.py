"""Capabilities: names, the five sets, and how a thread takes them on."""

from __future__ import annotations

import struct

from sixhops.linux.libc import LinuxError, call

__all__ = ["NAMES", "apply_sets", "drop_bounding", "keep_on_setuid", "last_capability", "to_mask"]

# include/uapi/linux/capability.h, in the order of their numbers.
NAMES = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
_NUMBERS = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522
# capset(2): version and pid (0: the caller's), then lower and upper halves of the three sets. Packed, not structures:
# the first process of a container fills them in only once, and making an array's type takes a quarter of a millisecond
_HEADER = struct.pack("=Ii", _VERSION_3, 0)
_SETS = struct.Struct("=6I")
_LOWER = 0xFFFFFFFF
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def last_capability() -> int:
    """Return the number of the last capability that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def to_mask(names: tuple[str, ...], last: int = len(NAMES) - 1) -> tuple[int, list[str]]:
    """Return the bit mask of the names, and the names that don't exist here (in no other set than ignored)."""
    mask, unknown = 0, []
    for name in names:
        number = _NUMBERS.get(name)
        if number is None or number > last:
            unknown.append(name)
        else:
            mask |= 1 << number
    return mask, unknown


def keep_on_setuid(keep: bool) -> None:
    """Say whether the permitted set survives the change from user 0 to another."""
    call("prctl", _PR_SET_KEEPCAPS, int(keep), 0, 0, 0, operation="prctl(PR_SET_KEEPCAPS)")


def drop_bounding(mask: int, last: int) -> None:
    """Drop everything that is not in `mask` from the bounding set. Needs CAP_SETPCAP."""
    for number in range(last + 1):
        if not mask >> number & 1 and call("prctl", _PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0, operation="prctl(PR_CAPBSET_DROP)")


def apply_sets(effective: int, permitted: int, inheritable: int, ambient: int) -> None:
    """Set effective, permitted and inheritable in one call, then the ambient set.

    A bit of the ambient set that the kernel refuses (it must be permitted and inheritable) is left out, as runc does.
    """
    sets = (effective, permitted, inheritable)
    data = _SETS.pack(*(part & _LOWER for part in sets), *(part >> 32 & _LOWER for part in sets))
    call("capset", _HEADER, data, operation="capset")
    call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, operation="prctl(PR_CAP_AMBIENT)")
    for number in range(len(NAMES) if ambient else 0):
        if ambient >> number & 1:
            try:
                call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)
            except LinuxError as error:
                if error.errno not in {1, 22}:
                    raise
