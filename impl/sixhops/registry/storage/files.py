"""Files that are whole or absent: staged, synced, renamed.

A rename is durable only when the directory that holds the new name is synced, and that directory only when
its parent is; `publish` does both. All of this blocks, so callers run it in a worker thread.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sixhops.registry.names import Digest, parse_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINK_LIMIT = 160


class Staging:
    """This process's own folder for unfinished files.

    Locked while the process lives, so that a start (or a collection beside a running server) removes the
    folders of dead processes and only those.
    """

    def __init__(self, directory: Path) -> None:
        make_directory(directory)
        for entry in directory.iterdir():
            _remove_if_dead(entry)
        self.directory = directory / uuid.uuid4().hex
        self.directory.mkdir()
        self._lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def new(self) -> Path:
        """Return a name that no file has."""
        return self.directory / uuid.uuid4().hex

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock)


def _remove_if_dead(entry: Path) -> None:
    try:
        lock = os.open(entry / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # Being made or being removed by its owner just now; the next start looks again.
        return
    try:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry, ignore_errors=True)
    finally:
        os.close(lock)


def make_directory(path: Path) -> None:
    """Make `path` and its missing parents, so that they survive a power cut."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


@contextmanager
def content_lock(base: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the storage's lock: shared while a manifest is put, exclusive while content is removed. Blocks."""
    make_directory(base)
    descriptor = os.open(base / "_lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(staging: Staging, path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there; a reader sees the old or the new, never a part."""
    temporary = staging.new()
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    move(temporary, path)


def move(source: Path, path: Path) -> None:
    """Rename a synced file to `path` and make the new name durable."""
    # A deletion beside us may remove a parent that was just found empty.
    for last in (False, True):
        make_directory(path.parent)
        try:
            source.replace(path)
            break
        except FileNotFoundError:
            if last or not source.exists():
                raise
    sync_directory(path.parent)


def remove(path: Path) -> bool:
    """Remove a file durably; return whether it was there."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    sync_directory(path.parent)
    return True


def publish_link(staging: Staging, path: Path, digest: Digest) -> None:
    """Write a link file, unless it already says the same."""
    if read_link(path) != digest:
        publish(staging, path, str(digest).encode())


def read_link(path: Path) -> Digest | None:
    """Return the digest in a link file; None when it is absent, empty or torn."""
    try:
        with path.open("rb") as file:
            text = file.read(_LINK_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_digest(text.decode("ascii", "replace"))
