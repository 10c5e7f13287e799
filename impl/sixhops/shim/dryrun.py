"""Create and Start with nothing behind them, for a shim that waits in reserve.

A fork shares its parent's memory until it writes there, and looking at an object writes to it (its reference count). The
first write to a page costs a fault and a copy, some 3 µs, and there are more than 250 such pages before a container runs.
A shim that has been through that once, at a time when nobody waited, has them, and holds hardly more memory for that:
it would have written to them later. Who asks it is its runtime (`resident`), which waits as well, and whose memory
nobody minds. `rehearsal` is the other half: what it leaves behind is shared by all shims.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the public module would make enumerations of what it returns
import _socket
import contextlib
import importlib
import os
import socket
from typing import TYPE_CHECKING

from sixhops.linux.signals import DEFAULT, set_handler
from sixhops.shim.options import DEFAULT_BINARY, OUR_RUNTIME, is_ours
from sixhops.shim.resident import Resident
from sixhops.shim.server import Settings, run
from sixhops.shim.service import TASK
from sixhops.wire.proto import runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack
from sixhops.wire.ttrpc.calls import CallClient, CallServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from sixhops.shim.loop import Loop

__all__ = ["DryRun"]

NAME = "dry-run"
HERE = "."
PID_FILE = "init.pid"
NO_GATE = "gate"
CAUGHT = (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGUSR1)
CHUNK = 1 << 14
SECONDS = 0.2  # after which it ends however far it is: a container may be waiting


class DryRun:
    """One of them: `ask` is for the runtime's process, and what it needs is open there; the rest is for the shim."""

    def __init__(self, directory: str) -> None:
        """Take `directory`, made if it is missing, for the bundle; it is the working directory from then on. OSError."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        os.chdir(directory)
        self.directory = directory
        file = os.open(PID_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(file, b"0")
        os.close(file)
        self._listener, self._taker = _listening(), _listening()
        self._asked, self._asks = os.pipe2(os.O_CLOEXEC)

    def descriptors(self) -> tuple[int, ...]:
        """Return what `ask` needs."""
        return self._taker.fileno(), self._listener.fileno(), self._asks

    def ask(self) -> None:
        """Be containerd, which makes the calls and takes the events. Does not fail: the shim comes to an end by itself."""
        try:
            with contextlib.suppress(OSError), _Containerd(self._listener, self._taker) as containerd:
                if all(containerd.ask(*question) for question in _questions()):
                    containerd.take_events(2)  # of both
        finally:
            self._listener.close()
            self._taker.close()
            os.close(self._asks)

    def go_through(self, module: str) -> None:
        """Serve what is asked; `module` is the loaded runtime's name.

        Signals that a shim catches are at their defaults afterwards, and children that end meanwhile are not reaped.
        """
        os.close(self._asks)
        is_ours(DEFAULT_BINARY)  # as most name it; whatever that is here, it is not called
        settings = Settings(
            namespace=NAME,
            id=NAME,
            address=HERE,
            events=os.fsdecode(self._taker.getsockname()),
            arguments=[],
            socket=NAME,
            module=module,
        )
        self._taker.close()
        listener = socket.socket(fileno=self._listener.detach())
        _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGCHLD,))
        try:
            run(settings, listener, _Nothing(module, self._asked))
        finally:
            os.close(self._asked)
            _signal.set_wakeup_fd(-1)
            for number in CAUGHT:
                set_handler(number, DEFAULT)
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGCHLD,))


def _listening() -> _socket.socket:
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    listener.bind("")  # the kernel finds an address, which is no file
    listener.listen(1)
    return listener


class _Nothing(Resident):
    """The runtime's process as the shim has it, with nothing to do. `asked` can be read when nobody asks any more."""

    def __init__(self, module: str, asked: int) -> None:  # no process is forked for it
        self._module = module
        self._asked = asked

    def watch(self, loop: Loop) -> None:
        """See to it that the loop ends."""
        loop.on_readable(self._asked, self._finish)
        loop.later(SECONDS, self._finish)

    def _finish(self) -> None:
        os.kill(os.getpid(), _signal.SIGTERM)

    def takes(self, step: str) -> bool:  # noqa: ARG002
        """Tell that every step is."""
        return True

    async def create(self, loop: Loop, argv: Sequence[str], stdio: Sequence[int]) -> int:  # noqa: ARG002
        """Leave it at that: the file with the pid is there."""
        return 0

    async def start(self, loop: Loop) -> int:  # noqa: ARG002
        """Look for a gate where there is none."""
        importlib.import_module(self._module).open_gate(NO_GATE, (self._asked,))
        return 0

    def dismiss(self) -> None:
        """There is no process to let go."""


def _questions() -> tuple[tuple[str, Message], ...]:
    create = shim_v2_pb2.CreateTaskRequest(id=NAME, bundle=HERE)
    pack(create.options, runc_options_pb2.Options(binary_name=f"./{OUR_RUNTIME}", root=HERE))
    return ("Create", create), ("Start", shim_v2_pb2.StartRequest(id=NAME))


class _Containerd:
    """A client of the shim, and who its events go to."""

    def __init__(self, listener: _socket.socket, taker: _socket.socket) -> None:
        self._raw = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._raw.settimeout(SECONDS)
        self._raw.connect(listener.getsockname())
        self._calls = CallClient()
        self._taker = taker
        self._taker.settimeout(SECONDS)
        self._events: _socket.socket | None = None
        self._server = CallServer()

    def __enter__(self) -> _Containerd:
        return self

    def __exit__(self, *exception: object) -> None:
        self._raw.close()
        if self._events is not None:
            self._events.close()

    def ask(self, method: str, request: Message) -> bool:
        """Make a call; False if the answer was an error or the end. OSError."""
        self._raw.send(self._calls.call(TASK.name, method, request.SerializeToString())[1])
        answers = self._calls.receive(self._raw.recv(CHUNK))
        return bool(answers) and answers[0].error is None

    def take_events(self, count: int) -> None:
        """Take events as they come. OSError."""
        self._events = _socket.socket(fileno=self._taker._accept()[0])  # type: ignore[attr-defined]  # noqa: SLF001
        self._events.settimeout(SECONDS)
        while count > 0 and (data := self._events.recv(CHUNK)):
            for call in self._server.receive(data)[0]:
                self._events.send(self._server.answer(call.stream, b""))
                count -= 1
