"""`start`: find or make the shim that serves a container, and tell containerd its address.

containerd asks in one of three ways, and is answered in the same:

- up to 1.6: the runtime's options on stdin (an Any, or nothing), the plain address as answer
- from 1.7: the same with MAX_SHIM_VERSION in the environment; the answer is JSON with version, address and protocol
- from 2.3: BootstrapParams on stdin, BootstrapResult as answer (containerd.runtime.bootstrap.v1)

Both bootstrap messages are read and written by hand: protobuf takes longer to import than all else that is done here.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.shim.options import SOCKET_LINK, SOCKETS, socket_address
from sixhops.shim.varint import fields, varint

if TYPE_CHECKING:
    from sixhops.shim.options import Arguments

__all__ = ["serve", "start"]

GROUP_ANNOTATIONS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
INPUT_LIMIT = 10 << 20
PATH_LIMIT = 106  # of a unix socket, as upstream has it
DEBUG_LEVEL = -4
JSON_VERSION, BOOTSTRAP_VERSION = 2, 3
PR_SCHED_CORE, PR_SCHED_CORE_CREATE, PROCESS_GROUP = 62, 1, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Bootstrap:
    """What BootstrapParams say that the command line doesn't."""

    namespace: str
    id: str
    address: str
    events: str
    publish_binary: str
    debug: bool
    sockets: str


def start(arguments: Arguments) -> int:
    """Listen, fork the shim and print its address. In a group's second container the first one's address
    is printed.
    """
    given = sys.stdin.buffer.read(INPUT_LIMIT)  # else the runtime's options, which Create brings again
    bootstrap = _bootstrap(given, arguments)
    sockets, events = SOCKETS, os.environ.get("TTRPC_ADDRESS", "")
    if bootstrap is not None:
        arguments = dataclasses.replace(
            arguments,
            namespace=bootstrap.namespace or arguments.namespace,
            id=bootstrap.id,
            address=bootstrap.address or arguments.address,
            publish_binary=bootstrap.publish_binary or arguments.publish_binary,
            debug=bootstrap.debug or arguments.debug,
        )
        sockets, events = bootstrap.sockets or SOCKETS, bootstrap.events or events
        if bootstrap.sockets:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(SOCKET_LINK)
            os.symlink(bootstrap.sockets, SOCKET_LINK)
    if not arguments.namespace:
        raise ValueError("shim namespace cannot be empty")
    group = _group(Path.cwd()) or arguments.id
    address = socket_address(arguments.address, arguments.namespace, group, directory=sockets)
    path = address.removeprefix("unix://")
    listener = _listen(path)
    if listener is not None:
        # written before the fork, for the shim to find
        _write_address(address)
        if os.environ.get("SCHED_CORE"):
            _share_core()
        if os.fork() == 0:
            status = 1
            try:
                status = _become(arguments, listener, path, events)
            finally:
                os._exit(status)
    else:
        _write_address(address)
    sys.stdout.buffer.write(_answer(address, bootstrap is not None))
    sys.stdout.flush()
    return 0


def serve(arguments: Arguments) -> int:
    """Be the shim in this process, on the socket that -socket names."""
    if len(os.fsencode(arguments.socket)) > PATH_LIMIT:
        raise OSError(f'"{arguments.socket}": unix socket path too long (> {PATH_LIMIT})')
    listener = _listen(arguments.socket)
    if listener is None:
        raise OSError(f"{arguments.socket}: a shim answers there already")
    return _become(arguments, listener, arguments.socket, os.environ.get("TTRPC_ADDRESS", ""))


def _become(arguments: Arguments, listener: socket.socket, path: str, events: str) -> int:
    # here, because `delete` needs none of it: half of its time would be spent on importing
    from sixhops.shim.server import Settings, run, settle, settle_alone  # noqa: PLC0415

    settings = Settings(
        namespace=arguments.namespace,
        id=arguments.id,
        address=arguments.address,
        events=events or f"{arguments.address}.ttrpc",
        arguments=_server_arguments(sys.argv[0], arguments),
        socket=path,
        debug=arguments.debug,
        publish_binary=arguments.publish_binary,
    )
    settle_alone()
    settle(settings)
    return run(settings, listener)


def _server_arguments(program: str, arguments: Arguments) -> list[str]:
    """Return the command line that the long-lived shim shows."""
    words = [program, "-namespace", arguments.namespace, "-id", arguments.id, "-address", arguments.address]
    return [*words, "-debug"] if arguments.debug else words


def _bootstrap(data: bytes, arguments: Arguments) -> Bootstrap | None:
    """Read BootstrapParams; None for anything else. An Any has strings in the same places, but not this id."""
    try:
        found = dict(fields(data))
    except ValueError:
        return None

    def text(number: int) -> str:
        value = found.get(number, b"")
        return value.decode(errors="replace") if isinstance(value, bytes) else ""

    if not text(1) or (arguments.id and text(1) != arguments.id):
        return None
    level = found.get(3, 0)
    return Bootstrap(
        namespace=text(2),
        id=text(1),
        address=text(6),
        events=text(5),
        publish_binary=text(7),
        debug=isinstance(level, int) and level - ((level >> 63) << 64) <= DEBUG_LEVEL,
        sockets=text(9),
    )


def _answer(address: str, bootstrap: bool) -> bytes:
    if bootstrap:
        shown, protocol = address.encode(), b"ttrpc"
        head = b"\x08" + varint(BOOTSTRAP_VERSION)
        return head + b"\x12" + varint(len(shown)) + shown + b"\x1a" + varint(len(protocol)) + protocol
    if os.environ.get("MAX_SHIM_VERSION"):
        answer = {"version": JSON_VERSION, "address": address, "protocol": "ttrpc"}
        return json.dumps(answer, separators=(",", ":")).encode()
    return address.encode()


def _write_address(address: str) -> None:
    Path(".address").write_text(address)
    os.rename(".address", "address")


def _share_core() -> None:
    """Give this process group a core of its own, as containerd's option enable core scheduling wants; OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(word) for word in (PR_SCHED_CORE_CREATE, 0, PROCESS_GROUP, 0)]
    if libc.prctl(PR_SCHED_CORE, *words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"enable sched core support: {os.strerror(number).lower()}")


def _group(bundle: Path) -> str:
    """Return the group that the container's annotations name; ValueError for a bad document, OSError without one."""
    try:
        document = json.loads((bundle / "config.json").read_text())
    except FileNotFoundError as error:
        raise OSError("open config.json: no such file or directory") from error
    annotations = document.get("annotations") or {} if isinstance(document, dict) else {}
    # the first that is there, even if it is empty, is the one that counts
    return next((annotations[name] for name in GROUP_ANNOTATIONS if name in annotations), "")


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
