"""The last steps of a container's process, common to its first one and to exec: who it is, what it may, what it runs."""

from __future__ import annotations

import errno
import os
import stat

from sixhops.linux import capabilities as caps
from sixhops.linux.libc import LinuxError, describe
from sixhops.linux.paths import may_execute
from sixhops.runc.errors import RuntimeFault

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.wire.runtime.document import Process

__all__ = [
    "CapabilityMasks",
    "become_user",
    "enter_directory",
    "environment",
    "find_program",
    "masks",
    "own_streams",
]

# effective, permitted, inheritable, ambient, bounding
CapabilityMasks = tuple[int, int, int, int, int]
_PASSWD_LIMIT = 1 << 20


def masks(process: Process, last: int) -> tuple[CapabilityMasks, list[str]]:
    """Return the masks of the five sets and the names that this kernel doesn't know, each once.

    A process that says nothing about capabilities gets none.
    """
    sets = process.capabilities
    if sets is None:
        return (0, 0, 0, 0, 0), []
    values, unknown = [], []
    for names in (sets.effective, sets.permitted, sets.inheritable, sets.ambient, sets.bounding):
        mask, missing = caps.to_mask(names, last)
        values.append(mask)
        unknown += [name for name in missing if name not in unknown]
    return (values[0], values[1], values[2], values[3], values[4]), sorted(unknown)


def environment(entries: tuple[str, ...]) -> dict[str, str]:
    """Return the environment: a repeated name keeps its first place and its last value."""
    result: dict[str, str] = {}
    for entry in entries:
        name, separator, value = entry.partition("=")
        if not separator:
            raise RuntimeFault(f'invalid environment variable: "{entry}"')
        if not name:
            raise RuntimeFault(f'environment variable name can\'t be empty: "{entry}"')
        if "\0" in entry:
            shown = entry.replace("\0", "\\x00")
            what = "name" if "\0" in name else "value"
            raise RuntimeFault(f'environment variable {what} can\'t contain null(\\x00): "{shown}"')
        result[name] = value
    return result


def home_of(uid: int) -> str:
    """Return the user's home from the container's /etc/passwd, `/` if it says nothing."""
    try:
        # Not to be kept waiting by a fifo, nor to read for ever from a device, that the image put there.
        descriptor = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "/"
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "/"
        text = os.read(descriptor, _PASSWD_LIMIT).decode(errors="replace")
    finally:
        os.close(descriptor)
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"


def enter_directory(path: str) -> bool:
    """Change to the process's directory; False if only permission is missing yet (tried again as the user)."""
    try:
        os.chdir(path)
    except PermissionError:
        return False
    except OSError as error:
        number = describe(error.errno or 22)
        raise RuntimeFault(f'chdir to cwd ("{path}") set in config.json failed: {number}') from error
    return True


def check_directory() -> None:
    """Refuse a working directory outside the container's root (CVE-2024-21626)."""
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        raise RuntimeFault(
            "current working directory is outside of container mount namespace root -- possible container breakout detected"
        )


def own_streams(uid: int) -> None:
    """Give the standard streams to the user, so that it can open them again by name; /dev/null stays."""
    null = os.makedev(1, 3)
    for stream in range(3):
        try:
            found = os.fstat(stream)
            if found.st_uid != uid and not (stat.S_ISCHR(found.st_mode) and found.st_rdev == null):
                os.fchown(stream, uid, -1)
        except OSError as error:
            # A user that has no mapping, a read-only file, a closed stream: the program can do without.
            if error.errno not in {1, 9, 22, 30}:
                raise LinuxError(error.errno or 5, "chown of standard stream") from error


def become_user(process: Process, wanted: CapabilityMasks, last: int, *, groups_allowed: bool = True) -> None:
    """Drop the bounding set, become user and group, take on the capabilities. The order is the kernel's demand."""
    effective, permitted, inheritable, ambient, bounding = wanted
    user = process.user
    try:
        caps.drop_bounding(bounding, last)
    except LinuxError as error:
        raise RuntimeFault(f"unable to apply bounding set: {error.strerror}") from error
    caps.keep_on_setuid(True)
    own_streams(user.uid)
    if groups_allowed:
        _identify("setgroups", lambda: os.setgroups(user.additional_gids))
    elif user.additional_gids:
        raise RuntimeFault("unable to set additional groups in user namespace: setgroups is denied")
    _identify("gid", lambda: os.setresgid(user.gid, user.gid, user.gid))
    _identify("uid", lambda: os.setresuid(user.uid, user.uid, user.uid))
    caps.keep_on_setuid(False)
    try:
        caps.apply_sets(effective, permitted, inheritable, ambient)
    except LinuxError as error:
        raise RuntimeFault(f"unable to apply caps: {error.strerror}") from error


def _identify(what: str, change: Callable[[], None]) -> None:
    try:
        change()
    except OSError as error:
        text = f"{what}: {describe(error.errno or 22)}"
        if what != "setgroups" and error.errno == errno.EINVAL:
            text = f"cannot set {what} to unmapped user in user namespace"
        raise RuntimeFault(f"unable to setup user: {text}") from error


def find_program(name: str, path: str) -> str:
    """Return the program's path as the process will find it; raises RuntimeFault worded like a shell's path search."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    if "/" in name:
        _check_program(name, quoted)
        return name
    for directory in path.split(":") if path else []:
        candidate = f"{directory or '.'}/{name}"
        try:
            mode = os.stat(candidate).st_mode
        except OSError:
            continue
        if name and not stat.S_ISDIR(mode) and mode & 0o111:
            _check_permission(candidate)
            return candidate
    raise RuntimeFault(f'exec: "{quoted}": executable file not found in $PATH')


def _check_program(name: str, quoted: str) -> None:
    try:
        mode = os.stat(name).st_mode
    except OSError as error:
        raise RuntimeFault(f'exec: "{quoted}": stat {name}: {describe(error.errno or 2)}') from error
    if stat.S_ISDIR(mode) or not mode & 0o111:
        raise RuntimeFault(f'exec: "{quoted}": permission denied')
    _check_permission(name)


def _check_permission(path: str) -> None:
    """Ask the kernel, which also knows of mounts without execution."""
    try:
        may_execute(path)
    except LinuxError as error:
        raise RuntimeFault(f"exec {path}: {error.strerror}") from error
