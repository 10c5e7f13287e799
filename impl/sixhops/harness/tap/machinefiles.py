"""Files of a stack's machine that its programs name, read from outside: only regular ones, and bounded.

A path is taken below `root`, which is how this process reaches the machine's file system.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILE_LIMIT", "below", "read_file", "read_json", "size_of"]

#: Bytes of a file that are read.
FILE_LIMIT = 4 * 1024 * 1024


def below(root: Path, cwd: str, path: str) -> Path:
    """Return where `path`, as a program in the directory `cwd` says it, is found from here."""
    return root / os.path.join(cwd, path).lstrip("/")  # noqa: PTH118 - the second may be absolute; nothing is resolved


def size_of(path: Path) -> int:
    """Return the length of a regular file, 0 when there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def read_file(path: Path, start: int = 0) -> bytes | None:
    """Return a regular file from `start` on, at most FILE_LIMIT bytes; None when there is none."""
    try:
        # Opening what turns out to be a fifo must not wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return os.pread(descriptor, FILE_LIMIT, start)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_json(data: bytes | None) -> Any:
    """Return what JSON in `data` says; the text when it isn't JSON, None when there is nothing."""
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode(errors="replace")
