"""The life cycle of a process in a container: the first one (init) and those that Exec adds.

What may be done in which state is a table; the words of a refusal are upstream's, because they reach the
user of the API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from sixhops.shim.loop import ExitStatus, Future
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from sixhops.shim.stdio import Paths, Streams

__all__ = ["Process", "State", "refuse"]


class State(IntEnum):
    """Status values of containerd.v1.types, and DELETED, which is never shown."""

    CREATED = 1
    RUNNING = 2
    STOPPED = 3
    PAUSED = 4
    PAUSING = 5
    DELETED = 100


Refusals = dict[State, dict[str, tuple[Code, str]]]


def _plain(**messages: str) -> dict[str, tuple[Code, str]]:
    return {operation: (Code.UNKNOWN, message) for operation, message in messages.items()}


INIT: Refusals = {
    State.CREATED: _plain(
        pause="cannot pause task in created state",
        resume="cannot resume task in created state",
        checkpoint="cannot checkpoint a task in created state",
    ),
    State.RUNNING: _plain(
        resume="cannot resume a running process",
        start="cannot start a running process",
        delete="cannot delete a running process",
    ),
    State.PAUSED: _plain(
        pause="cannot pause a paused container",
        start="cannot start a paused process",
        delete="cannot delete a paused process",
        exec="cannot exec in a paused state",
    ),
    State.STOPPED: _plain(
        pause="cannot pause a stopped container",
        resume="cannot resume a stopped container",
        update="cannot update a stopped container",
        checkpoint="cannot checkpoint a stopped container",
        start="cannot start a stopped process",
        exec="cannot exec in a stopped state",
    ),
    State.DELETED: {
        **_plain(
            pause="cannot pause a deleted process",
            resume="cannot resume a deleted process",
            update="cannot update a deleted process",
            checkpoint="cannot checkpoint a deleted process",
            resize="cannot resize a deleted process",
            start="cannot start a deleted process",
            exec="cannot exec in a deleted state",
        ),
        "delete": (Code.NOT_FOUND, "cannot delete a deleted process: not found"),
        "kill": (Code.NOT_FOUND, "cannot kill a deleted process: not found"),
    },
}

EXEC: Refusals = {
    State.RUNNING: _plain(
        start="cannot start a running process",
        delete="cannot delete a running process",
    ),
    State.STOPPED: {
        **_plain(
            resize="cannot resize a stopped container",
            start="cannot start a stopped process",
        ),
        "kill": (Code.NOT_FOUND, "process already finished: not found"),
    },
    State.DELETED: _plain(
        start="cannot start a deleted process",
        delete="cannot delete a deleted process",
        resize="cannot resize a deleted process",
    ),
}


@dataclass(slots=True, eq=False)
class Process:
    """One process. `exec_id` is empty for init; `spec` is the process document of an exec.

    `starting` is true while a start step runs: an exit in that time is kept in `early`, so that its event
    follows that of the start; likewise `deleting`, while one that never ran is deleted. `exited` gives None for a
    process that could not be started.
    """

    container_id: str
    exec_id: str
    paths: Paths
    streams: Streams
    spec: bytes = b""
    pid: int = 0
    state: State = State.CREATED
    starting: bool = False
    deleting: bool = False
    early: ExitStatus | None = None
    exit: ExitStatus | None = None
    exited: Future[ExitStatus | None] = field(default_factory=Future)


def refuse(process: Process, operation: str) -> None:
    """Raise RpcError when `operation` isn't possible in the state that `process` is in."""
    table = EXEC if process.exec_id else INIT
    refusal = table.get(process.state, {}).get(operation)
    if refusal is not None:
        raise RpcError(*refusal)
