"""The shim as a running process: its socket, its connections, calls in and answers out.

`run` is the whole life of a shim, whether it was started by its own command line or forked from
containerd's loaded parent (`run_forked`, named to the fork server as data).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sixhops.linux import prctl
from sixhops.linux.arguments import set_arguments
from sixhops.shim.log import Log
from sixhops.shim.loop import WRITE, Loop, Task
from sixhops.shim.publisher import Publisher
from sixhops.shim.service import TaskService
from sixhops.wire.proto import shim_v2_pb2
from sixhops.wire.proto.services import Method, service
from sixhops.wire.ttrpc.calls import Call, CallServer
from sixhops.wire.ttrpc.frames import FrameError
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from google.protobuf.message import Message

__all__ = ["Settings", "run", "run_forked"]

NAME = "containerd-shim"
OOM_SCORE_MAXIMUM = 1000
FLUSH_SECONDS = 3.0
TASK = service(shim_v2_pb2.DESCRIPTOR, "Task")
# the messages of version 3 are those of version 2, number for number
SERVICES = frozenset({TASK.name, "containerd.task.v3.Task"})
# the empty reply has the same bytes whatever it is called
METHODS = {name: method.attribute for name, method in TASK.methods.items()}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a shim must know. `module` names our loaded runtime, None when the runtime is to be exec'd."""

    namespace: str
    id: str
    address: str
    events: str
    arguments: list[str]
    socket: str
    debug: bool = False
    default_binary: str = "runc"
    module: str | None = None


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
            data = self._socket.recv(1 << 16)
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


def run(settings: Settings, listener: socket.socket) -> int:
    """Be the shim until containerd shuts it down; the process must be set up (`settle`). Return the exit
    status.
    """
    loop = Loop()
    log = Log(
        debug=settings.debug,
        namespace=settings.namespace,
        pid=str(os.getpid()),
        runtime="io.containerd.sixhops.v1",
    )
    publisher = Publisher(loop, settings.events, settings.namespace, log)
    tasks = TaskService(
        loop,
        settings.namespace,
        publisher,
        log,
        default_binary=settings.default_binary,
        module=settings.module,
        shutdown=lambda: loop.soon(lambda: _finish(loop, publisher)),
    )

    async def handle(call: Call) -> bytes:
        if call.service not in SERVICES:
            raise RpcError(Code.UNIMPLEMENTED, f"service {call.service}")
        method = TASK.methods.get(call.method)
        if method is None:
            raise RpcError(Code.UNIMPLEMENTED, f"method {call.method}")
        reply: Message = await getattr(tasks, METHODS[call.method])(_parse(method, call.payload))
        return reply.SerializeToString()

    def accept() -> None:
        try:
            raw, _address = listener.accept()
        except BlockingIOError:
            return  # the peer gave up between its connect and now
        connections.append(Connection(loop, raw, handle, log))

    connections: list[Connection] = []

    def report(error: Exception) -> None:
        log.error("".join(traceback.format_exception(error)))

    loop.on_error = report
    prctl.set_subreaper()
    loop.catch_signals()
    listener.setblocking(False)
    loop.on_readable(listener.fileno(), accept)
    log.debug("serving api on socket")
    loop.run()
    for connection in connections:
        connection.close()
    listener.close()
    with contextlib.suppress(FileNotFoundError):
        Path(settings.socket).unlink()
    return 0


def _parse(method: Method, payload: bytes) -> Message:
    request = method.request()
    try:
        request.ParseFromString(payload)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, f"ttrpc: error unmarshalling payload: {error}") from error
    return request


def _finish(loop: Loop, publisher: Publisher) -> None:
    """End the loop once the answer to Shutdown is out and the events are delivered."""

    def end() -> None:
        publisher.close()
        loop.stop()

    publisher.flushed().on_done(lambda: loop.later(0.0, end))
    # containerd gives Shutdown three seconds; events that it doesn't take by then are lost
    loop.later(FLUSH_SECONDS, end)


def settle(settings: Settings) -> None:
    """Make this process look and behave like a shim: name, arguments, group, signals, descriptors, OOM
    score.
    """
    os.setpgid(0, 0)
    prctl.set_name(NAME)
    set_arguments(settings.arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # upstream's shim ends by Shutdown or SIGKILL only: ending it would take the container along
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    with contextlib.suppress(OSError):
        # the log fifo is opened for both so that a reader's absence neither blocks nor breaks it
        log = os.open("log", os.O_RDWR | os.O_NONBLOCK)
        os.dup2(log, 2)
        os.close(log)
    with contextlib.suppress(OSError):
        path = Path("/proc/self/oom_score_adj")
        score = int(path.read_text())
        # one more than containerd's, so that the kernel takes the shim first
        path.write_text(str(min(score + 1, OOM_SCORE_MAXIMUM)))


def run_forked(arguments: dict[str, Any], descriptors: list[int]) -> int:
    """Be a shim in a fresh fork: `arguments` are those of Settings and `bundle`; descriptor 0 of the list
    listens.
    """
    started = time.monotonic()
    gc.freeze()
    os.chdir(arguments.pop("bundle"))
    settings = Settings(**arguments)
    settle(settings)
    listener = socket.socket(fileno=descriptors[0])
    log = Log(debug=settings.debug, pid=str(os.getpid()))
    log.debug(f"forked shim ready after {time.monotonic() - started:.4f} s")
    return run(settings, listener)
