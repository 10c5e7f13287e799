"""The command line of containerd-shim-sixhops-v1: what containerd calls to start a shim, and to clean up
after a dead one.

    start    forks the shim, prints its address (`startup`)
    delete   kills and deletes what a dead shim left, prints a DeleteResponse
    -v       version;  -info  what this shim is (RuntimeInfo);  -socket PATH without either: serve there

It also works under the name of upstream's shim, containerd-shim-runc-v2.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Any

from sixhops.linux.mountlist import unmount_below
from sixhops.shim.loop import Loop, Task
from sixhops.shim.options import (
    DEFAULT_BINARY,
    SOCKET_LINK,
    SOCKETS,
    Arguments,
    UsageError,
    load_options,
    parse,
    socket_address,
    usage,
)
from sixhops.shim.runtime import Runtime, RuntimeFailedError
from sixhops.shim.varint import varint

__all__ = ["delete_response", "main", "main_forked"]

VERSION = "0.1.0"
NAME = "io.containerd.sixhops.v1"
KILLED = 137
FEATURES = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
FEATURES_SECONDS = 10.0


def main(words: list[str] | None = None) -> int:
    """Run the shim's command line; return the exit status."""
    program = os.path.basename(sys.argv[0])
    try:
        arguments = parse(sys.argv[1:] if words is None else words)
    except UsageError as error:
        sys.stderr.write(f"{error}\nUsage of {program}:\n{usage()}\n")
        return 2
    if arguments.version:
        sys.stdout.write(f"{program}:\n  Version:  {VERSION}\n  Revision: \n  Go version: \n\n")
        return 0
    try:
        if arguments.info:
            return info()
        # with the bootstrap protocol the namespace may come on stdin alone
        if not arguments.namespace and arguments.action != "start":
            raise ValueError("shim namespace cannot be empty")
        return _act(arguments)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1


def _act(arguments: Arguments) -> int:
    if arguments.action == "delete":
        return delete(arguments)
    from sixhops.shim.startup import serve, start  # noqa: PLC0415 - `delete` runs for every task, and must be quick

    if arguments.action == "start":
        return start(arguments)
    if not arguments.action and arguments.socket:
        return serve(arguments)
    raise ValueError(f"unknown action {arguments.action!r}, expected start or delete")


def info() -> int:
    """Print a RuntimeInfo: the options that come on stdin (an Any, or nothing) are repeated in it, and the runtime's
    features are told. OSError when there is no such runtime.
    """
    from google.protobuf.any_pb2 import Any as AnyMessage  # noqa: PLC0415 - as in _act
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    from sixhops.shim.taskoptions import runtime_options  # noqa: PLC0415
    from sixhops.wire.proto import runtime_info_pb2  # noqa: PLC0415
    from sixhops.wire.ttrpc.status import RpcError  # noqa: PLC0415

    answer = runtime_info_pb2.RuntimeInfo(name=NAME)
    answer.version.version = VERSION
    given = sys.stdin.buffer.read()
    binary = DEFAULT_BINARY
    if given:
        try:
            options = AnyMessage.FromString(given)
            binary = runtime_options(options).binary
        except (DecodeError, RpcError) as error:
            raise ValueError(f"failed to read runtime options (*options.Options): {error}") from error
        answer.options.CopyFrom(options)
    import shutil  # noqa: PLC0415  what is forked with this module loaded needs neither
    import subprocess  # noqa: PLC0415

    found = shutil.which(binary)
    if found is None:
        text = f'exec: "{binary}": executable file not found in $PATH'
        raise ValueError(f'failed to look up the path of "{binary}": {text}')
    features = subprocess.run([found, "features"], capture_output=True, timeout=FEATURES_SECONDS, check=False)
    if features.returncode == 0:  # a runtime need not have that command
        answer.features.type_url = FEATURES
        answer.features.value = features.stdout.strip()
    sys.stdout.buffer.write(answer.SerializeToString())
    sys.stdout.buffer.flush()
    return 0


def delete(arguments: Arguments) -> int:
    """Delete what is left of the container, and print status 137, the time of now and the first process's
    pid.
    """
    bundle = arguments.bundle or os.getcwd()
    pid = 0
    with contextlib.suppress(OSError, ValueError), open(f"{bundle}/init.pid", encoding="utf-8") as file:
        pid = int(file.read())
    loop = Loop()
    loop.catch_signals()
    runtime = Runtime(loop, load_options(bundle), arguments.namespace, f"{bundle}/log.json")
    failures: list[Exception] = []

    async def remove() -> None:
        try:
            await runtime.run(["delete", "--force", arguments.id])
        except (RuntimeFailedError, OSError) as error:
            failures.append(error)
        loop.stop()

    Task(remove())
    loop.run()
    for error in failures:
        sys.stderr.write(f"failed to remove runc container: {error}\n")
    try:
        unmount_below(f"{bundle}/rootfs")
    except OSError as error:
        sys.stderr.write(f"failed to cleanup rootfs mount: {error}\n")
    sockets = SOCKETS
    with contextlib.suppress(OSError):
        sockets = os.readlink(f"{bundle}/{SOCKET_LINK}")
    address = socket_address(arguments.address, arguments.namespace, arguments.id, directory=sockets)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address.removeprefix("unix://"))
    sys.stdout.buffer.write(delete_response(pid, KILLED, time.time_ns()))
    sys.stdout.buffer.flush()
    return 0


def delete_response(pid: int, status: int, exited_at: int) -> bytes:
    """Return containerd.task.v2.DeleteResponse as bytes; `exited_at` in nanoseconds since 1970.

    Written by hand because importing protobuf would take longer than everything else that `delete` does.
    """
    seconds, nanoseconds = divmod(exited_at, 10**9)
    timestamp = b"\x08" + varint(seconds) + (b"\x10" + varint(nanoseconds) if nanoseconds else b"")
    head = b"\x08" + varint(pid) if pid else b""
    return head + b"\x10" + varint(status) + b"\x1a" + varint(len(timestamp)) + timestamp


def main_forked(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Run a command line in a fork of a loaded parent: `words` in `directory`, stdout is the one descriptor."""
    os.dup2(descriptors[0], 1)
    os.chdir(arguments["directory"])
    return main(list(arguments["words"]))


if __name__ == "__main__":
    raise SystemExit(main())
