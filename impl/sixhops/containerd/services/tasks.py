"""Tasks: containers that run. Every call ends at a shim; this module translates names and errors."""

from __future__ import annotations

import functools
import logging
import tempfile
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.metadata.filters import parse_all
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.metadata.validate import check_identifier, quote
from sixhops.containerd.rpc import check_namespace, namespace_checked
from sixhops.containerd.tasks.runcoptions import read_options
from sixhops.wire.proto import process_pb2, runc_options_pb2, shim_v2_pb2, tasks_pb2, types_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.containerd.rpc import Call
    from sixhops.containerd.services.containers import ContainersService
    from sixhops.containerd.services.layers import Layers
    from sixhops.containerd.tasks.shims import Shim, Shims

__all__ = ["TasksService"]

log = logging.getLogger(__name__)
CHECKPOINT = "application/vnd.containerd.container.criu.checkpoint.criu.tar"
CHECKPOINT_CONFIG = "application/vnd.containerd.container.checkpoint.config.v1+proto"
STATE_SECONDS = 2.0
METRICS_SECONDS = 5.0


class TasksService:
    """containerd.services.tasks.v1.Tasks."""

    def __init__(self, containers: ContainersService, shims: Shims, layers: Layers) -> None:
        self._containers = containers
        self._layers = layers
        self._shims = shims

    def _shim(self, identifier: str, call: Call) -> Shim:
        self._containers.find(identifier, call)
        shim = self._shims.get(call.namespace, identifier)
        if shim is None:
            raise RpcError(Code.NOT_FOUND, f"task {identifier} not found")
        return shim

    async def _process(self, request: Any, call: Call) -> Shim:
        """Return the shim of a request, once the process that it may name is known to be there (NOT_FOUND if not)."""
        shim = self._shim(request.container_id, call)
        if request.exec_id:
            await shim.call("State", shim_v2_pb2.StateRequest(id=shim.id, exec_id=request.exec_id))
        return shim

    async def create(self, request: Any, call: Call) -> Any:
        """Start a shim and create the task in it."""
        container = self._containers.find(request.container_id, call)
        wanted = shim_v2_pb2.CreateTaskRequest(
            rootfs=request.rootfs,
            terminal=request.terminal,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        for options in (request, container.runtime):
            if options.HasField("options"):
                wanted.options.CopyFrom(options.options)
                break
        given = read_options(request, container.runtime.name, runc_options_pb2.Options, "create")
        wanted.checkpoint = given.criu_image_path
        image = None
        if not wanted.checkpoint and request.HasField("checkpoint"):
            image = functools.partial(
                self._unpack_checkpoint, self._find_checkpoint(request.checkpoint, call)
            )
        shim = await self._shims.create(
            call.namespace,
            container.id,
            request.runtime_path or container.runtime.name,
            container.spec.value,
            wanted,
            image,
        )
        return tasks_pb2.CreateTaskResponse(container_id=container.id, pid=shim.pid)

    async def start(self, request: Any, call: Call) -> Any:
        """Start the task, or a process that Exec added."""
        shim = await self._process(request, call)
        return tasks_pb2.StartResponse(pid=await self._shims.start(shim, request.exec_id))

    async def delete(self, request: Any, call: Call) -> Any:
        """Delete an ended task; its shim ends with it."""
        shim = self._shim(request.container_id, call)
        try:
            answer = await self._shims.delete(shim)
        except RpcError as error:
            raise RpcError(error.code, f"failed to delete task: {error.message}") from error
        return tasks_pb2.DeleteResponse(
            pid=answer.pid, exit_status=answer.exit_status, exited_at=answer.exited_at
        )

    async def delete_process(self, request: Any, call: Call) -> Any:
        """Delete an ended process."""
        shim = await self._process(request, call)
        wanted = shim_v2_pb2.DeleteRequest(id=shim.id, exec_id=request.exec_id)
        answer = await shim.call("Delete", wanted)
        return tasks_pb2.DeleteResponse(
            id=request.exec_id, pid=answer.pid, exit_status=answer.exit_status, exited_at=answer.exited_at
        )

    async def get(self, request: Any, call: Call) -> Any:
        """Return the state of a process."""
        shim = self._shim(request.container_id, call)
        return tasks_pb2.GetResponse(process=await self._state(shim, request.exec_id))

    async def _state(self, shim: Shim, exec_id: str) -> process_pb2.Process:
        state = await shim.call("State", shim_v2_pb2.StateRequest(id=shim.id, exec_id=exec_id), STATE_SECONDS)
        return process_pb2.Process(
            id=exec_id or shim.id,
            pid=state.pid,
            status=state.status,
            stdin=state.stdin,
            stdout=state.stdout,
            stderr=state.stderr,
            terminal=state.terminal,
            exit_status=state.exit_status,
            exited_at=state.exited_at,
        )

    async def list(self, _request: Any, call: Call) -> Any:
        """Return the states of all tasks; one that ends meanwhile is left out."""
        response = tasks_pb2.ListTasksResponse()
        for shim in self._shims.all(call.namespace):
            try:
                response.tasks.append(await self._state(shim, ""))
            except RpcError as error:
                if error.code not in (Code.NOT_FOUND, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise
        return response

    async def kill(self, request: Any, call: Call) -> Any:
        """Send a signal."""
        shim = await self._process(request, call)
        wanted = shim_v2_pb2.KillRequest(
            id=shim.id, exec_id=request.exec_id, signal=request.signal, all=request.all
        )
        await shim.call("Kill", wanted)
        return Empty()

    async def exec(self, request: Any, call: Call) -> Any:
        """Add a process."""
        if not request.exec_id:
            raise RpcError(Code.INVALID_ARGUMENT, "exec id cannot be empty")
        shim = self._shim(request.container_id, call)
        check_identifier(request.exec_id, f"invalid exec id {request.exec_id}: ")
        wanted = shim_v2_pb2.ExecProcessRequest(
            id=shim.id,
            exec_id=request.exec_id,
            terminal=request.terminal,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
            spec=request.spec,
        )
        await shim.call("Exec", wanted)
        return Empty()

    async def resize_pty(self, request: Any, call: Call) -> Any:
        """Set a terminal's size."""
        shim = await self._process(request, call)
        wanted = shim_v2_pb2.ResizePtyRequest(
            id=shim.id, exec_id=request.exec_id, width=request.width, height=request.height
        )
        await shim.call("ResizePty", wanted)
        return Empty()

    async def close_io(self, request: Any, call: Call) -> Any:
        """Let a process's stdin end."""
        shim = await self._process(request, call)
        if request.stdin:
            wanted = shim_v2_pb2.CloseIORequest(id=shim.id, exec_id=request.exec_id, stdin=True)
            await shim.call("CloseIO", wanted)
        return Empty()

    async def pause(self, request: Any, call: Call) -> Any:
        """Freeze a task."""
        shim = self._shim(request.container_id, call)
        await shim.call("Pause", shim_v2_pb2.PauseRequest(id=shim.id))
        return Empty()

    async def resume(self, request: Any, call: Call) -> Any:
        """Let a task go on."""
        shim = self._shim(request.container_id, call)
        await shim.call("Resume", shim_v2_pb2.ResumeRequest(id=shim.id))
        return Empty()

    async def list_pids(self, request: Any, call: Call) -> Any:
        """Return a task's processes."""
        shim = self._shim(request.container_id, call)
        answer = await shim.call("Pids", shim_v2_pb2.PidsRequest(id=shim.id))
        return tasks_pb2.ListPidsResponse(processes=answer.processes)

    def _find_checkpoint(self, wanted: Any, call: Call) -> Path:
        """Return the archive of a checkpoint."""
        if wanted.media_type != CHECKPOINT:
            raise RpcError(Code.UNKNOWN, f"unsupported checkpoint type {quote(wanted.media_type)}")
        try:
            return self._layers.find(wanted.digest, call)
        except RpcError as error:
            raise RpcError(Code.UNKNOWN, f"content digest {wanted.digest}: not found") from error

    async def _unpack_checkpoint(self, archive: Path, directory: Path) -> None:
        await self._layers.unpack(archive, [["bind", str(directory), ["rbind", "rw"]]])

    async def checkpoint(self, request: Any, call: Call) -> Any:
        """Checkpoint a task: to the path that the options name, or else to blobs (its image and the specification)."""
        shim = self._shim(request.container_id, call)
        container = self._containers.find(request.container_id, call)
        path = read_options(
            request, container.runtime.name, runc_options_pb2.CheckpointOptions, "checkpoint"
        ).image_path
        wanted = shim_v2_pb2.CheckpointTaskRequest(id=shim.id, path=path)
        if request.HasField("options"):
            wanted.options.CopyFrom(request.options)
        if path:
            await shim.call("Checkpoint", wanted)
            return tasks_pb2.CheckpointTaskResponse()
        with tempfile.TemporaryDirectory(prefix="ctrd-checkpoint") as made:
            wanted.path = made
            await shim.call("Checkpoint", wanted)
            image = await self._layers.pack([], [["bind", made, ["rbind"]]], call, compress=False)
        config = await self._layers.write(container.spec.SerializeToString(), call)
        return tasks_pb2.CheckpointTaskResponse(
            descriptors=[
                types_pb2.Descriptor(media_type=CHECKPOINT, digest=image.digest, size=image.size),
                types_pb2.Descriptor(media_type=CHECKPOINT_CONFIG, digest=config.digest, size=config.size),
            ]
        )

    async def update(self, request: Any, call: Call) -> Any:
        """Change a task's limits."""
        shim = self._shim(request.container_id, call)
        wanted = shim_v2_pb2.UpdateTaskRequest(
            id=shim.id, resources=request.resources, annotations=request.annotations
        )
        await shim.call("Update", wanted)
        return Empty()

    @namespace_checked
    async def metrics(self, request: Any, call: Call) -> Any:
        """Return the figures of the tasks that match the filters (over id and namespace); one that fails is left out."""
        response = tasks_pb2.MetricsResponse()
        try:
            check_namespace(call.namespace)
            wanted = parse_all(request.filters)
        except RpcError as error:
            raise RpcError(Code.UNKNOWN, error.message) from error
        for shim in self._shims.all(call.namespace):
            if not wanted.matches(functools.partial(_look, shim)):
                continue
            try:
                answer = await shim.call("Stats", shim_v2_pb2.StatsRequest(id=shim.id), METRICS_SECONDS)
            except RpcError as error:
                if error.code is not Code.NOT_FOUND:
                    log.error("collecting metrics for %s: %s", shim.id, error.message)
                continue
            metric = response.metrics.add(id=shim.id, data=answer.stats)
            set_now(metric.timestamp)
        return response

    async def wait(self, request: Any, call: Call) -> Any:
        """Return when a process has ended."""
        shim = await self._process(request, call)
        answer = await shim.call("Wait", shim_v2_pb2.WaitRequest(id=shim.id, exec_id=request.exec_id))
        return tasks_pb2.WaitResponse(exit_status=answer.exit_status, exited_at=answer.exited_at)


def _look(shim: Shim, path: tuple[str, ...]) -> str | None:
    if path[0] == "id":
        return shim.id
    return shim.namespace if path[0] == "namespace" else None
