"""What a shim holds: its containers with their processes, and what all operations on them need."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.shim.loop import ExitStatus, Lock
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from sixhops.shim.log import Log
    from sixhops.shim.loop import Loop
    from sixhops.shim.metrics import OomWatch
    from sixhops.shim.process import Process
    from sixhops.shim.publisher import Publisher
    from sixhops.shim.resident import Resident
    from sixhops.shim.runtime import Runtime

__all__ = ["Container", "Restore", "Shim", "read_file", "stamp"]

ZERO_TIME_SECONDS = -62135596800  # 0001-01-01, Go's zero time, which upstream sends for "not yet"


@dataclass(frozen=True, slots=True)
class Restore:
    """From where a container is restored when it is started, instead of run: CRIU's images and directories."""

    image: str
    work: str
    parent: str


@dataclass(slots=True, eq=False)
class Container:
    """One container: its bundle, its runtime, its processes by exec id ("" is init).

    `membership` is what /proc/PID/cgroup said of init, which can't be asked for any more once it has ended. `ends_whole`
    once that is so and nothing is left to be waited for: no process outside of its pid namespace, no poststop hook.
    """

    id: str
    bundle: str
    runtime: Runtime
    processes: dict[str, Process]
    membership: str = ""
    oom: OomWatch | None = None
    ends_whole: bool = False
    restore: Restore | None = None
    lock: Lock = field(default_factory=Lock)


@dataclass(slots=True)
class Shim:
    """The state of this process. `module` names our loaded runtime, None when the runtime is to be exec'd.

    `resident` is a process of it that waits for the first container.
    """

    loop: Loop
    namespace: str
    publisher: Publisher
    log: Log
    default_binary: str
    module: str | None
    shutdown: Callable[[], None]
    containers: dict[str, Container] = field(default_factory=dict)
    resident: Resident | None = None

    def container(self, identifier: str) -> Container:
        """Return a container; RpcError NOT_FOUND when there is none of that id."""
        container = self.containers.get(identifier)
        if container is None:
            raise RpcError(Code.NOT_FOUND, "container not created: not found")
        return container

    def process(self, identifier: str, exec_id: str) -> tuple[Container, Process]:
        """Return a container and a process of it, the first one for an empty `exec_id`; RpcError NOT_FOUND."""
        container = self.container(identifier)
        process = container.processes.get(exec_id)
        if process is None:
            raise RpcError(Code.NOT_FOUND, f"process does not exist {exec_id}: not found")
        return container, process

    def publish(self, topic: str, event: Message, *, seconds: float = 0.0) -> None:
        """Queue an event, which may be kept for some `seconds`."""
        self.publisher.publish(topic, event, seconds=seconds)


def stamp(target: Timestamp, exit_status: ExitStatus | None) -> None:
    """Set `target` to the time of an exit, or to Go's zero time."""
    if exit_status is None:
        target.seconds = ZERO_TIME_SECONDS
    else:
        target.seconds, target.nanos = divmod(int(exit_status.at * 1e9), 10**9)


def read_file(path: str) -> str:
    """Return a file's text; OSError. For the small files of /proc and the bundle, without a stream's layers."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 14):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode(errors="surrogateescape")
