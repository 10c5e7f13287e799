"""Removing directories after the answer: they are renamed at once, and emptied on a thread of their own.

Each unlink may wait for a commit of the file system's journal, so taking a container's forty files away takes longer
than all else in its removal. Under its new name a directory belongs to nobody: an engine that dies before it is gone
removes it at its next start, with all others that the state does not name (`LayerStore`, `Creator.sweep`).
"""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Removals"]

_log = logging.getLogger(__name__)
_PREFIX = ".removed-"


class Removals:
    """Directories on their way out."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="removals")

    def take(self, directory: Path) -> None:
        """Let a directory vanish; its content goes a little later. Raises OSError when it can't be renamed."""
        renamed = directory.with_name(f"{_PREFIX}{directory.name}")
        directory.rename(renamed)
        self._thread.submit(_remove, renamed)

    def close(self) -> None:
        """Return once all that was taken is gone."""
        self._thread.shutdown()


def _remove(directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except OSError as error:
        _log.error("removing %s: %s; the next start tries again", directory, error)
