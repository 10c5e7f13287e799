"""Waiting for a file to appear by inotify(7), without looking again and again.

The watch is on the directory, set before the file is looked for, so that no creation falls between the two.
The kernel watches inodes: a file made in another mount namespace, on the same file system, is noticed as
well.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["DirectoryWatch"]

# include/uapi/linux/inotify.h
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_ONLYDIR = 0x1000000

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Tells that something was created in, or moved into, one directory.

    `fileno` gives the descriptor for poll(2): readable means that there is news; `drain` takes it. Which file
    it was is not told, because the caller has to look at the file anyhow.
    """

    def __init__(self, directory: Path) -> None:
        """Start to watch `directory`; raises OSError when that is not possible."""
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise _error("inotify_init1", None)
        mask = ctypes.c_uint32(_IN_CREATE | _IN_MOVED_TO | _IN_ONLYDIR)
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask) < 0:
            error = _error("inotify_add_watch", directory)
            self.close()
            raise error

    def __enter__(self) -> DirectoryWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return int(self._descriptor)

    def drain(self) -> bool:
        """Take all news; return whether there was any. Never blocks."""
        seen = False
        while True:
            try:
                seen = bool(os.read(self._descriptor, 65536)) or seen
            except BlockingIOError:
                return seen

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _error(call: str, directory: Path | None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}", str(directory) if directory else None)
