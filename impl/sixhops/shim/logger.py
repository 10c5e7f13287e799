"""The program behind a binary:// URI: it gets a container's output on descriptors of its own.

The contract is containerd's (core/runtime/v2/logging): arguments from the URI's query, the container's id and namespace
in CONTAINER_ID and CONTAINER_NAMESPACE, stdout on descriptor 3, stderr on 4; it closes 5 when it is ready. At the end
the pipes are closed, it gets SIGTERM, and after twelve seconds SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.shim.loop import TimedOutError

if TYPE_CHECKING:
    from sixhops.shim.loop import ExitStatus, Future, Loop

__all__ = ["Logger", "start_logger"]

END_SECONDS = 12.0


@dataclass(slots=True)
class Logger:
    """A logging program that runs; `writers` are the ends into which stdout and stderr go."""

    loop: Loop
    pid: int
    exited: Future[ExitStatus]
    writers: tuple[int, int]

    async def close(self) -> None:
        """Close the pipes, ask the program to end and wait for it."""
        for descriptor in self.writers:
            os.close(descriptor)
        if self.exited.done:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        try:
            await self.loop.within(self.exited, END_SECONDS)
        except TimedOutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


async def start_logger(loop: Loop, uri: str, name: str, namespace: str) -> Logger:
    """Start the program and wait until it says that it is ready. OSError in upstream's words when it can't be started."""
    from urllib.parse import parse_qs, unquote, urlsplit  # noqa: PLC0415 - as in stdio

    parts = urlsplit(uri)
    words = [unquote(parts.path)]
    for key, values in parse_qs(parts.query, keep_blank_values=True).items():
        words += [key, values[0]]
    environment = {"CONTAINER_ID": name, "CONTAINER_NAMESPACE": namespace}
    out, err, ready = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
    loop.hold_exits()
    try:
        pid = _spawn(words, environment, (out[0], err[0], ready[1]))
        exited = loop.child(pid)
    except OSError as error:
        for descriptor in (out[1], err[1], ready[0]):
            os.close(descriptor)
        reason = (error.strerror or "").lower()
        text = f"failed to start binary process: fork/exec {words[0]}: {reason}"
        raise OSError(f"1 error occurred:\n\t* {text}\n\n") from error
    finally:
        loop.release_exits()
        for descriptor in (out[0], err[0], ready[1]):
            os.close(descriptor)
    try:
        await loop.readable(ready[0])
    finally:
        os.close(ready[0])
    return Logger(loop, pid, exited, (out[1], err[1]))


def _spawn(words: list[str], environment: dict[str, str], descriptors: tuple[int, int, int]) -> int:
    """Start a program with nothing on 0, 1, 2 and `descriptors` as 3, 4, 5; return its pid."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    theirs = (null, null, null, *descriptors)
    # first up, out of the way of the numbers that they are to get
    base = max(*theirs, len(theirs)) + 1
    actions: list[tuple[int, int, int] | tuple[int, int]] = []
    actions += [(os.POSIX_SPAWN_DUP2, each, base + number) for number, each in enumerate(theirs)]
    actions += [(os.POSIX_SPAWN_DUP2, base + number, number) for number in range(len(theirs))]
    actions += [(os.POSIX_SPAWN_CLOSE, base + number) for number in range(len(theirs))]
    try:
        return os.posix_spawn(
            words[0], words, environment, file_actions=actions, setsigdef=(signal.SIGPIPE,), setsigmask=()
        )
    finally:
        os.close(null)
