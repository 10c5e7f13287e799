"""Local volumes: directories under DATA_ROOT/volumes, filled from the image when they are new and empty (copy-up)."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import invalid
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import open_in_root, via

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.dockerd.containers.model import Container, MountPoint

__all__ = ["make", "prepare", "remove"]


def make(points: Iterable[MountPoint]) -> None:
    """Make the directories of volumes that there are not yet."""
    for point in points:
        if point.type == "volume":
            directory = Path(point.source)
            directory.parent.mkdir(mode=0o701, parents=True, exist_ok=True)
            directory.mkdir(mode=0o755, exist_ok=True)


def prepare(container: Container, root: str) -> None:
    """Make ready for a start what the mounts need on the host. Raises EngineError 400 for a bind that is not there."""
    for point in container.mounts:
        if point.type == "bind":
            _check_bind(point)
        elif point.type == "volume":
            make([point])
            if point.copy_up:
                _copy_up(root, point)


def remove(points: Iterable[MountPoint]) -> None:
    """Remove anonymous volumes."""
    for point in points:
        if point.type == "volume" and point.anonymous:
            shutil.rmtree(Path(point.source).parent, ignore_errors=False)


def _check_bind(point: MountPoint) -> None:
    source = Path(point.source)
    if source.exists():
        return
    if "create" not in point.options:
        raise invalid(
            f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
        )
    # Binds make a missing directory, Mounts do not
    source.mkdir(parents=True)


def _copy_up(root: str, point: MountPoint) -> None:
    """Copy what the image has at the volume's place, unless the volume holds something already."""
    target = Path(point.source)
    if any(target.iterdir()):
        return
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = open_in_root(descriptor, point.destination, os.O_RDONLY | os.O_DIRECTORY)
    except LinuxError:
        return  # the image has no such directory
    finally:
        os.close(descriptor)
    try:
        _copy_directory(source, target)
    finally:
        os.close(source)


def _copy_directory(source: int, target: Path) -> None:
    """Copy the content and the owner, mode and attributes of an open directory; links are copied, not followed."""
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        place = target / name
        if stat.S_ISDIR(status.st_mode):
            place.mkdir()
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
            try:
                _copy_directory(inner, place)
            finally:
                os.close(inner)
        elif stat.S_ISLNK(status.st_mode):
            place.symlink_to(os.readlink(name, dir_fd=source))
            os.lchown(place, status.st_uid, status.st_gid)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(source, name, place)
        else:
            os.mknod(place, status.st_mode, status.st_rdev)
            os.lchown(place, status.st_uid, status.st_gid)
    _dress(source, target)


def _copy_file(directory: int, name: str, target: Path) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy)
        _dress(descriptor, target)


def _dress(source: int, target: Path) -> None:
    status = os.fstat(source)
    os.chown(target, status.st_uid, status.st_gid)
    target.chmod(stat.S_IMODE(status.st_mode))
    for name in os.listxattr(via(source)):
        if not name.startswith("trusted."):
            os.setxattr(target, name, os.getxattr(via(source), name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
