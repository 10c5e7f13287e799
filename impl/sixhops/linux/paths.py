"""Resolving paths inside a container's root without ever leaving it: openat2(2) with RESOLVE_IN_ROOT.

Rule: whoever mounts, creates or reads below a container's root gets a descriptor from here and works through
`/proc/self/fd/N`. A path string that was checked and then used again is a race that a container can win
(CVE-2021-30465): between check and use it swaps a directory for a symbolic link.
"""

from __future__ import annotations

import ctypes
import os

from sixhops.linux.libc import LinuxError, call, syscall

__all__ = ["make_directories", "make_file", "may_execute", "open_in_root", "via"]

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_AT_FDCWD, _AT_EACCESS = -100, 0x200
_EPERM, _ENOSYS = 1, 38
_MAX_RACES = 32
_MAX_LINKS = 40  # as many as the kernel follows


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def via(descriptor: int) -> str:
    """Return the path under which the kernel reaches what `descriptor` refers to."""
    return f"/proc/self/fd/{descriptor}"


def may_execute(path: str) -> None:
    """Raise LinuxError (EACCES) if the calling process, as what it is now, may not execute a file.

    A system call filter may know nothing of faccessat2(2) and refuse it; access(2) then asks for the real user, who is
    the same one by the time that programs are looked for.
    """
    operation = f"access {path}"
    try:
        syscall("faccessat2", _AT_FDCWD, os.fsencode(path), os.X_OK, _AT_EACCESS, operation=operation)
    except LinuxError as error:
        if error.errno not in {_EPERM, _ENOSYS}:
            raise
        call("access", os.fsencode(path), os.X_OK, operation=operation)


def open_in_root(root: int, path: str, flags: int = os.O_PATH, mode: int = 0, *, links: bool = True) -> int:
    """Open `path` as if the directory descriptor `root` were `/`; the result is close-on-exec.

    Symbolic links and `..` are followed inside the root only; links of procfs that leave it are refused, as are
    all links (ELOOP) without `links`.
    Raises LinuxError. EAGAIN (the tree changed under the lookup) is tried again a bounded number of times.
    """
    # The kernel refuses (EINVAL) mode bits without O_CREAT, and O_PATH with most other flags.
    how = _OpenHow(
        flags | os.O_CLOEXEC,
        mode if flags & os.O_CREAT else 0,
        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (0 if links else RESOLVE_NO_SYMLINKS),
    )
    for attempt in range(_MAX_RACES):
        try:
            return syscall(
                "openat2",
                root,
                os.fsencode(path) or b".",
                ctypes.byref(how),
                ctypes.sizeof(how),
                operation=f"openat2 {path}",
            )
        except LinuxError as error:
            if error.errno != 11 or attempt == _MAX_RACES - 1:
                raise
    raise AssertionError("unreachable")


def make_directories(
    root: int, path: str, mode: int = 0o755, *, prefix: str = "", depth: int = _MAX_LINKS
) -> int:
    """Create the directory `path` and its missing parents inside `root`; return an O_PATH descriptor of it.

    Links are followed inside the root; what a dangling one points to is made inside the root too (`/var/run -> /run`).
    Raises LinuxError whose operation is `mkdir <prefix><path>`: ENOTDIR if a component is a file, ELOOP or ENOENT if
    links go in circles.
    """
    try:
        return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    except LinuxError as error:
        if error.errno == 20:
            raise LinuxError(error.number, f"mkdir {prefix}{_first_file(root, path)}") from error
        if error.errno != 2:
            raise LinuxError(error.number, f"mkdir {prefix}{path}") from error
    parent, _, name = path.rstrip("/").rpartition("/")
    if not name or name in {".", ".."}:
        raise LinuxError(2, f"mkdir {prefix}{path}")
    above = make_directories(root, parent or "/", mode, prefix=prefix, depth=depth)
    try:
        try:
            os.mkdir(name, mode, dir_fd=above)
        except FileExistsError:
            pass  # another process made it, or it is a dangling link: the next lookup tells
        except OSError as error:
            raise LinuxError(error.errno or 5, f"mkdir {prefix}{path}") from error
        try:
            return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
        except LinuxError as error:
            target = _dangling(above, parent, name) if error.number == 2 else None
            if target is None or depth == 0:
                raise LinuxError(error.number, f"mkdir {prefix}{path}") from error
            return make_directories(root, target, mode, prefix=prefix, depth=depth - 1)
    finally:
        os.close(above)


def _first_file(root: int, path: str) -> str:
    """Return the shortest leading part of a path that is there and no directory."""
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        part = "/".join(parts[:count])
        try:
            os.close(open_in_root(root, part or "/", os.O_PATH | os.O_DIRECTORY))
        except LinuxError:
            return part
    return path


def _dangling(above: int, parent: str, name: str) -> str | None:
    """Return where a link points, as a path of the root; None if `name` is no link."""
    try:
        target = os.readlink(name, dir_fd=above)
    except OSError:
        return None
    return target if target.startswith("/") else f"{parent}/{target}"


def make_file(root: int, path: str, mode: int = 0o755, *, prefix: str = "", depth: int = _MAX_LINKS) -> int:
    """Create an empty file (a mount point for files) with its parents; return an O_PATH descriptor of it.

    What a dangling link points to is made inside the root, as by `make_directories`.
    """
    try:
        return open_in_root(root, path)
    except LinuxError as error:
        if error.errno != 2:
            raise LinuxError(error.number, f"open {prefix}{path}") from error
    parent, _, name = path.rpartition("/")
    above = make_directories(root, parent or "/", prefix=prefix)
    target = _dangling(above, parent, name) if depth else None
    if target is not None:
        os.close(above)
        return make_file(root, target, mode, prefix=prefix, depth=depth - 1)
    try:
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode, dir_fd=above))
        except FileExistsError:
            pass  # another process made it; a link that it put there now is refused by the lookup
        except OSError as error:
            raise LinuxError(error.errno or 5, f"open {prefix}{path}") from error
        return open_in_root(root, path)
    finally:
        os.close(above)
