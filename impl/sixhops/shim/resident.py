"""The runtime's process for `create` and `start`, forked before there is a container for it.

A fork costs little, but nearly every page that the child then touches costs a fault and a copy: a runtime that is forked
when it is needed spends more time on that than on the container. So a shim that waits for its container (`standby`) has
a runtime that waits as well, and has touched what it will need. It makes the container as the shim's own child, stays
for the start, and goes; every other step is forked when it comes. One that is not needed in time goes by itself.
Beside it waits a spare, for the same reason: the process that the runtime makes the container's first one of, if it can.
It is there until that one has become the container's program; where no start comes, it goes with the runtime.

Theory of operation: a SOCK_SEQPACKET pair. The shim sends a command line with the descriptors 0, 1 and 2; the answer to a
step that is not the last one is DONE. The last one is answered by the end of the process, as is one that failed, or
whose container has become the child of the runtime. GONE: the runtime leaves, and has not begun what was sent.
OPENED, with the container's gate: it leaves while the container's process becomes the program, and the shim awaits both.
An empty command line only tells which bundle and id it will be; it is not answered.
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
from typing import TYPE_CHECKING, NoReturn

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

__all__ = ["DEFAULT_SIGNALS", "NAME", "Resident"]

#: Signals that Python ignores at start; a program that we start must find them at their defaults.
DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
STEPS = ("create", "start")
#: Of its process, as of every step that is forked from the shim.
NAME = "containerd-shim"
IDLE_SECONDS = 5.0  # between the steps
MESSAGE_LIMIT = 1 << 16
STREAMS = 3
PROGRAM_SECONDS = 10.0  # that a program may take to begin
DONE, GONE, OPENED = b"d", b"g", b"o"


class Resident:
    """The shim's end. Each of STEPS can be run once, in their order."""

    def __init__(self, module: str, document: int = -1, name: str = NAME) -> None:
        """Fork the runtime `module`; `document` is a file with a specification like the one to come, or -1.

        `name` is that of the process while it is at work.
        """
        self._connection, theirs = passing.pair()
        for_runtime, for_spare = passing.pair()
        self._spare_pid = fork_plainly()
        if self._spare_pid == 0:
            _be(module, document, (for_spare.fileno(),), lambda runtime: _become(runtime, for_spare, name))
        for_spare.close()
        self._pid = fork_plainly()
        if self._pid == 0:
            kept = (theirs.fileno(), for_runtime.fileno())
            _be(module, document, kept, lambda runtime: _serve(runtime, theirs, for_runtime.fileno(), name))
        theirs.close()
        for_runtime.close()
        self._steps = list(STEPS)
        self._end: Future[ExitStatus] | None = None
        self._spare_end: Future[ExitStatus] | None = None

    def foretell(self, bundle: str, identifier: str) -> None:
        """Tell it of the container that it will have to create, so that it can read while we are at work."""
        with contextlib.suppress(OSError):  # it has gone, and the step will show it
            self._connection.send(marshal.dumps(((), (bundle, identifier))))

    def watch(self, loop: Loop) -> None:
        """Have the processes' ends told by the loop that runs from now on."""
        self._spare_end = loop.child(self._spare_pid)
        self._end = loop.child(self._pid)
        self._end.on_done(self._ended)

    def _ended(self) -> None:
        """Let the spare go as well, unless a program is about to begin, which ends it."""
        assert self._end is not None
        assert self._spare_end is not None
        if self._end.result().status and not self._spare_end.done:
            os.kill(self._spare_pid, signal.SIGKILL)

    def takes(self, step: str) -> bool:
        """Tell whether `step` is the next one."""
        return self._steps[:1] == [step]

    async def run(self, loop: Loop, argv: Sequence[str], stdio: Sequence[int]) -> int | None:
        """Run the next step; return its exit status, or None when it was not begun."""
        assert self._end is not None
        self._steps.pop(0)
        try:
            passing.send(self._connection, marshal.dumps((tuple(argv), os.getcwd())), tuple(stdio))
        except OSError:
            self.dismiss()
            return None
        await self._answered(loop, self._end)
        gate: list[int] = []
        try:
            answer, gate = passing.receive(self._connection, 1, 1, wait=False)
        except ConnectionResetError:
            answer = GONE  # it never read what was sent
        except BlockingIOError:
            answer = b""
        if answer == DONE:
            return 0
        self.dismiss()
        for descriptor in gate:
            if await _begun(loop, descriptor):
                assert self._spare_end is not None
                await self._spare_end  # from here on the container is our only child
        return None if answer == GONE else (await self._end).status

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
        """Let it go, if it is still there."""
        self._steps = []
        self._connection.close()


async def _begun(loop: Loop, gate: int) -> bool:
    """Wait until the first process has become the program or has died, and closed its side of the gate by that: True.

    A hook inside the container may take longer than the bound; the runtime would not wait for it any longer either.
    """
    try:
        await loop.within(loop.readable(gate), PROGRAM_SECONDS)
    except TimedOutError:
        return False
    finally:
        loop.forget(gate)
        os.close(gate)
    return True


def _be(module: str, document: int, kept: Sequence[int], work: Callable[[ModuleType], int]) -> NoReturn:
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
        runtime = importlib.import_module(module)
        if text:
            runtime.rehearse(text.decode(errors="replace"))
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
    def leave(gate: int) -> None:
        passing.send(connection, OPENED, (gate,))

    for last in (False, True):
        if last and not select.select([connection.fileno()], [], [], IDLE_SECONDS)[0]:
            with contextlib.suppress(OSError):
                connection.send(GONE)
            return 1
        argv: tuple[str, ...] = ()
        while not argv:
            data, streams = passing.receive(connection, MESSAGE_LIMIT, STREAMS)
            if not data:
                return 0
            argv, where = marshal.loads(data)
            if not argv:
                runtime.foresee(*where, spare)
        prctl.set_name(name)
        os.chdir(where)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        status = int(runtime.main(argv[1:], sibling=True, spare=spare, leave=leave if last else None) or 0)
        if status or last or _has_children():
            return status
        _let_go_of_streams()
        connection.send(DONE)
    return 0


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
