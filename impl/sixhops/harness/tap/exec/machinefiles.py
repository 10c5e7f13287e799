"""Files of a stack's machine that its programs name, read from outside: only regular ones, and bounded.

Paths are those of the machine. They are resolved there: no link leads out of it, nor through /proc to a process's files.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sixhops.linux.paths import open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FILE_LIMIT", "absolute", "read_file", "read_json", "size_of"]

#: Bytes of a file that are read.
FILE_LIMIT = 4 * 1024 * 1024


def absolute(cwd: str, path: str) -> str:
    """Return what a program in the directory `cwd` means by `path`."""
    return os.path.join("/", cwd, path)  # noqa: PTH118 - text of another file system, which is not resolved here


def size_of(root: Path, path: str) -> int:
    """Return the length of a regular file, 0 when there is none. `root` is how this process reaches the machine's root."""
    try:
        with _opened(root, path) as descriptor:
            return os.fstat(descriptor).st_size
    except OSError:
        return 0


def read_file(root: Path, path: str, start: int = 0) -> bytes | None:
    """Return a regular file from `start` on, at most FILE_LIMIT bytes; None when there is none. `root` as above."""
    try:
        with _opened(root, path) as descriptor:
            return os.pread(descriptor, FILE_LIMIT, start)
    except OSError:
        return None


def read_json(data: bytes | None) -> Any:
    """Return what JSON in `data` says; the text when it isn't JSON, None when there is nothing."""
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode(errors="replace")


@contextmanager
def _opened(root: Path, path: str) -> Iterator[int]:
    """Open a regular file; OSError when that can't be done, also when it is something else."""
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Opening what turns out to be a fifo must not wait for its other end.
        descriptor = open_in_root(base, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    finally:
        os.close(base)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)
