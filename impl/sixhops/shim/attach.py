"""The runtime's steps that make a process (create, exec, restore): run with its streams, watched from its first moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.shim.console import ConsoleSocket
from sixhops.shim.container import read_file
from sixhops.shim.exits import ended
from sixhops.shim.loop import TimedOutError
from sixhops.shim.runtime import RuntimeFailedError
from sixhops.shim.stdio import Streams
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from sixhops.shim.container import Shim
    from sixhops.shim.process import Process
    from sixhops.shim.runtime import Runtime
    from sixhops.shim.stdio import Paths

__all__ = ["open_streams", "run_attached"]


async def open_streams(shim: Shim, runtime: Runtime, paths: Paths, name: str) -> Streams:
    """Make the streams of process `name` (the container's or the exec's id); RpcError in upstream's words."""
    options = runtime.options
    try:
        return await Streams.open(
            shim.loop, paths, options.io_uid, options.io_gid, name=name, namespace=shim.namespace
        )
    except (OSError, ValueError) as error:
        raise RpcError(Code.UNKNOWN, f"failed to create init process I/O: {error}") from error


async def run_attached(
    shim: Shim,
    runtime: Runtime,
    process: Process,
    step: tuple[list[str], list[str]],
    prefix: str,
    pid_file: str,
) -> None:
    """Run a step with the process's streams, set its pid and wait for its end from then on.

    `step` is the command line before and after what the terminal adds. RpcError: `prefix` and what the runtime said.
    The runtime's process may exist then all the same, if it was the copying that failed.
    """
    arguments, last = step
    streams = process.streams
    console = ConsoleSocket(shim.loop) if process.paths.terminal else None
    shim.loop.hold_exits()
    try:
        if console is not None:
            arguments = [*arguments, "--console-socket", console.path]
        try:
            await runtime.run([*arguments, *last], stdio=streams.child)
        except (RuntimeFailedError, OSError) as error:
            raise RpcError(Code.UNKNOWN, runtime.explain(prefix, error)) from error
        process.pid = _read_pid(pid_file)
        # inside the hold: the exit may have come already
        future = shim.loop.child(process.pid)
        future.on_done(lambda: ended(shim, process, future.result()))
        master = -1 if console is None else await _terminal(console)
        await _copy(streams, master)
    finally:
        shim.loop.release_exits()
        if console is not None:
            console.close()


def _read_pid(path: str) -> int:
    try:
        return int(read_file(path))
    except (OSError, ValueError) as error:
        raise RpcError(Code.UNKNOWN, f"failed to retrieve OCI runtime container pid: {error}") from error


async def _terminal(console: ConsoleSocket) -> int:
    try:
        return await console.receive()
    except (TimedOutError, OSError) as error:
        raise RpcError(Code.UNKNOWN, f"failed to retrieve console master: {error}") from error


async def _copy(streams: Streams, master: int) -> None:
    try:
        streams.hold_stdin()
    except OSError as error:
        text = f"failed to open stdin fifo {streams.paths.stdin}: {error.strerror}"
        raise RpcError(Code.UNKNOWN, text) from error
    try:
        await streams.begin(master)
    except (OSError, ValueError) as error:
        what = "console copy" if master >= 0 else "io pipe copy"
        raise RpcError(Code.UNKNOWN, f"failed to start {what}: {error}") from error
