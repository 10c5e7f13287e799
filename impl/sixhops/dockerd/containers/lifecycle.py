"""The life of a container as a table: which operation is allowed in which state, and what the engine says when it is not.

The docs draw their picture from `TRANSITIONS`. Messages and statuses are dockerd 20.10's; `{id}` is the container's id.
304 has no message: the request asked for what is the case already.
"""

from __future__ import annotations

from enum import StrEnum

from sixhops.dockerd.errors import EngineError

__all__ = ["REFUSALS", "TRANSITIONS", "Operation", "Status", "check", "following"]


class Status(StrEnum):
    """What `State.Status` of an inspect says."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class Operation(StrEnum):
    """What a user, the kernel or the restart policy does to a container."""

    START = "start"
    EXIT = "exit"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    STOP = "stop"
    KILL = "kill"
    EXEC = "exec"
    RESIZE = "resize"
    REMOVE = "remove"
    AWAIT_RESTART = "await restart"


#: (state, operation) -> the state that follows. Stop and kill change nothing by themselves: the exit does.
TRANSITIONS: dict[tuple[Status, Operation], Status] = {
    (Status.CREATED, Operation.START): Status.RUNNING,
    (Status.EXITED, Operation.START): Status.RUNNING,
    (Status.RESTARTING, Operation.START): Status.RUNNING,
    (Status.RUNNING, Operation.EXIT): Status.EXITED,
    (Status.PAUSED, Operation.EXIT): Status.EXITED,
    (Status.RESTARTING, Operation.EXIT): Status.EXITED,
    (Status.RUNNING, Operation.AWAIT_RESTART): Status.RESTARTING,
    (Status.PAUSED, Operation.AWAIT_RESTART): Status.RESTARTING,
    (Status.RUNNING, Operation.PAUSE): Status.PAUSED,
    (Status.PAUSED, Operation.UNPAUSE): Status.RUNNING,
    (Status.RUNNING, Operation.STOP): Status.RUNNING,
    (Status.PAUSED, Operation.STOP): Status.PAUSED,
    (Status.RESTARTING, Operation.STOP): Status.RESTARTING,
    (Status.RUNNING, Operation.KILL): Status.RUNNING,
    (Status.PAUSED, Operation.KILL): Status.PAUSED,
    (Status.RUNNING, Operation.EXEC): Status.RUNNING,
    (Status.RUNNING, Operation.RESIZE): Status.RUNNING,
    (Status.PAUSED, Operation.RESIZE): Status.PAUSED,
    (Status.CREATED, Operation.REMOVE): Status.REMOVING,
    (Status.EXITED, Operation.REMOVE): Status.REMOVING,
    (Status.DEAD, Operation.REMOVE): Status.REMOVING,
}

_NOT_RUNNING = (409, "Container {id} is not running")
_MARKED = (409, "container is marked for removal and cannot be started")

#: (operation, state) -> status and message; the state None stands for all that the table does not name.
REFUSALS: dict[tuple[Operation, Status | None], tuple[int, str]] = {
    (Operation.START, Status.RUNNING): (304, ""),
    (Operation.START, Status.PAUSED): (409, "cannot start a paused container, try unpause instead"),
    (Operation.START, Status.REMOVING): _MARKED,
    (Operation.START, Status.DEAD): _MARKED,
    (Operation.STOP, None): (304, ""),
    (Operation.KILL, None): _NOT_RUNNING,
    (Operation.RESIZE, None): _NOT_RUNNING,
    (Operation.PAUSE, Status.PAUSED): (409, "Container {id} is already paused"),
    (Operation.PAUSE, Status.RESTARTING): (
        409,
        "Container {id} is restarting, wait until the container is running",
    ),
    (Operation.PAUSE, None): _NOT_RUNNING,
    (Operation.UNPAUSE, None): (500, "Container {id} is not paused"),
    (Operation.EXEC, Status.PAUSED): (409, "Container {text} is paused, unpause the container before exec"),
    (Operation.EXEC, Status.RESTARTING): (
        409,
        "Container {id} is restarting, wait until the container is running",
    ),
    (Operation.EXEC, None): _NOT_RUNNING,
    (Operation.REMOVE, Status.RUNNING): (
        409,
        "You cannot remove a running container {id}. Stop the container before attempting removal or force remove",
    ),
    (Operation.REMOVE, Status.RESTARTING): (
        409,
        "You cannot remove a restarting container {id}. Stop the container before attempting removal or force remove",
    ),
    (Operation.REMOVE, Status.PAUSED): (
        409,
        (
            "You cannot remove a paused container {id}. Unpause and then stop the container before attempting removal or "
            "force remove"
        ),
    ),
    (Operation.REMOVE, Status.REMOVING): (409, "removal of container {id} is already in progress"),
}


def following(status: Status, operation: Operation) -> Status | None:
    """Return the state after `operation`, None when the state forbids it."""
    return TRANSITIONS.get((status, operation))


def check(status: Status, operation: Operation, identity: str, text: str = "") -> Status:
    """Return the state after `operation`, or raise EngineError with the engine's message.

    `text` is how the user named the container, for the messages that repeat it.
    """
    after = following(status, operation)
    if after is not None:
        return after
    code, message = (
        REFUSALS.get((operation, status))
        or REFUSALS.get((operation, None))
        or (
            409,
            f"Container {{id}} is {status}",
        )
    )
    raise EngineError(code, message.format(id=identity, text=text or identity))
