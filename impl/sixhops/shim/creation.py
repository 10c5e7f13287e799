"""Create and Start of a container: root filesystem, streams, the runtime's create; or restore from a checkpoint."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from sixhops.linux.mountlist import Mount, mount_all, unmount_below
from sixhops.shim.attach import open_streams, run_attached
from sixhops.shim.container import Container, Restore, Shim, read_file
from sixhops.shim.metrics import OomWatch, join_groups
from sixhops.shim.options import store_options
from sixhops.shim.process import Process
from sixhops.shim.runtime import Runtime, RuntimeFailedError, RuntimeOptions
from sixhops.shim.stdio import Paths
from sixhops.shim.taskoptions import runtime_options
from sixhops.wire.proto import payloads_pb2, shim_v2_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["create", "start_init"]

#: For which the event of a create waits for that of the start, which is to be made most often by then: telling it would be
#: in the start's way.
CREATE_SECONDS = 0.005


async def create(shim: Shim, request: Any) -> Message:
    """Mount the root filesystem if asked to and run the runtime's create; leaves nothing behind when it fails."""
    bundle = request.bundle
    options = runtime_options(request.options, default_binary=shim.default_binary, module=shim.module)
    try:
        store_options(bundle, options)
        if options.shim_cgroup:
            join_groups(options.shim_cgroup, os.getpid())
    except FileNotFoundError as error:
        text = f"open {error.filename}: no such file or directory"
        raise RpcError(Code.NOT_FOUND, text) from error
    _mount(request.rootfs, f"{bundle}/rootfs")
    container = Container(request.id, bundle, _runtime(shim, options, bundle), {})
    if request.checkpoint:
        work = options.criu_work_path or f"{bundle}/work"
        container.restore = Restore(request.checkpoint, work, request.parent_checkpoint)
    paths = Paths(request.stdin, request.stdout, request.stderr, request.terminal)
    try:
        process = await _create_init(shim, container, paths)
    except BaseException:
        # what is mounted there belongs to the running one, if it was refused for its id
        if request.rootfs and request.id not in shim.containers:
            with contextlib.suppress(OSError):
                unmount_below(f"{bundle}/rootfs")
        raise
    container.processes[""] = process
    shim.containers[request.id] = container
    _note_groups(shim, container, process)
    shim.publish(
        "/tasks/create",
        payloads_pb2.TaskCreate(
            container_id=request.id,
            bundle=bundle,
            rootfs=request.rootfs,
            io=payloads_pb2.TaskIO(
                stdin=paths.stdin, stdout=paths.stdout, stderr=paths.stderr, terminal=paths.terminal
            ),
            checkpoint=request.checkpoint,
            pid=process.pid,
        ),
        seconds=CREATE_SECONDS,
    )
    return shim_v2_pb2.CreateTaskResponse(pid=process.pid)


def _runtime(shim: Shim, options: RuntimeOptions, bundle: str) -> Runtime:
    resident, shim.resident = shim.resident, None
    if resident is not None and (options.module != shim.module or options.shim_cgroup):
        resident.dismiss()  # it is another runtime, or was forked in another group
        resident = None
    return Runtime(shim.loop, options, shim.namespace, f"{bundle}/log.json", resident)


def _mount(rootfs: Any, target: str) -> None:
    if not rootfs:
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(target, 0o711)
    # one at a time, for the error to name the one that failed
    done = 0
    try:
        for item in rootfs:
            shown = f"&{{{item.type} {item.source} [{' '.join(item.options)}]}}"
            try:
                mount_all([Mount(item.type, item.source, tuple(item.options))], target)
            except OSError as error:
                text = f"failed to mount rootfs component {shown}: {os.strerror(error.errno or 0).lower()}"
                raise RpcError(Code.UNKNOWN, text) from error
            done += 1
    except RpcError:
        if done:
            unmount_below(target)
        raise


async def _create_init(shim: Shim, container: Container, paths: Paths) -> Process:
    runtime = container.runtime
    process = Process(container.id, "", paths, await open_streams(shim, runtime, paths, container.id))
    if container.restore is not None:
        return process
    pid_file = f"{container.bundle}/init.pid"
    arguments = ["create", "--bundle", container.bundle, "--pid-file", pid_file]
    try:
        await run_attached(
            shim,
            runtime,
            process,
            ([*arguments, *_flags(runtime.options)], [container.id]),
            "OCI runtime create failed",
            pid_file,
        )
    except BaseException:
        await process.streams.close()
        if process.pid:
            await _undo(shim, container)
        raise
    return process


async def _undo(shim: Shim, container: Container) -> None:
    """Delete a container whose streams could not be opened once it was there."""
    try:
        await container.runtime.run(["delete", "--force", container.id])
    except (RuntimeFailedError, OSError) as error:
        shim.log.error(f"delete after a failed create: {error}")


def _flags(options: RuntimeOptions) -> list[str]:
    flags = ["--no-pivot"] if options.no_pivot_root else []
    return [*flags, "--no-new-keyring"] if options.no_new_keyring else flags


def _note_groups(shim: Shim, container: Container, process: Process) -> None:
    if not process.pid:
        return
    try:
        container.membership = read_file(f"/proc/{process.pid}/cgroup")
    except OSError as error:
        shim.log.error(f"loading cgroup for {process.pid}: {error}")


async def start_init(shim: Shim, container: Container, process: Process) -> None:
    """Start a created container, or restore it; its memory is watched from then on."""
    if container.restore is not None:
        await _restore(shim, container, process, container.restore)
    else:
        try:
            await container.runtime.run(["start", container.id])
        except (RuntimeFailedError, OSError) as error:
            text = container.runtime.explain("OCI runtime start failed", error)
            raise RpcError(Code.UNKNOWN, text) from error
    try:
        container.oom = OomWatch(
            shim.loop,
            container.membership,
            lambda: shim.publish("/tasks/oom", payloads_pb2.TaskOOM(container_id=container.id)),
        )
    except OSError as error:
        # it ended at once, and its groups with it
        shim.log.warning(f"add cg to OOM monitor: {error}")


async def _restore(shim: Shim, container: Container, process: Process, restore: Restore) -> None:
    pid_file = f"{container.bundle}/init.pid"
    arguments = ["restore", "--image-path", restore.image, "--work-path", restore.work]
    if restore.parent:
        arguments += ["--parent-path", restore.parent]
    arguments += ["--detach", "--pid-file", pid_file]
    last = ["--no-pivot"] if container.runtime.options.no_pivot_root else []
    await run_attached(
        shim,
        container.runtime,
        process,
        (arguments, [*last, "-no-subreaper", "--bundle", container.bundle, container.id]),
        "OCI runtime restore failed",
        pid_file,
    )
    _note_groups(shim, container, process)
