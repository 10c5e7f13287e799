"""The calls of containerd that the engine makes, one method each, with plain values in and out.

Order and fields follow what dockerd 20.10 was seen to send; the container record lives in containerd only between start
and exit, and its creation alone is guarded by a lease.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.empty_pb2 import Empty

from sixhops.dockerd.containerd.channel import Channel, ContainerdError
from sixhops.wire.proto import (
    containers_pb2,
    events_pb2,
    leases_pb2,
    payloads_pb2,
    runc_options_pb2,
    tasks_pb2,
    types_pb2,
    version_pb2,
)
from sixhops.wire.proto.services import pack, service, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["Containerd", "ContainerdError", "Metric", "ProcessIo", "TaskEvent", "TaskExit", "TaskState"]

SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
_RESOURCES = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
BUNDLE_LABEL = "com.docker/engine.bundle.path"
_EXPIRE_LABEL = "containerd.io/gc.expire"
_DAY = 86400
#: Deadline of the calls that clean up after an exit, in seconds, as dockerd sets it.
#: What containerd's client gives as the exit status of a task that it can no longer ask.
UNKNOWN_STATUS = 255
CLEANUP_TIMEOUT = 30.0
_UINT32 = 2**32 - 1

_CONTAINERS = service(containers_pb2.DESCRIPTOR, "Containers").methods
_TASKS = service(tasks_pb2.DESCRIPTOR, "Tasks").methods
_LEASES = service(leases_pb2.DESCRIPTOR, "Leases").methods
_EVENTS = service(events_pb2.DESCRIPTOR, "Events").methods
_VERSION = service(version_pb2.DESCRIPTOR, "Version").methods


@dataclass(frozen=True, slots=True)
class ProcessIo:
    """Paths of the fifos; "" for a stream that there is not."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class TaskState:
    """What containerd knows of a process: CREATED, RUNNING, STOPPED, PAUSED or UNKNOWN; time in ns since 1970."""

    pid: int
    status: str
    exit_status: int
    exited_at: int


@dataclass(frozen=True, slots=True)
class TaskExit:
    """A process has ended: the container's first one when `process` is the container's id, else an exec."""

    container: str
    process: str
    pid: int
    status: int
    exited_at: int


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Another event of a task: `kind` is oom, paused, resumed."""

    container: str
    kind: str


@dataclass(frozen=True, slots=True)
class Metric:
    """Raw metrics of a task: the message's type name and its bytes."""

    type: str
    data: bytes


class Containerd:
    """containerd, as the engine uses it. Every method raises ContainerdError."""

    def __init__(self, address: str, namespace: str = "moby") -> None:
        self.namespace = namespace
        self.channel = Channel(address, namespace)

    async def version(self) -> tuple[str, str]:
        """Return (version, revision)."""
        found = await self.channel.unary(_VERSION["Version"], Empty(), version_pb2.VersionResponse, timeout=5)
        return found.version, found.revision

    async def create_container(
        self, identity: str, bundle: str, shim: str, options: ProtoAny, spec: dict[str, Any]
    ) -> asyncio.Task[None]:
        """Register a container record, under a lease of its own; return the end of that lease, which need not be awaited
        before the next call (it has been sent by then), only at last.
        """
        lease = await self.create_lease({_EXPIRE_LABEL: _expiry()})
        try:
            container = containers_pb2.Container(id=identity, labels={BUNDLE_LABEL: bundle})
            container.runtime.name = shim
            container.runtime.options.CopyFrom(options)
            container.spec.CopyFrom(_document(SPEC_TYPE, spec))
            container.created_at.seconds = container.updated_at.seconds = -62135596800
            await self.channel.unary(
                _CONTAINERS["Create"],
                containers_pb2.CreateContainerRequest(container=container),
                containers_pb2.CreateContainerResponse,
                lease=lease,
            )
        except BaseException:
            await self.delete_lease(lease, under=lease)
            raise
        released = asyncio.create_task(self.delete_lease(lease, under=lease))
        await asyncio.sleep(0)
        return released

    async def delete_container(self, identity: str) -> None:
        """Remove a container record; one that is not there is no error."""
        await self._quietly("Delete", containers_pb2.DeleteContainerRequest(id=identity))

    async def containers(self) -> list[str]:
        """Return the ids of all records."""
        found = await self.channel.unary(
            _CONTAINERS["List"], containers_pb2.ListContainersRequest(), containers_pb2.ListContainersResponse
        )
        return [container.id for container in found.containers]

    async def create_task(
        self,
        identity: str,
        io: ProcessIo,
        options: ProtoAny,
        checkpoint: types_pb2.Descriptor | None = None,
    ) -> int:
        """Make the task: the process exists but waits; return its pid. `checkpoint` is the blob that it goes on from."""
        request = tasks_pb2.CreateTaskRequest(
            container_id=identity,
            stdin=io.stdin,
            stdout=io.stdout,
            stderr=io.stderr,
            terminal=io.terminal,
            options=options,
            checkpoint=checkpoint,
        )
        found = await self.channel.unary(_TASKS["Create"], request, tasks_pb2.CreateTaskResponse)
        return int(found.pid)

    async def start(self, identity: str, exec_id: str = "") -> int:
        """Let the process go; return its pid."""
        request = tasks_pb2.StartRequest(container_id=identity, exec_id=exec_id)
        return int((await self.channel.unary(_TASKS["Start"], request, tasks_pb2.StartResponse)).pid)

    async def task(self, identity: str, exec_id: str = "") -> TaskState | None:
        """Return the state of a process, None when there is none."""
        request = tasks_pb2.GetRequest(container_id=identity, exec_id=exec_id)
        try:
            found = await self.channel.unary(
                _TASKS["Get"], request, tasks_pb2.GetResponse, timeout=CLEANUP_TIMEOUT
            )
        except ContainerdError as error:
            if error.is_not_found:
                return None
            raise
        return _state(found.process)

    async def delete_task(self, identity: str) -> int:
        """Remove a task that has ended; return its exit status, UNKNOWN_STATUS for a task that is not there."""
        try:
            found = await self.channel.unary(
                _TASKS["Delete"],
                tasks_pb2.DeleteTaskRequest(container_id=identity),
                tasks_pb2.DeleteResponse,
                timeout=CLEANUP_TIMEOUT,
            )
        except ContainerdError as error:
            if not error.is_not_found:
                raise
            return UNKNOWN_STATUS
        return int(found.exit_status)

    async def delete_process(self, identity: str, exec_id: str) -> None:
        """Remove an exec that has ended; one that is not there is no error."""
        try:
            await self.channel.unary(
                _TASKS["DeleteProcess"],
                tasks_pb2.DeleteProcessRequest(container_id=identity, exec_id=exec_id),
                tasks_pb2.DeleteResponse,
                timeout=CLEANUP_TIMEOUT,
            )
        except ContainerdError as error:
            if not error.is_not_found:
                raise

    async def kill(self, identity: str, signal: int, exec_id: str = "") -> None:
        """Send a signal to one process."""
        request = tasks_pb2.KillRequest(container_id=identity, exec_id=exec_id, signal=signal)
        await self.channel.unary(_TASKS["Kill"], request, Empty)

    async def pause(self, identity: str) -> None:
        """Freeze a task."""
        await self.channel.unary(_TASKS["Pause"], tasks_pb2.PauseTaskRequest(container_id=identity), Empty)

    async def resume(self, identity: str) -> None:
        """Thaw a task."""
        await self.channel.unary(_TASKS["Resume"], tasks_pb2.ResumeTaskRequest(container_id=identity), Empty)

    async def update(self, identity: str, limits: dict[str, Any]) -> None:
        """Give a task other limits: `linux.resources` of the runtime's specification."""
        resources = _document(_RESOURCES, limits)
        request = tasks_pb2.UpdateTaskRequest(container_id=identity, resources=resources)
        await self.channel.unary(_TASKS["Update"], request, Empty)

    async def resize(self, identity: str, height: int, width: int, exec_id: str = "") -> None:
        """Set the size of a process's terminal, in characters; of larger numbers the low 32 bits count, as in Go."""
        request = tasks_pb2.ResizePtyRequest(
            container_id=identity, exec_id=exec_id, width=width & _UINT32, height=height & _UINT32
        )
        await self.channel.unary(_TASKS["ResizePty"], request, Empty)

    async def close_stdin(self, identity: str, exec_id: str = "") -> None:
        """Make the shim let go of a process's stdin, so that the program reads its end."""
        request = tasks_pb2.CloseIORequest(container_id=identity, exec_id=exec_id, stdin=True)
        await self.channel.unary(_TASKS["CloseIO"], request, Empty)

    async def add_exec(self, identity: str, exec_id: str, io: ProcessIo, process: dict[str, Any]) -> None:
        """Register a second process; `start` lets it go."""
        request = tasks_pb2.ExecProcessRequest(
            container_id=identity,
            stdin=io.stdin,
            stdout=io.stdout,
            stderr=io.stderr,
            terminal=io.terminal,
            spec=_document(PROCESS_TYPE, process),
            exec_id=exec_id,
        )
        await self.channel.unary(_TASKS["Exec"], request, Empty)

    async def pids(self, identity: str) -> list[int]:
        """Return the pids of all processes of a task, as the host sees them."""
        request = tasks_pb2.ListPidsRequest(container_id=identity)
        found = await self.channel.unary(_TASKS["ListPids"], request, tasks_pb2.ListPidsResponse)
        return [int(process.pid) for process in found.processes]

    async def metrics(self, identity: str) -> Metric | None:
        """Return the metrics of one task, None when it has none (any more)."""
        request = tasks_pb2.MetricsRequest(filters=[f"id=={identity}"])
        found = await self.channel.unary(_TASKS["Metrics"], request, tasks_pb2.MetricsResponse)
        for metric in found.metrics:
            return Metric(metric.data.type_url.rpartition("/")[2], metric.data.value)
        return None

    async def events(self) -> AsyncIterator[TaskExit | TaskEvent]:
        """Yield what happens to tasks, until the connection breaks (ContainerdError)."""
        request = events_pb2.SubscribeRequest(filters=[f"namespace=={self.namespace},topic~=|^/tasks/|"])
        async for envelope in self.channel.stream(_EVENTS["Subscribe"], request, types_pb2.Envelope):
            event = _event(envelope)
            if event is not None:
                yield event

    async def create_lease(self, labels: dict[str, str], identity: str = "", under: str = "") -> str:
        """Make a lease and return its id; one that exists already is no error."""
        identity = identity or _lease_id()
        request = leases_pb2.CreateRequest(id=identity, labels=labels)
        try:
            await self.channel.unary(_LEASES["Create"], request, leases_pb2.CreateResponse, lease=under)
        except ContainerdError as error:
            if not error.is_already_there:
                raise
        return identity

    async def delete_lease(self, identity: str, under: str = "") -> None:
        """Remove a lease; one that is not there is no error."""
        try:
            await self.channel.unary(
                _LEASES["Delete"], leases_pb2.DeleteRequest(id=identity), Empty, lease=under
            )
        except ContainerdError as error:
            if not error.is_not_found:
                raise

    async def add_to_lease(self, identity: str, resource: str, kind: str, under: str = "") -> None:
        """Let a lease keep a resource."""
        request = leases_pb2.AddResourceRequest(
            id=identity, resource=leases_pb2.Resource(id=resource, type=kind)
        )
        await self.channel.unary(_LEASES["AddResource"], request, Empty, lease=under)

    async def ready(self) -> None:
        """Return once containerd answers."""
        await self.channel.ready()

    async def close(self) -> None:
        """End the connection."""
        await self.channel.close()

    async def _quietly(self, method: str, request: containers_pb2.DeleteContainerRequest) -> None:
        try:
            await self.channel.unary(_CONTAINERS[method], request, Empty)
        except ContainerdError as error:
            if not error.is_not_found:
                raise


def runc_options(binary: str, root: str, *, systemd: bool = False) -> ProtoAny:
    """Return the shim's options: which binary, where it keeps its state, and whether control groups are systemd's."""
    options = ProtoAny()
    pack(options, runc_options_pb2.Options(binary_name=binary, root=root, systemd_cgroup=systemd))
    return options


def temporary_labels() -> dict[str, str]:
    """Return the labels of a lease that guards one pull."""
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return {_EXPIRE_LABEL: _expiry(), "moby.lease/temporary": f"{stamp}.{now % 10**9:09d}Z"}


def _document(type_url: str, value: dict[str, Any]) -> ProtoAny:
    return ProtoAny(
        type_url=type_url, value=json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    )


def _lease_id() -> str:
    """Nanoseconds of the clock and four random characters: what a containerd client makes up."""
    return f"{time.time_ns() % 10**9}-{base64.urlsafe_b64encode(os.urandom(3)).decode()}"


def _expiry() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + _DAY))


def _nanoseconds(stamp: Timestamp) -> int:
    return int(stamp.seconds) * 10**9 + int(stamp.nanos)


def _state(process: Any) -> TaskState:
    field = process.DESCRIPTOR.fields_by_name["status"]
    status = field.enum_type.values_by_number[process.status].name
    return TaskState(int(process.pid), status, int(process.exit_status), _nanoseconds(process.exited_at))


def _event(envelope: types_pb2.Envelope) -> TaskExit | TaskEvent | None:
    if envelope.topic == "/tasks/exit":
        exit_ = payloads_pb2.TaskExit()
        if unpack(envelope.event, exit_):
            return TaskExit(
                exit_.container_id,
                exit_.id,
                int(exit_.pid),
                int(exit_.exit_status),
                _nanoseconds(exit_.exited_at),
            )
    for topic, kind, message in (
        ("/tasks/oom", "oom", payloads_pb2.TaskOOM()),
        ("/tasks/paused", "paused", payloads_pb2.TaskPaused()),
        ("/tasks/resumed", "resumed", payloads_pb2.TaskResumed()),
    ):
        if envelope.topic == topic and unpack(envelope.event, message):
            return TaskEvent(message.container_id, kind)
    return None
