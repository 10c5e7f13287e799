"""Mount options of the runtime specification: words in, flags out. Pure.

https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-mount-options
Words that are in no table belong to the filesystem and go into mount(2)'s data.
"""

from __future__ import annotations

from sixhops.linux import mounts as m
from sixhops.values import Value

__all__ = ["FLAGS", "PROPAGATION", "RECURSIVE", "MountOptions", "parse"]

# word -> (clears, flags)
FLAGS = {
    "acl": (False, m.MS_POSIXACL),
    "async": (True, m.MS_SYNCHRONOUS),
    "atime": (True, m.MS_NOATIME),
    "bind": (False, m.MS_BIND),
    "defaults": (False, 0),
    "dev": (True, m.MS_NODEV),
    "diratime": (True, m.MS_NODIRATIME),
    "dirsync": (False, m.MS_DIRSYNC),
    "exec": (True, m.MS_NOEXEC),
    "iversion": (False, m.MS_I_VERSION),
    "lazytime": (False, m.MS_LAZYTIME),
    "loud": (True, m.MS_SILENT),
    "mand": (False, m.MS_MANDLOCK),
    "noacl": (True, m.MS_POSIXACL),
    "noatime": (False, m.MS_NOATIME),
    "nodev": (False, m.MS_NODEV),
    "nodiratime": (False, m.MS_NODIRATIME),
    "noexec": (False, m.MS_NOEXEC),
    "noiversion": (True, m.MS_I_VERSION),
    "nolazytime": (True, m.MS_LAZYTIME),
    "nomand": (True, m.MS_MANDLOCK),
    "norelatime": (True, m.MS_RELATIME),
    "nostrictatime": (True, m.MS_STRICTATIME),
    "nosuid": (False, m.MS_NOSUID),
    "nosymfollow": (False, m.MS_NOSYMFOLLOW),
    "rbind": (False, m.MS_BIND | m.MS_REC),
    "relatime": (False, m.MS_RELATIME),
    "remount": (False, m.MS_REMOUNT),
    "ro": (False, m.MS_RDONLY),
    "rw": (True, m.MS_RDONLY),
    "silent": (False, m.MS_SILENT),
    "strictatime": (False, m.MS_STRICTATIME),
    "suid": (True, m.MS_NOSUID),
    "symfollow": (True, m.MS_NOSYMFOLLOW),
    "sync": (False, m.MS_SYNCHRONOUS),
}
PROPAGATION = {
    "private": m.MS_PRIVATE,
    "shared": m.MS_SHARED,
    "slave": m.MS_SLAVE,
    "unbindable": m.MS_UNBINDABLE,
    "rprivate": m.MS_PRIVATE | m.MS_REC,
    "rshared": m.MS_SHARED | m.MS_REC,
    "rslave": m.MS_SLAVE | m.MS_REC,
    "runbindable": m.MS_UNBINDABLE | m.MS_REC,
}
# word -> (clears, mount_setattr bits), applied to the whole tree
RECURSIVE = {
    "rro": (False, m.MOUNT_ATTR_RDONLY),
    "rrw": (True, m.MOUNT_ATTR_RDONLY),
    "rnosuid": (False, m.MOUNT_ATTR_NOSUID),
    "rsuid": (True, m.MOUNT_ATTR_NOSUID),
    "rnodev": (False, m.MOUNT_ATTR_NODEV),
    "rdev": (True, m.MOUNT_ATTR_NODEV),
    "rnoexec": (False, m.MOUNT_ATTR_NOEXEC),
    "rexec": (True, m.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (False, m.MOUNT_ATTR_NODIRATIME),
    "rdiratime": (True, m.MOUNT_ATTR_NODIRATIME),
    "rrelatime": (False, 0),
    "rnorelatime": (True, 0),
    "rnoatime": (False, m.MOUNT_ATTR_NOATIME),
    "ratime": (True, m.MOUNT_ATTR_NOATIME),
    "rstrictatime": (False, m.MOUNT_ATTR_STRICTATIME),
    "rnostrictatime": (True, m.MOUNT_ATTR_STRICTATIME),
    "rnosymfollow": (False, m.MOUNT_ATTR_NOSYMFOLLOW),
    "rsymfollow": (True, m.MOUNT_ATTR_NOSYMFOLLOW),
}
_ATIME_WORDS = {"rrelatime", "rnorelatime", "rnoatime", "ratime", "rstrictatime", "rnostrictatime"}


class MountOptions(Value):
    """Options sorted out: mount(2) flags, propagation changes in order, recursive attributes, data."""

    flags: int = 0
    propagation: tuple[int, ...] = ()
    data: str = ""
    recursive_set: int = 0
    recursive_clear: int = 0
    copy_up: bool = False
    idmap: str = ""


def parse(words: tuple[str, ...]) -> MountOptions:
    """Return the options; of words that contradict each other the last one holds."""
    flags = set_bits = clear_bits = 0
    propagation: list[int] = []
    data: list[str] = []
    copy_up, idmap = False, ""
    for word in words:
        if word in FLAGS:
            clears, bits = FLAGS[word]
            flags = flags & ~bits if clears else flags | bits
        elif word in PROPAGATION:
            propagation.append(PROPAGATION[word])
        elif word in RECURSIVE:
            clears, bits = RECURSIVE[word]
            if (
                word in _ATIME_WORDS
            ):  # one field of three values: the kernel wants it cleared whole before it is set
                clear_bits |= m.MOUNT_ATTR__ATIME
                set_bits = set_bits & ~m.MOUNT_ATTR__ATIME | (0 if clears else bits)
            elif clears:
                clear_bits, set_bits = clear_bits | bits, set_bits & ~bits
            else:
                clear_bits, set_bits = clear_bits & ~bits, set_bits | bits
        elif word == "tmpcopyup":
            copy_up = True
        elif word in {"idmap", "ridmap"}:
            idmap = word
        else:
            data.append(word)
    return MountOptions(flags, tuple(propagation), ",".join(data), set_bits, clear_bits, copy_up, idmap)
