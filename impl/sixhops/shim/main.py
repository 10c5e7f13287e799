"""The command line of containerd-shim-sixhops-v1: what containerd calls to start a shim, and to clean up
after a dead one.

    start    forks the shim, prints its address
    delete   kills and deletes what a dead shim left, prints a DeleteResponse
    -v       version;  -info  what this shim is (RuntimeInfo);  -socket PATH without either: serve there

It also works under the name of upstream's shim, containerd-shim-runc-v2.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from sixhops.linux.mountlist import unmount_below
from sixhops.shim.loop import Loop, Task
from sixhops.shim.options import Arguments, UsageError, load_options, parse, socket_address
from sixhops.shim.runtime import Runtime, RuntimeFailedError

__all__ = ["delete_response", "main", "main_forked"]

VERSION = "0.1.0"
NAME = "io.containerd.sixhops.v1"
KILLED = 137
GROUP_ANNOTATIONS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")


def main(words: list[str] | None = None) -> int:
    """Run the shim's command line; return the exit status."""
    try:
        arguments = parse(sys.argv[1:] if words is None else words)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    program = Path(sys.argv[0]).name
    if arguments.version:
        sys.stdout.write(f"{program}:\n  Version:  {VERSION}\n  Revision: \n  Go version: \n\n")
        return 0
    if arguments.info:
        return info()
    if not arguments.namespace:
        sys.stderr.write(f"{program}: shim namespace cannot be empty\n")
        return 1
    try:
        if arguments.action == "start":
            return start(arguments)
        if arguments.action == "delete":
            return delete(arguments)
        if not arguments.action and arguments.socket:
            return serve(arguments)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    sys.stderr.write(f"{program}: unknown action {arguments.action!r}, expected start or delete\n")
    return 1


def info() -> int:
    """Print a RuntimeInfo; the options that come on stdin (an Any, or nothing) are repeated in it."""
    from google.protobuf.any_pb2 import Any as AnyMessage  # noqa: PLC0415 - as in start

    from sixhops.wire.proto import runtime_info_pb2  # noqa: PLC0415

    answer = runtime_info_pb2.RuntimeInfo(name=NAME)
    answer.version.version = VERSION
    given = sys.stdin.buffer.read()
    if given:
        answer.options.CopyFrom(AnyMessage.FromString(given))
    sys.stdout.buffer.write(answer.SerializeToString())
    sys.stdout.buffer.flush()
    return 0


def serve(arguments: Arguments) -> int:
    """Be the shim in this process, on the socket that -socket names."""
    listener = _listen(arguments.socket)
    if listener is None:
        raise OSError(f"{arguments.socket}: a shim answers there already")
    return _become(arguments, listener, arguments.socket)


def _become(arguments: Arguments, listener: socket.socket, path: str) -> int:
    # here, because `delete` needs none of it: half of its time would be spent on importing
    from sixhops.shim.server import Settings, run, settle  # noqa: PLC0415

    settings = Settings(
        namespace=arguments.namespace,
        id=arguments.id,
        address=arguments.address,
        events=os.environ.get("TTRPC_ADDRESS") or arguments.address + ".ttrpc",
        arguments=server_arguments(sys.argv[0], arguments),
        socket=path,
        debug=arguments.debug,
    )
    settle(settings)
    return run(settings, listener)


def start(arguments: Arguments) -> int:
    """Listen, fork the shim and print its address. In a group's second container the first one's address
    is printed.
    """
    sys.stdin.buffer.read()  # the runtime options; Create brings them again
    address = socket_address(arguments.address, arguments.namespace, _group(Path.cwd()) or arguments.id)
    path = address.removeprefix("unix://")
    listener = _listen(path)
    if listener is not None and os.fork() == 0:
        status = 1
        try:
            status = _become(arguments, listener, path)
        finally:
            os._exit(status)
    Path("address").write_text(address)
    sys.stdout.write(address)
    sys.stdout.flush()
    return 0


def server_arguments(program: str, arguments: Arguments) -> list[str]:
    """Return the command line that the long-lived shim shows."""
    words = [program, "-namespace", arguments.namespace, "-id", arguments.id, "-address", arguments.address]
    return [*words, "-debug"] if arguments.debug else words


def _group(bundle: Path) -> str:
    try:
        annotations = json.loads((bundle / "config.json").read_text()).get("annotations") or {}
    except (OSError, ValueError):
        return ""
    return next((annotations[name] for name in GROUP_ANNOTATIONS if annotations.get(name)), "")


def _listen(path: str) -> socket.socket | None:
    """Return a listening socket, or None when a shim answers there already; a dead one's socket is
    replaced.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(path)
    except OSError:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(path) == 0:
                listener.close()
                return None
        Path(path).unlink()
        listener.bind(path)
    Path(path).chmod(0o600)
    listener.listen(128)
    return listener


def delete(arguments: Arguments) -> int:
    """Delete what is left of the container, and print status 137, the time of now and the first process's
    pid.
    """
    bundle = Path(arguments.bundle) if arguments.bundle else Path.cwd()
    pid = 0
    with contextlib.suppress(OSError, ValueError):
        pid = int((bundle / "init.pid").read_text())
    loop = Loop()
    loop.catch_signals()
    runtime = Runtime(loop, load_options(bundle), arguments.namespace, bundle / "log.json")
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
    with contextlib.suppress(OSError):
        unmount_below(bundle / "rootfs")
    address = socket_address(arguments.address, arguments.namespace, arguments.id)
    with contextlib.suppress(FileNotFoundError):
        Path(address.removeprefix("unix://")).unlink()
    sys.stdout.buffer.write(delete_response(pid, KILLED, time.time_ns()))
    sys.stdout.buffer.flush()
    return 0


def delete_response(pid: int, status: int, exited_at: int) -> bytes:
    """Return containerd.task.v2.DeleteResponse as bytes; `exited_at` in nanoseconds since 1970.

    Written by hand because importing protobuf would take longer than everything else that `delete` does.
    """
    seconds, nanoseconds = divmod(exited_at, 10**9)
    timestamp = b"\x08" + _varint(seconds) + (b"\x10" + _varint(nanoseconds) if nanoseconds else b"")
    head = b"\x08" + _varint(pid) if pid else b""
    return head + b"\x10" + _varint(status) + b"\x1a" + _varint(len(timestamp)) + timestamp


def _varint(number: int) -> bytes:
    """Return `number` in protobuf's base 128, least significant part first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def main_forked(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Run a command line in a fork of a loaded parent: `words` in `directory`, stdout is the one descriptor."""
    os.dup2(descriptors[0], 1)
    os.chdir(arguments["directory"])
    return main(list(arguments["words"]))


if __name__ == "__main__":
    raise SystemExit(main())
