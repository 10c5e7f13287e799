"""Temporary files and directories, for processes that are forked.

What `tempfile` and `shutil` import (random numbers, digests, compression) is a third of what such a process would have
mapped, and each fork and each end pays for every mapping.
"""

from __future__ import annotations

import os

__all__ = ["make_directory", "make_file", "remove_tree"]


def _name(prefix: str) -> str:
    return f"{os.environ.get('TMPDIR') or '/tmp'}/{prefix}{os.urandom(8).hex()}"


def make_directory(prefix: str) -> str:
    """Make a directory that is ours alone; return its path. Raises OSError."""
    while True:
        path = _name(prefix)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        return path


def make_file(prefix: str) -> tuple[int, str]:
    """Make a file that is ours alone; return its descriptor, which is closed on exec, and its path. Raises OSError."""
    while True:
        path = _name(prefix)
        try:
            return os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            ), path
        except FileExistsError:
            continue


def remove_tree(path: str) -> None:
    """Remove a directory and all that is in it; links are not followed. Raises OSError."""
    for directory, directories, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(f"{directory}/{name}")
        for name in directories:
            inside = f"{directory}/{name}"
            if os.path.islink(inside):
                os.unlink(inside)
            else:
                os.rmdir(inside)
    os.rmdir(path)
