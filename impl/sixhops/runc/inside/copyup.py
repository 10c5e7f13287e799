"""tmpcopyup: a tmpfs that starts with what it covers."""

from __future__ import annotations

import os
import stat

from sixhops.linux.paths import via

__all__ = ["copy_tree"]

_BLOCK = 1 << 20


def copy_tree(source: int, target: int) -> None:
    """Copy everything below the open directory `source` into `target`: owners, modes, links, devices."""
    here = os.open(via(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(source):
            _copy(source, here, name)
    finally:
        os.close(here)


def _copy(source: int, target: int, name: str) -> None:
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    mode = found.st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISDIR(mode):
        os.mkdir(name, 0o700, dir_fd=target)
        below = [
            os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=d)
            for d in (source, target)
        ]
        try:
            copy_tree(*below)
        finally:
            for descriptor in below:
                os.close(descriptor)
    elif stat.S_ISREG(mode):
        _copy_file(source, target, name)
    else:
        os.mknod(name, mode, found.st_rdev, dir_fd=target)
    os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        os.chmod(name, stat.S_IMODE(mode), dir_fd=target)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str) -> None:
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while os.sendfile(writer, reader, None, _BLOCK):
                continue
        finally:
            os.close(writer)
    finally:
        os.close(reader)
