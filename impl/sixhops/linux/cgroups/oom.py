"""Being told that the kernel killed a process of a container's groups for want of memory, and that the groups went.

Version 1: an eventfd that is registered in cgroup.event_control (cgroup-v1/memory.rst). Version 2: memory.events, which
poll(2) reports as changed (cgroup-v2.rst, "memory.events"). Nothing is looked at in between.
"""

from __future__ import annotations

import os
import select

from sixhops.linux.cgroups.control import write
from sixhops.linux.libc import LinuxError

__all__ = ["OomWatch", "watch"]

_EFD_CLOEXEC, _EFD_NONBLOCK = 0o2000000, 0o4000


class OomWatch:
    """`register` it with a poll object; when it is ready, `take` says what happened since."""

    def __init__(self, directory: str, descriptors: tuple[int, ...], *, unified: bool) -> None:
        self._directory = directory
        self._descriptors = descriptors
        self._unified = unified
        self._seen = self._kills() if unified else 0

    def register(self, poller: select.poll) -> None:
        """Add what has to be waited for."""
        poller.register(self._descriptors[0], select.POLLPRI if self._unified else select.POLLIN)

    def take(self) -> tuple[int, bool]:
        """Return how often memory ran out, and whether the groups are gone."""
        if not self._unified:
            os.eventfd_read(self._descriptors[0])
            gone = not os.path.exists(f"{self._directory}/cgroup.event_control")
            return (0, True) if gone else (1, False)
        try:
            kills = self._kills()
        except OSError:
            return 0, True
        count, self._seen = kills - self._seen, kills
        return count, False

    def _kills(self) -> int:
        text = os.pread(self._descriptors[0], 4096, 0).decode()
        rows = dict(line.split(" ", 1) for line in text.splitlines())
        return int(rows.get("oom_kill", "0"))

    def close(self) -> None:
        """Stop watching."""
        for descriptor in self._descriptors:
            os.close(descriptor)


def watch(groups: dict[str, str]) -> OomWatch:
    """Return a watch over a container's groups. Raises LinuxError, also where memory is not accounted for."""
    if set(groups) == {""}:
        path = f"{groups['']}/memory.events"
        return OomWatch(groups[""], (_open(path),), unified=True)
    directory = groups.get("memory")
    if directory is None:
        raise LinuxError(2, "memory cgroup")
    figures = _open(f"{directory}/memory.oom_control")
    event = os.eventfd(0, _EFD_CLOEXEC | _EFD_NONBLOCK)
    try:
        write(f"{directory}/cgroup.event_control", f"{event} {figures}")
    except LinuxError:
        os.close(event)
        os.close(figures)
        raise
    return OomWatch(directory, (event, figures), unified=False)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LinuxError(error.errno or 5, f"open {path}") from error
