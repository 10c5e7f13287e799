"""What is asked of a container: state, processes, figures, pids."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sixhops.shim.container import stamp
from sixhops.shim.metrics import groups_of, read_metrics
from sixhops.shim.process import State
from sixhops.shim.runtime import RuntimeFailedError
from sixhops.wire.proto import runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sixhops.shim.container import Shim

__all__ = ["connect", "pids", "state", "stats"]


async def state(shim: Shim, request: Any) -> Message:
    """Return what is known of a process. In a frozen container every process is paused."""
    container, process = shim.process(request.id, request.exec_id)
    shown = process.state
    whole = container.processes[""].state
    if process.exec_id and whole in (State.PAUSED, State.PAUSING):
        shown = whole
    response = shim_v2_pb2.StateResponse(
        id=process.exec_id or container.id,
        bundle=container.bundle,
        pid=process.pid,
        stdin=process.paths.stdin,
        stdout=process.paths.stdout,
        stderr=process.paths.stderr,
        terminal=process.paths.terminal,
        exit_status=process.exit.status if process.exit else 0,
    )
    response.status = int(shown)  # type: ignore[assignment] # the enumeration's number
    stamp(response.exited_at, process.exit)
    return response


async def pids(shim: Shim, request: Any) -> Message:
    """Return the container's processes, those of Exec with their ids."""
    container = shim.container(request.id)
    try:
        output = await container.runtime.run(["ps", "--format", "json", container.id])
        numbers = json.loads(output) or []
    except (RuntimeFailedError, OSError, ValueError) as error:
        raise RpcError(Code.UNKNOWN, str(error)) from error
    names = {process.pid: process.exec_id for process in container.processes.values() if process.exec_id}
    response = shim_v2_pb2.PidsResponse()
    for number in numbers:
        info = response.processes.add(pid=number)
        if number in names:
            pack(info.info, runc_options_pb2.ProcessDetails(exec_id=names[number]))
    return response


async def stats(shim: Shim, request: Any) -> Message:
    """Return the control groups' figures."""
    container = shim.container(request.id)
    if not container.membership:
        raise RpcError(Code.NOT_FOUND, "cgroup does not exist: not found")
    response = shim_v2_pb2.StatsResponse()
    pack(response.stats, read_metrics(groups_of(container.membership)))
    return response


async def connect(shim: Shim, request: Any) -> Message:
    """Tell the two pids."""
    container = shim.containers.get(request.id)
    pid = container.processes[""].pid if container is not None else 0
    return shim_v2_pb2.ConnectResponse(shim_pid=os.getpid(), task_pid=pid)
