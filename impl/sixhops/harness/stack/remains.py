"""Removing what a stack's processes can't take with them: control groups and the directory.

Everything else (processes, mounts, links, packet filter rules, sockets under /run) lives in the stack's own
namespaces and ends with its first process. Shared by the reaper, by the owner and by the sweep of the next
start, so it is idempotent, and it imports the standard library only: the supervisor has to be up at once.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "cgroup_name",
    "create_cgroups",
    "find_cgroups",
    "hierarchies",
    "remove_cgroups",
    "remove_directory",
    "remove_extra",
    "thaw",
]

_CGROUP_ROOT = Path("/sys/fs/cgroup")


def cgroup_name(stack_id: str) -> str:
    """Return the name of the stack's control group below each hierarchy's root.

    One level, because a parent shared by all stacks would be removed under the feet of one that is just
    starting.
    """
    return f"sixhops-{stack_id}"


def hierarchies(root: Path = _CGROUP_ROOT) -> list[Path]:
    """Return the mounted control group hierarchies: each v1 controller's and v2's (pure, or `unified` in a
    hybrid).
    """
    if (root / "cgroup.procs").exists():
        return [root]
    return (
        [entry for entry in sorted(root.iterdir()) if (entry / "cgroup.procs").exists()]
        if root.is_dir()
        else []
    )


def create_cgroups(stack_id: str) -> None:
    """Make the stack's control group in every hierarchy, empty. Raises OSError.

    Made at the start, not by the first container, so that it doesn't look like something that container left
    behind. Whoever puts processes below it enables the controllers that it needs.
    """
    for hierarchy in hierarchies():
        group = hierarchy / cgroup_name(stack_id)
        group.mkdir(exist_ok=True)


def find_cgroups(stack_id: str) -> list[Path]:
    """Return the stack's control groups over all hierarchies, children before parents."""
    found = []
    for hierarchy in hierarchies():
        top = hierarchy / cgroup_name(stack_id)
        found += [Path(path) for path, _, _ in os.walk(top, topdown=False)]
    return found


def thaw(stack_id: str) -> None:
    """Let paused processes run: a process frozen by cgroup v1 doesn't even die of SIGKILL before."""
    for group in find_cgroups(stack_id):
        for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            control = group / name
            try:
                if control.exists():
                    control.write_text(word)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.ENODEV}:
                    raise


def remove_cgroups(stack_id: str, timeout: float = 15.0) -> list[str]:
    """Remove the stack's control groups; return those that still refuse after `timeout` seconds.

    The kernel counts a process out of its group a moment after it was reaped (EBUSY until then) and tells
    nobody; hence the retry.
    """
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        left = []
        for group in find_cgroups(stack_id):
            try:
                group.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                left.append(f"{group} ({error.strerror})")
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def remove_directory(directory: Path, timeout: float = 15.0) -> list[str]:
    """Remove the stack's directory; return what can't be removed after `timeout` seconds.

    It is renamed first, so that nobody takes a half-removed directory for a stack. A mount namespace that
    dies lets go of its mounts a moment after its last process.
    """
    going = directory.with_name(f".gone-{directory.name}")
    try:
        directory.rename(going)
    except FileNotFoundError:
        if not going.exists():
            return []
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        try:
            shutil.rmtree(going)
        except FileNotFoundError:
            if not going.exists():
                return []
        except OSError as error:
            if time.monotonic() > deadline:
                return [f"{error.filename} ({error.strerror})"]
        else:
            return []
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def remove_extra(paths: Iterable[Path]) -> list[str]:
    """Remove a stack's files outside of its directory (its pointer, its socket); return what can't be removed.

    Only sockets and pointers are touched: something else at such a path is not the stack's any more.
    """
    left = []
    for path in paths:
        try:
            if path.suffix == ".at" or stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            left.append(f"{path} ({error.strerror})")
    return left
