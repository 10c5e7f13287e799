"""Mounts for the time that a worker needs them, below one directory, where a start after a crash finds what is left."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.linux.mountlist import Mount, mount_all, unmount_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["clean", "from_lists", "mounted", "read_only"]

PREFIX = "containerd-mount"


def from_lists(items: Sequence[Sequence[Any]]) -> list[Mount]:
    """Return mounts that came as JSON: [type, source, options]."""
    return [Mount(kind, source, tuple(options)) for kind, source, options in items]


@contextlib.contextmanager
def mounted(wanted: Sequence[Mount], below: Path) -> Iterator[Path]:
    """Mount a list (which may be empty) on a new directory below `below`; OSError in containerd's words."""
    target = Path(tempfile.mkdtemp(prefix=PREFIX, dir=below))
    try:
        try:
            mount_all(wanted, target)
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise OSError(f"failed to mount {target}: {reason}") from error
        try:
            yield target
        finally:
            unmount_below(target)
    finally:
        target.rmdir()


def read_only(wanted: Sequence[Mount]) -> list[Mount]:
    """Return mounts that show the same and leave it alone: a snapshot that is in use can be looked at so."""
    shown = []
    for item in wanted:
        options = [option for option in item.options if option != "rw"]
        if item.type == "overlay":
            upper = [option for option in options if option.startswith("upperdir=")]
            options = [option for option in options if not option.startswith(("upperdir=", "workdir="))]
            if upper:
                above = upper[0].removeprefix("upperdir=")
                options = [option.replace("lowerdir=", f"lowerdir={above}:", 1) for option in options]
        elif "ro" not in options:
            options.append("ro")
        shown.append(Mount(item.type, item.source, tuple(options)))
    return shown


def clean(below: Path) -> None:
    """Make the directory, and remove mounts that workers of an earlier run have left. OSError for one that stays."""
    below.mkdir(parents=True, exist_ok=True, mode=0o700)
    unmount_below(below)
    for left in below.glob(f"{PREFIX}*"):
        left.rmdir()
