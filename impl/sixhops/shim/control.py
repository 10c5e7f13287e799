"""What is done to a container that is there: signals, freezing, limits, terminals, stdin, checkpoints."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sixhops.shim.console import resize
from sixhops.shim.process import State, refuse
from sixhops.shim.runtime import RuntimeFailedError
from sixhops.wire.jsonerror import json_error
from sixhops.wire.proto import payloads_pb2, runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import unpack
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sixhops.shim.container import Container, Shim

__all__ = ["checkpoint", "close_io", "kill", "pause", "resize_pty", "resume", "update"]


async def kill(shim: Shim, request: Any) -> Message:
    """Send a signal to a process, or to all of the container."""
    container, process = shim.process(request.id, request.exec_id)
    refuse(process, "kill")
    if process.exec_id:
        if not process.pid:
            raise RpcError(Code.FAILED_PRECONDITION, "process not created: failed precondition")
        try:
            os.kill(process.pid, request.signal)
        except OSError as error:
            text = os.strerror(error.errno or 0).lower()
            failure = _kill_error(text)
            raise RpcError(failure.code, f"exec kill error: {failure.message}") from error
        return shim_v2_pb2.ConnectResponse()
    async with container.lock:
        refuse(process, "kill")
        extra = ["--all"] if request.all else []
        try:
            arguments = ["kill", *extra, container.id, str(request.signal)]
            await container.runtime.run(arguments, at_once=not request.all)
        except (RuntimeFailedError, OSError) as error:
            raise _kill_error(str(error)) from error
    return shim_v2_pb2.ConnectResponse()


def _kill_error(text: str) -> RpcError:
    lower = text.lower()
    if "process already finished" in lower or "container not running" in lower or "no such process" in lower:
        return RpcError(Code.NOT_FOUND, "process already finished: not found")
    if "does not exist" in lower:
        return RpcError(Code.NOT_FOUND, "no such container: not found")
    return RpcError(Code.UNKNOWN, f"unknown error after kill: {text}")


async def pause(shim: Shim, request: Any) -> Message:
    """Freeze the container."""
    container, init = shim.process(request.id, "")
    async with container.lock:
        refuse(init, "pause")
        init.state = State.PAUSING
        done = False
        try:
            await _step(container, "pause")
            done = True
        finally:
            if init.state is State.PAUSING:  # it may have ended meanwhile
                init.state = State.PAUSED if done else State.RUNNING
    shim.publish("/tasks/paused", payloads_pb2.TaskPaused(container_id=container.id))
    return shim_v2_pb2.ConnectResponse()


async def resume(shim: Shim, request: Any) -> Message:
    """Let the container go on."""
    container, init = shim.process(request.id, "")
    async with container.lock:
        refuse(init, "resume")
        await _step(container, "resume")
        if init.state is State.PAUSED:
            init.state = State.RUNNING
    shim.publish("/tasks/resumed", payloads_pb2.TaskResumed(container_id=container.id))
    return shim_v2_pb2.ConnectResponse()


async def _step(container: Container, name: str) -> None:
    try:
        await container.runtime.run([name, container.id])
    except (RuntimeFailedError, OSError) as error:
        text = container.runtime.explain(f"OCI runtime {name} failed", error)
        raise RpcError(Code.UNKNOWN, text) from error


async def checkpoint(shim: Shim, request: Any) -> Message:
    """Have the runtime write a checkpoint to `path`; what it answers when it has no CRIU is passed on."""
    import shutil  # noqa: PLC0415  no other step needs what this maps

    container, init = shim.process(request.id, "")
    options = _checkpoint_options(request.options)
    async with container.lock:
        refuse(init, "checkpoint")
        work = options.work_path or f"{container.bundle}/work/criu-work"
        flags = ["--image-path", request.path, "--work-path", work]
        for wanted, flag in (
            (options.open_tcp, "--tcp-established"),
            (options.external_unix_sockets, "--ext-unix-sk"),
            (options.terminal, "--shell-job"),
            (options.file_locks, "--file-locks"),
        ):
            flags += [flag] if wanted else []
        for name in options.empty_namespaces:
            flags += ["--empty-ns", name]
        flags += [] if options.exit else ["--leave-running"]
        try:
            await container.runtime.run(["checkpoint", *flags, container.id])
        except (RuntimeFailedError, OSError) as error:
            log = f"{container.bundle}/criu-dump.log"
            try:
                shutil.copyfile(f"{work}/dump.log", log)
            except OSError as missing:
                shim.log.error(f"failed to copy dump.log to criu-dump.log: {missing}")
            first = str(error).splitlines()[0]
            raise RpcError(Code.UNKNOWN, f"{first} path= {log}") from error
        finally:
            if not options.work_path:
                shutil.rmtree(work, ignore_errors=True)
    return shim_v2_pb2.ConnectResponse()


def _checkpoint_options(value: Any) -> runc_options_pb2.CheckpointOptions:
    options = runc_options_pb2.CheckpointOptions()
    try:
        if value.type_url and not unpack(value, options):
            raise RpcError(Code.UNKNOWN, f"type with url {value.type_url}: not found")
    except DecodeError as error:
        raise RpcError(Code.UNKNOWN, f"checkpoint options: {error}") from error
    return options


async def update(shim: Shim, request: Any) -> Message:
    """Change resource limits; the Any holds the runtime document's `resources` as JSON."""
    container, init = shim.process(request.id, "")
    async with container.lock:
        refuse(init, "update")
        try:
            json.loads(request.resources.value)
        except ValueError as error:
            raise RpcError(Code.UNKNOWN, json_error(request.resources.value, error)) from error
        try:
            await container.runtime.run(
                ["update", "--resources", "-", container.id], stdin=request.resources.value
            )
        except (RuntimeFailedError, OSError) as error:
            raise RpcError(Code.UNKNOWN, str(error)) from error
    return shim_v2_pb2.ConnectResponse()


async def resize_pty(shim: Shim, request: Any) -> Message:
    """Set the terminal's size; without a terminal nothing happens."""
    _container, process = shim.process(request.id, request.exec_id)
    refuse(process, "resize")
    if process.streams.master >= 0:
        try:
            resize(process.streams.master, request.width, request.height)
        except OSError as error:
            raise RpcError(Code.UNKNOWN, str(error.strerror).lower()) from error
    return shim_v2_pb2.ConnectResponse()


async def close_io(shim: Shim, request: Any) -> Message:
    """Let stdin end."""
    try:
        _container, process = shim.process(request.id, request.exec_id)
    except RpcError as error:
        if request.id not in shim.containers:
            raise
        # upstream forgets the kind of this one error
        raise RpcError(Code.UNKNOWN, error.message) from error
    if request.stdin:
        process.streams.close_stdin()
    return shim_v2_pb2.ConnectResponse()
