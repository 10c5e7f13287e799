"""A runtime for rehearsals: it does to a container's process what a runtime does, and nothing else.

Its container is a process that waits to be killed, with no namespace, no root of its own and no state but the pid file.
Called as any loaded runtime (`resident`); the working directory is the bundle.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

from sixhops.linux import prctl
from sixhops.linux.clone import fork_sibling
from sixhops.linux.signals import DEFAULT, set_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["PID_FILE", "become", "foresee", "main", "open_gate", "rehearse"]

PID_FILE = "init.pid"
SECONDS = 60  # after which a container that nobody killed ends by itself


def rehearse(_document: str, _directory: str = "") -> None:
    """Do nothing: this is the rehearsal."""


def foresee(_bundle: str, _identifier: str, _spare: int = -1, _document: str | None = None) -> None:
    """Do nothing: there is nothing to read ahead."""


def become(connection: int, begin: Callable[[], None]) -> int:
    """Wait in vain: the container that `create` makes is forked."""
    os.read(connection, 1)
    os.close(connection)
    begin()
    return 0


def main(
    words: Sequence[str],
    *,
    sibling: bool = False,
    spare: int = -1,  # noqa: ARG001  no use for it
    offer: Callable[[str, tuple[int, ...]], None] | None = None,
) -> int:
    """Run `create`, `start`, `kill` (with the signal last) or `delete`; return the exit status."""
    if "create" in words and sibling:
        status = _create()
        if offer is not None:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            offer(PID_FILE, (reader,))
            os.close(writer)  # as if the container's process became the program as soon as it may
        return status
    if "kill" in words:
        with open(PID_FILE, encoding="ascii") as file:
            os.kill(int(file.read()), int(words[-1]))
    return 0


def open_gate(path: str, descriptors: Sequence[int]) -> bool:
    """Tell whether it is what `create` has offered: there is no gate."""
    return path == PID_FILE and len(descriptors) == 1


def _create() -> int:
    pid = fork_sibling()
    if pid == 0:
        _wait()
    with open(PID_FILE, "w", encoding="ascii") as file:
        file.write(str(pid))
    return 0


def _wait() -> NoReturn:
    try:
        prctl.die_with_parent(signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            set_handler(number, DEFAULT)
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        signal.alarm(SECONDS)
        signal.pause()
    finally:
        os._exit(1)
