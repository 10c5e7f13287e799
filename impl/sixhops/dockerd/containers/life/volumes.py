"""The volumes and binds of one container: filled from the image when new and empty (copy-up), made ready for its start."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.checks.mountspecs import MAKE
from sixhops.dockerd.errors import EngineError, system
from sixhops.linux.libc import LinuxError
from sixhops.linux.paths import open_in_root, via

if TYPE_CHECKING:
    from sixhops.dockerd.containers.model import Container, MountPoint
    from sixhops.dockerd.volumes import Volumes

__all__ = ["check_place", "copy_up", "prepare", "tidy"]


def check_place(root: str, place: str, container: Container) -> None:
    """Refuse a place of Config's Volumes where the image has no directory. Raises EngineError 500."""
    path = os.path.normpath(place) if place else "."
    if path in {point.destination for point in container.mounts} | set(
        container.host_config.get("Tmpfs") or {}
    ):
        return
    mode = _mode(root, path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise system(f"cannot mount volume over existing file, file exists {_shown(root, path)}")


def copy_up(container: Container, root: str, volumes: Volumes) -> None:
    """Fill the volumes of a new container from its root, which is mounted at `root`. Raises EngineError 500."""
    for point in container.mounts:
        if point.type == "volume" and point.copy_up:
            target = volumes.mount(point.name, container.id)
            try:
                _copy_up(root, point, target)
            finally:
                volumes.unmount(point.name, container.id)


def prepare(container: Container, volumes: Volumes) -> None:
    """Make ready for a start what the mounts need on the host. Raises EngineError 500."""
    for point in container.mounts:
        if point.destination in (container.host_config.get("Tmpfs") or {}):
            continue
        if point.type == "bind" and MAKE in point.options:
            _make_source(Path(point.source))
        elif point.type == "volume":
            try:
                volumes.mount(point.name, container.id)
            except EngineError as error:
                raise EngineError(
                    error.status, f"error while mounting volume '{point.source}': {error.message}"
                ) from error
            volumes.tell(point.name, "mount", _words_of(point, container))


def tidy(container: Container, volumes: Volumes) -> None:
    """Undo `prepare`, after the container's end."""
    for point in container.mounts:
        if point.type == "volume":
            volumes.unmount(point.name, container.id)
            volumes.tell(point.name, "unmount", {"container": container.id})


def _words_of(point: MountPoint, container: Container) -> dict[str, str]:
    return {
        "container": container.id,
        "destination": point.destination,
        "read/write": "true" if point.writable else "false",
        "propagation": point.propagation,
    }


def _make_source(source: Path) -> None:
    if source.exists():
        return
    try:
        source.mkdir(parents=True)
    except NotADirectoryError:
        return  # the runtime says what is wrong with it
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise system(
            f"error while creating mount source path '{source}': mkdir {source}: {reason}"
        ) from error


def _mode(root: str, path: str) -> int | None:
    """Return the file mode of what is at `path` inside of `root`, None when there is nothing."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = open_in_root(descriptor, path, os.O_PATH)
    except LinuxError:
        return None
    finally:
        os.close(descriptor)
    try:
        return os.fstat(found).st_mode
    finally:
        os.close(found)


def _shown(root: str, path: str) -> str:
    return os.path.normpath(f"{root}/{path}")


def _copy_up(root: str, point: MountPoint, target: Path) -> None:
    """Copy what the image has at the volume's place, unless the volume holds something already."""
    mode = _mode(root, point.destination)
    if mode is None or any(target.iterdir()):
        return
    if not stat.S_ISDIR(mode):
        raise system(f"source {_shown(root, point.destination)} is not directory")
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = open_in_root(descriptor, point.destination, os.O_RDONLY | os.O_DIRECTORY)
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
