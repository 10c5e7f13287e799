"""What every shim does, done some times before the first one is forked.

The interpreter rewrites a function's code while it is called for the first times (PEP 659), notes under which name it
found what in which class (the method cache, which holds the names), and libraries fill their caches. Each shim would
have all that written to pages of its own; after a rehearsal it shares them. What the rehearsal leaves out, every shim
pays for, so it is the whole life of one: it waits in reserve, is told of its container, creates, starts, kills and deletes
it. Only the runtime and its container are stand-ins (`standin`), and containerd is a process that is forked for it.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from sixhops.linux import arguments as shown_arguments
from sixhops.linux import passing, prctl
from sixhops.linux.clone import fork_plainly
from sixhops.linux.temporary import make_directory, remove_tree
from sixhops.shim import standin
from sixhops.shim.options import OUR_RUNTIME, is_ours
from sixhops.shim.service import TASK
from sixhops.shim.standby import stand_by
from sixhops.wire.proto import runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack
from sixhops.wire.ttrpc.calls import CallClient, CallServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

__all__ = ["rehearse", "rehearse_here"]

TIMES = 10  # the interpreter is content after eight
NAME = "rehearsal"
DRY_RUN = "dry-run"
CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
STREAMS = (0, 1, 2)
CHUNK = 1 << 14
SECONDS = 20.0  # without a word from the shim
OOM_SCORE = "oom_score_adj"
DOCUMENT = b'{"linux":{"namespaces":[{"type":"pid"}]}}'


def rehearse(times: int = TIMES) -> None:
    """Go through a shim's life without any effect that lasts; OSError when there is no directory for it.

    The process has one thread and no child that ends meanwhile.
    """
    directory = make_directory(NAME)
    try:
        _furnish(directory)
        with _kept_as_it_was():
            name = _own("comm").decode(errors="replace").rstrip("\n")
            words = _own("cmdline").decode(errors="surrogateescape").split("\0")[:-1]
            for _ in range(times):
                _live(directory, name, words)
    finally:
        remove_tree(directory)


def rehearse_here(_arguments: dict[str, Any]) -> None:
    """Do it once more in a fork server, after others have had theirs: what they left in the interpreter's caches is no use
    to a shim.
    """
    rehearse(1)


def _furnish(directory: str) -> None:
    for name in ("out", "err", "log"):
        os.mkfifo(f"{directory}/{name}")
    os.symlink(OUR_RUNTIME, f"{directory}/runtime")
    with open(f"{directory}/config.json", "wb") as file:
        file.write(DOCUMENT)


@contextlib.contextmanager
def _kept_as_it_was() -> Iterator[None]:
    """Put back what a shim makes of its process: signals, streams, directory, group, arguments, what it takes to kill it."""
    handlers = [(number, signal.getsignal(number)) for number in CAUGHT]
    streams = [(number, os.dup(number)) for number in STREAMS]
    directory, group = os.getcwd(), os.getpgrp()
    score = _own(OOM_SCORE)
    shown_arguments.prepare()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for caught, handler in handlers:
            signal.signal(caught, handler)
        for number, descriptor in streams:
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(directory)
        prctl.set_subreaper(False)
        shown_arguments.show_original()
        with contextlib.suppress(OSError):  # it is another session's
            os.setpgid(0, group)
        with contextlib.suppress(OSError), open(f"/proc/self/{OOM_SCORE}", "wb") as file:
            file.write(score)


def _own(name: str) -> bytes:
    with open(f"/proc/self/{name}", "rb") as file:
        return file.read()


def _live(directory: str, name: str, words: list[str]) -> None:
    """Live once. Nobody is to take this process for a shim meanwhile, so it keeps its own name and command line."""
    path, events = f"{directory}/socket", f"{directory}/events"
    settings = {
        "namespace": NAME,
        "id": NAME,
        "address": directory,
        "events": events,
        "arguments": words,
        "name": name,
        "socket": path,
        "debug": False,
        "default_binary": "runc",
        "module": standin.__name__,
        "bundle": directory,
    }
    ours, theirs = passing.pair()
    with _listen(path) as listener, _listen(events) as taker:
        client = fork_plainly()
        if client == 0:
            _be_containerd(directory, taker)
        passing.send(ours, marshal.dumps(settings), (listener.fileno(),))
        ours.close()
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            stand_by(
                {"module": standin.__name__, "name": name, "directory": f"{directory}/{DRY_RUN}"},
                [theirs.detach(), null],
            )
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(client, signal.SIGKILL)
            raise
        finally:
            # the client, and what has not ended yet of the runtime: a shim would not wait for that
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-1, 0)
    os.unlink(events)
    is_ours("runc")  # as most name it


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    return listener


def _requests(directory: str) -> Iterator[tuple[str, Message]]:
    create = shim_v2_pb2.CreateTaskRequest(
        id=NAME, bundle=directory, stdout=f"{directory}/out", stderr=f"{directory}/err"
    )
    pack(create.options, runc_options_pb2.Options(binary_name=f"{directory}/runtime", root=directory))
    yield "Connect", shim_v2_pb2.ConnectRequest(id=NAME)
    yield "Create", create
    yield "Start", shim_v2_pb2.StartRequest(id=NAME)
    yield "State", shim_v2_pb2.StateRequest(id=NAME)
    yield "Kill", shim_v2_pb2.KillRequest(id=NAME, signal=signal.SIGKILL)
    yield "Wait", shim_v2_pb2.WaitRequest(id=NAME)
    yield "Delete", shim_v2_pb2.DeleteRequest(id=NAME)
    yield "Shutdown", shim_v2_pb2.ShutdownRequest(id=NAME)


def _be_containerd(directory: str, taker: socket.socket) -> NoReturn:
    """Ask the shim, and take its events. One that is silent is ended: nobody else would."""
    shim = os.getppid()
    status = 1
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{directory}/socket")
            status = 0 if _converse(directory, connection, taker) else 1
    except BaseException:  # noqa: BLE001 - the process ends here either way
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        if status:
            os.kill(shim, signal.SIGTERM)
        os._exit(status)


def _converse(directory: str, connection: socket.socket, taker: socket.socket) -> bool:
    """Make all calls, one after the other; return whether the shim ended after the last one."""
    client, server = CallClient(), CallServer()
    requests = _requests(directory)
    sources = [connection, taker]

    def ask() -> None:
        for method, request in requests:
            connection.sendall(client.call(TASK.name, method, request.SerializeToString())[1])
            return

    ask()
    while ready := select.select(sources, [], [], SECONDS)[0]:
        for source in ready:
            if source is taker:
                sources.append(taker.accept()[0])
                continue
            data = source.recv(CHUNK)
            if not data and source is connection:
                return True
            if not data:
                sources.remove(source)
            elif source is connection:
                for answer in client.receive(data):
                    if answer.error is not None:
                        sys.stderr.write(f"shim's rehearsal: {answer.error}\n")
                    ask()
            else:
                for call in server.receive(data)[0]:
                    source.sendall(server.answer(call.stream, b""))
    return False
