"""The runtime's process for `create`, forked before there is a container for it.

A fork costs little, but nearly every page that the child then touches costs a fault and a copy: a runtime that is forked
when it is needed spends more time on that than on the container. So a shim that waits for its container (`standby`) has
a runtime that waits as well, and has touched what it will need. It makes the container as the shim's own child and goes;
every other step is forked when it comes. But for `start`, if that is to open the container's gate and no more: then the
runtime leaves what is needed for it, and the shim does it.
Beside it waits a spare, for the same reason: the process that the runtime makes the container's first one of, if it can.

Theory of operation: a SOCK_SEQPACKET pair. The shim sends a command line with the descriptors 0, 1 and 2; the answer is
DONE, with the gate's path and descriptors if there is one to open. Nothing that takes long happens before the shim has
read it: the end of a process takes a millisecond, so the runtime waits for the shim to close the connection. The end
of the process alone is the answer of one that failed, or whose container has become the child of the runtime.
An empty command line only tells which bundle and id it will be, or may be; it is not answered. If there is no such
bundle yet, what its specification will say comes as a descriptor.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import marshal
import os
import select
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn, Protocol

from sixhops.linux import passing, prctl
from sixhops.linux.clone import fork_plainly
from sixhops.linux.fds import keep_only
from sixhops.linux.signals import DEFAULT, set_handler
from sixhops.shim.loop import Future, TimedOutError

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from sixhops.shim.loop import ExitStatus, Loop

__all__ = ["DEFAULT_SIGNALS", "NAME", "Companion", "Resident"]

#: Signals that Python ignores at start; a program that we start must find them at their defaults.
DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
#: Of its process, as of every step that is forked from the shim.
NAME = "containerd-shim"
MESSAGE_LIMIT = 1 << 16
STREAMS = 3
GATE = 8  # descriptors of an offer, at most
PROGRAM_SECONDS = 10.0  # that a program may take to begin
DONE = b"d"


class Companion(Protocol):
    """Something for the runtime to do before it waits (`dryrun`), and a directory that it may use."""

    directory: str

    def descriptors(self) -> tuple[int, ...]:
        """Return what must stay open for it."""

    def ask(self) -> None:
        """Do it."""


class Resident:
    """The shim's end."""

    def __init__(
        self, module: str, document: int = -1, name: str = NAME, companion: Companion | None = None
    ) -> None:
        """Fork the runtime `module`; `document` is a file with a specification like the one to come, or -1.

        `name` is that of the process while it is at work. `companion` has something for it to do first.
        """
        for_runtime, for_spare = passing.pair()
        self._spare_pid = fork_plainly()
        if self._spare_pid == 0:
            _be(module, document, (for_spare.fileno(),), lambda runtime: _become(runtime, for_spare, name))
        for_spare.close()
        self._connection, theirs = passing.pair()
        self._pid = fork_plainly()
        if self._pid == 0:
            first = companion.descriptors() if companion is not None else ()

            def work(runtime: ModuleType) -> int:
                return _serve(runtime, theirs, for_runtime.fileno(), name)

            _be(module, document, (theirs.fileno(), for_runtime.fileno(), *first), work, companion)
        theirs.close()
        for_runtime.close()
        self._module = module
        self._fresh = True
        self._path, self._gate = "", list[int]()
        self._end: Future[ExitStatus] | None = None
        self._spare_end: Future[ExitStatus] | None = None

    def foretell(self, bundle: str, identifier: str, *document: int) -> None:
        """Tell it of the container that it will have to create, so that it can read while we are at work.

        `document` is a file with the specification, if that is not in the bundle yet.
        """
        with contextlib.suppress(OSError):  # it is far behind, or has gone, and the step will show it
            passing.send(self._connection, marshal.dumps(((), (bundle, identifier))), document, wait=False)

    def watch(self, loop: Loop) -> None:
        """Have the processes' ends told by the loop that runs from now on."""
        self._spare_end = loop.child(self._spare_pid)
        self._end = loop.child(self._pid)
        self._end.on_done(self._ended)

    def _ended(self) -> None:
        """Let the spare go as well; one that a container has come of without us is ended by its program's begin."""
        assert self._end is not None
        if self._end.result().status:
            self._end_spare()

    def _done(self) -> None:
        os.sched_yield()  # who was answered has been woken, maybe on this processor, and goes first
        self._end_spare()
        self.dismiss()

    def _end_spare(self) -> None:
        """End the spare, whose successor, if it has one, goes on in their memory."""
        assert self._spare_end is not None
        if not self._spare_end.done:
            os.kill(self._spare_pid, signal.SIGKILL)

    def _runtime(self) -> ModuleType:
        return importlib.import_module(self._module)

    def takes(self, step: str) -> bool:
        """Tell whether `step` is one that is done here."""
        return self._fresh if step == "create" else step == "start" and bool(self._gate)

    async def create(self, loop: Loop, argv: Sequence[str], stdio: Sequence[int]) -> int | None:
        """Run the step; return its exit status, or None when it was not begun."""
        assert self._end is not None
        self._fresh = False
        try:
            passing.send(self._connection, marshal.dumps((tuple(argv), os.getcwd())), tuple(stdio))
        except OSError:
            self.dismiss()
            return None
        await self._answered(loop, self._end)
        answer = b""
        try:
            answer, self._gate = passing.receive(self._connection, MESSAGE_LIMIT, GATE, wait=False)
        except ConnectionResetError:
            self.dismiss()
            return None  # it never read what was sent
        except BlockingIOError:
            pass
        if not answer:
            self.dismiss()
            return (await self._end).status
        self._path = answer[len(DONE) :].decode()
        loop.soon(self._done)  # once this has been answered
        return 0

    async def start(self, loop: Loop) -> int | None:
        """Open the container's gate if that was offered, and return 0 when its program has begun; else None."""
        assert self._end is not None
        descriptors, self._gate = self._gate, []
        if not descriptors:
            return None
        try:
            if not self._runtime().open_gate(self._path, descriptors):
                return None
            if await _begun(loop, descriptors[0]):
                if not self._end.done:  # now we wait for it; who may not raise a priority waits longer
                    with contextlib.suppress(OSError):
                        os.sched_setscheduler(self._pid, os.SCHED_OTHER, os.sched_param(0))
                await self._end  # so that from here on the container is our only child
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return 0

    async def _answered(self, loop: Loop, end: Future[ExitStatus]) -> None:
        """Wait for a word, or for the end of the process, whose child may have kept its side of the socket open."""
        either: Future[None] = Future()
        end.on_done(lambda: either.set(None))
        loop.on_readable(self._connection.fileno(), lambda: either.set(None))
        try:
            await either
        finally:
            loop.forget(self._connection.fileno())

    def dismiss(self) -> None:
        """Let the process go, if it is still there."""
        self._fresh = False
        self._connection.close()


async def _begun(loop: Loop, gate: int) -> bool:
    """Wait until the first process has become the program or has died, and closed its side of the gate by that: True.

    A hook inside the container may take longer than the bound; a runtime would not wait for it any longer either.
    """
    try:
        await loop.within(loop.readable(gate), PROGRAM_SECONDS)
    except TimedOutError:
        return False
    finally:
        loop.forget(gate)
    return True


def _be(
    module: str,
    document: int,
    kept: Sequence[int],
    work: Callable[[ModuleType], int],
    companion: Companion | None = None,
) -> NoReturn:
    """Be a process that has gone through a create like the one in the file `document`, and does `work`."""
    status = 1
    gc.disable()  # it would copy pages to free some that are freed in a moment anyway
    try:
        signal.set_wakeup_fd(-1)
        for ignored in DEFAULT_SIGNALS:
            set_handler(ignored, DEFAULT)
        text = b""
        if document >= 0:
            text = os.pread(document, os.fstat(document).st_size, 0)
        keep_only(frozenset({0, 1, 2, *kept}))
        directory = ""
        if companion is not None:
            companion.ask()
            directory = companion.directory
        runtime = importlib.import_module(module)
        if text:
            runtime.rehearse(text.decode(errors="replace"), directory)
        status = work(runtime)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process ends here either way; its output is in the error of the call
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _become(runtime: ModuleType, connection: _socket.socket, name: str) -> int:
    return int(runtime.become(connection.detach(), lambda: prctl.set_name(name)))


def _serve(runtime: ModuleType, connection: _socket.socket, spare: int, name: str) -> int:
    argv: tuple[str, ...] = ()
    while not argv:
        data, streams = passing.receive(connection, MESSAGE_LIMIT, STREAMS)
        if not data:
            return 0
        argv, where = marshal.loads(data)
        if not argv:
            _foresee(runtime, where, spare, streams, connection)
    prctl.set_name(name)
    os.chdir(where)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    answered = False

    def answer(path: str, descriptors: tuple[int, ...]) -> None:
        nonlocal answered
        if _has_children():
            return
        answered = True
        _let_go_of_streams()
        passing.send(connection, DONE + path.encode(), descriptors)

    status = int(runtime.main(argv[1:], sibling=True, spare=spare, offer=answer) or 0)
    if status or _has_children():
        return status
    if not answered:
        answer("", ())
    with contextlib.suppress(OSError):
        # its end takes a millisecond of a processor, which others shall have first
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        connection.recv(1)  # nothing, but the other side's end
    return 0


def _foresee(
    runtime: ModuleType, where: tuple[str, str], spare: int, document: list[int], connection: _socket.socket
) -> None:
    """Read ahead, unless there is a later word already: that counts."""
    text = None
    try:
        if document:
            if select.select([connection], [], [], 0)[0]:
                return
            text = os.pread(document[0], os.fstat(document[0]).st_size, 0).decode(errors="replace")
    finally:
        for descriptor in document:
            os.close(descriptor)
    runtime.foresee(*where, spare, text)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _let_go_of_streams() -> None:
    """Leave the container's streams to the container: their ends must be seen."""
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in range(STREAMS):
        os.dup2(null, number)
    os.close(null)
