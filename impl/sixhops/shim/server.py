"""The shim as a running process: its socket, its connections, calls in and answers out.

`run` is the whole life of a shim, whether it was started by its own command line or forked from
containerd's loaded parent (`run_forked`, named to the fork server as data).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sixhops.linux import arguments as shown_arguments
from sixhops.linux import prctl
from sixhops.linux.compaction import gather_code
from sixhops.shim.container import Shim
from sixhops.shim.log import Log
from sixhops.shim.loop import WRITE, Loop, Task
from sixhops.shim.metrics import find_hierarchies
from sixhops.shim.publisher import Publisher
from sixhops.shim.service import answer
from sixhops.wire.ttrpc.calls import Call, CallServer
from sixhops.wire.ttrpc.frames import FrameError
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sixhops.shim.resident import Resident

__all__ = ["Settings", "prepare_here", "run", "run_forked", "settle", "settle_alone"]

NAME = "containerd-shim"
OOM_SCORE_MAXIMUM = 1000
FLUSH_SECONDS = 3.0
CHUNK = 1 << 14


@dataclass(frozen=True, slots=True)
class Settings:
    """What a shim must know. `module` names our loaded runtime, None when the runtime is to be exec'd.

    `events` is containerd's ttrpc socket, `publish_binary` what takes events where there is none; `name` that of the
    process.
    """

    namespace: str
    id: str
    address: str
    events: str
    arguments: list[str]
    socket: str
    debug: bool = False
    default_binary: str = "runc"
    module: str | None = None
    publish_binary: str = ""
    name: str = NAME


class Connection:
    """One connection from containerd."""

    def __init__(
        self, loop: Loop, raw: socket.socket, handle: Callable[[Call], Coroutine[Any, None, bytes]], log: Log
    ) -> None:
        self._loop = loop
        self._socket = raw
        self._handle = handle
        self._log = log
        self._calls = CallServer()
        self._out = bytearray()
        self._open = True
        raw.setblocking(False)
        loop.on_readable(raw.fileno(), self._read)

    def _read(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
            calls, refusals = self._calls.receive(data)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            self._log.error(f"ttrpc connection dropped: {error}")
            self.close()
            return
        if refusals:
            self._send(refusals)
        for call in calls:
            Task(self._answer(call))
        if not data:
            self.close()

    async def _answer(self, call: Call) -> None:
        try:
            reply = self._calls.answer(call.stream, await self._handle(call))
        except RpcError as error:
            reply = self._calls.refuse(call.stream, error)
        except Exception as error:  # noqa: BLE001 - one bad call must not end the shim; the caller is told
            self._log.error(f"{call.method}: {type(error).__name__}: {error}")
            reply = self._calls.refuse(call.stream, RpcError(Code.UNKNOWN, str(error)))
        self._send(reply)

    def _send(self, data: bytes) -> None:
        if self._open:
            self._out += data
            self._write()

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._log.error(f"ttrpc connection dropped: {error}")
            self.close()
            return
        del self._out[:sent]
        if self._out:
            self._loop.on_writable(self._socket.fileno(), self._write)
        else:
            self._loop.forget(self._socket.fileno(), WRITE)

    def close(self) -> None:
        """Close the connection; answers that come later are dropped."""
        if self._open:
            self._open = False
            self._loop.forget(self._socket.fileno())
            self._socket.close()


def run(settings: Settings, listener: socket.socket, resident: Resident | None = None) -> int:
    """Be the shim until containerd shuts it down; the process must be set up (`settle`). Return the exit
    status. `resident` is the runtime that waits for the first container.
    """
    loop = Loop()
    log = Log(
        debug=settings.debug,
        namespace=settings.namespace,
        pid=str(os.getpid()),
        runtime="io.containerd.sixhops.v1",
    )
    command = (settings.publish_binary, "--address", settings.address) if settings.publish_binary else ()
    publisher = Publisher(loop, settings.events, settings.namespace, log, command)

    def shutdown() -> None:
        # Before Shutdown is answered: the next shim of this container may listen at the same path from then on.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(settings.socket)
        loop.soon(lambda: _finish(loop, publisher))

    shim = Shim(loop, settings.namespace, publisher, log, settings.default_binary, settings.module, shutdown)
    if resident is not None:
        resident.watch(loop)
        shim.resident = resident

    async def handle(call: Call) -> bytes:
        return await answer(shim, call)

    def accept() -> None:
        try:
            # not accept(), which asks for family and type as enumerations first
            raw = socket.socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]  # noqa: SLF001
        except BlockingIOError:
            return  # the peer gave up between its connect and now
        if _is_stranger(raw):
            log.error("ttrpc: refusing connection of another user")
            raw.close()
            return
        connections.append(Connection(loop, raw, handle, log))

    connections: list[Connection] = []

    def report(error: Exception) -> None:
        log.error("".join(traceback.format_exception(error)))

    def dump() -> None:
        states = [
            f"{name}: {[(each or 'init', process.state.name) for each, process in found.processes.items()]}"
            for name, found in shim.containers.items()
        ]
        log.info(f"state dump: {'; '.join(states) or 'no container'}")

    loop.on_error = report
    prctl.set_subreaper()
    # as upstream's shim, which SIGTERM ends; containerd then takes it for dead and clears away
    loop.catch_signals({signal.SIGTERM: shutdown, signal.SIGINT: shutdown, signal.SIGUSR1: dump})
    listener.setblocking(False)
    loop.on_readable(listener.fileno(), accept)
    log.debug("serving api on socket")
    loop.run()
    for connection in connections:
        connection.close()
    listener.close()
    loop.close()
    return 0


def _is_stranger(raw: socket.socket) -> bool:
    """Tell whether the peer is of another user, whom upstream's server refuses as well."""
    credentials = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder) != os.geteuid()


def _finish(loop: Loop, publisher: Publisher) -> None:
    """End the loop once the answer to Shutdown is out and the events are delivered."""

    def end() -> None:
        publisher.close()
        loop.stop()

    publisher.flushed().on_done(lambda: loop.later(0.0, end))
    # containerd gives Shutdown three seconds; events that it doesn't take by then are lost
    loop.later(FLUSH_SECONDS, end)


def settle(settings: Settings) -> None:
    """Make this process look and behave like a shim: name, arguments, descriptors; `settle_alone` is the rest."""
    prctl.set_name(settings.name)
    shown_arguments.set_arguments(settings.arguments)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    with contextlib.suppress(OSError):
        # the log fifo is opened for both so that a reader's absence neither blocks nor breaks it
        log = os.open("log", os.O_RDWR | os.O_NONBLOCK)
        os.dup2(log, 2)
        os.close(log)


def settle_alone() -> None:
    """The part of `settle` that needs no bundle and that the shim's children share: group and OOM score."""
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        own = os.open("/proc/self/oom_score_adj", os.O_RDWR)
        score = int(os.read(own, 16))
        # one more than containerd's, so that the kernel takes the shim first
        os.pwrite(own, b"%d" % min(score + 1, OOM_SCORE_MAXIMUM), 0)
        os.close(own)


def prepare_here(_arguments: dict[str, Any]) -> None:
    """Do in a fork server what is the same for all shims, so that none of them has to, or has the memory for it."""
    from sixhops.shim.rehearsal import rehearse  # noqa: PLC0415 - it needs this module

    shown_arguments.prepare()
    find_hierarchies()
    gather_code(lambda: rehearse(1))
    rehearse()


def run_forked(arguments: dict[str, Any], descriptors: list[int], resident: Resident | None = None) -> int:
    """Be a shim in a fork: `arguments` are those of Settings and `bundle`; descriptor 0 of the list listens.

    With a `resident` runtime the process has settled before.
    """
    os.chdir(arguments.pop("bundle"))
    settings = Settings(**arguments)
    if resident is None:
        settle_alone()
    settle(settings)
    return run(settings, socket.socket(fileno=descriptors[0]), resident)
