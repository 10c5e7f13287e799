"""The task service as a table: what containerd asks of a shim, and who does it.

One coroutine a call; one lock a container, as upstream has. An exit may be known before the answer that tells the pid,
or before the start was announced. The order that containerd sees is always create, start, exit, delete (and exec-added,
exec-started, exit for an exec).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sixhops.shim import control, creation, execs, exits, questions
from sixhops.wire.proto import shim_v2_pb2
from sixhops.wire.proto.services import service
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from sixhops.shim.container import Shim
    from sixhops.wire.ttrpc.calls import Call

    Operation = Callable[[Shim, Any], Awaitable[Message]]

__all__ = ["answer"]


async def shutdown(shim: Shim, _request: Any) -> Message:
    """End the shim when it has no container left; the answer goes out first."""
    if not shim.containers:
        shim.shutdown()
    return shim_v2_pb2.ConnectResponse()


# every operation takes its request message and returns its reply message, or raises RpcError; the empty reply has the
# same bytes whatever it is called
OPERATIONS: dict[str, Operation] = {
    "Checkpoint": control.checkpoint,
    "CloseIO": control.close_io,
    "Connect": questions.connect,
    "Create": creation.create,
    "Delete": exits.delete,
    "Exec": execs.exec_,
    "Kill": control.kill,
    "Pause": control.pause,
    "Pids": questions.pids,
    "ResizePty": control.resize_pty,
    "Resume": control.resume,
    "Shutdown": shutdown,
    "Start": execs.start,
    "State": questions.state,
    "Stats": questions.stats,
    "Update": control.update,
    "Wait": exits.wait,
}
TASK = service(shim_v2_pb2.DESCRIPTOR, "Task")
REQUESTS = {name: method.request for name, method in TASK.methods.items()}
# the messages of version 3 are those of version 2, number for number
SERVICES = frozenset({TASK.name, "containerd.task.v3.Task"})


async def answer(shim: Shim, call: Call) -> bytes:
    """Return the reply to a call; RpcError with its status."""
    if call.service not in SERVICES:
        raise RpcError(Code.UNIMPLEMENTED, f"service {call.service}")
    operation = OPERATIONS.get(call.method)
    if operation is None:
        raise RpcError(Code.UNIMPLEMENTED, f"method {call.method}")
    request = REQUESTS[call.method]()
    try:
        request.ParseFromString(call.payload)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, f"ttrpc: error unmarshalling payload: {error}") from error
    reply = await operation(shim, request)
    return reply.SerializeToString()
