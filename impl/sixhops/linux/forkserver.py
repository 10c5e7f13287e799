"""A loaded, single-threaded parent that forks workers on request, so that no interpreter starts when one is
needed.

A program calls `start` while it still has one thread. The fork server then imports the modules that it is
told (names are data: programs never import one another) and waits. A request names a module, a function,
JSON arguments and descriptors; the worker is a fork that calls the function and exits with what it returns.

Workers are cloned with CLONE_PARENT: the kernel makes them children of the *program*, siblings of the fork
server. So the process table shows program -> worker, the program is told by SIGCHLD or a pidfd when one
ends and must reap it, and the fork server keeps no state: one that was killed costs nothing but the next
fork.

What all later workers can use is prepared by `ForkServer.prepare`: the function runs in the fork server itself, and
what it leaves in caches is there in every fork.

Theory of operation: one SOCK_SEQPACKET pair, one datagram a request (descriptors over SCM_RIGHTS), one a
reply (none to `prepare`), in order. When the program's end closes, the fork server exits; workers live on.

Memory: a page that the fork server or a worker writes after the fork is a page of that worker's own, and in this
interpreter reading an object writes its reference count. So what both do on the way is as little as possible: no
hooks around the fork (`clone`), no JSON, no import machinery; and what is allocated lies together (`compaction`).
"""

from __future__ import annotations

import array
import importlib
import marshal
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from sixhops.linux import prctl
from sixhops.linux.clone import fork_sibling
from sixhops.linux.compaction import fill_holes
from sixhops.linux.signals import DEFAULT, set_handler

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ForkError", "ForkServer", "main", "spawn", "start"]

MESSAGE_LIMIT = 1 << 17
DESCRIPTOR_LIMIT = 16
# the first byte of a request
_WORKER = b"w"
_PREPARE = b"p"
# the first byte of a reply that tells of an error
_ERROR = b"!"
# a reply of its own: modules are loaded, or what was to be prepared is
_READY = b"="
_RIGHTS_SPACE = socket.CMSG_SPACE(DESCRIPTOR_LIMIT * array.array("i").itemsize)


class ForkError(Exception):
    """The fork server could not make a worker, or has gone."""


@dataclass(slots=True)
class ForkServer:
    """The program's end: `pid` of the fork server and the socket to it.

    `busy` counts what it has to do before it can fork: loading its modules, and each `prepare`.
    """

    pid: int
    connection: socket.socket
    busy: int = 1

    def send(
        self, module: str, function: str, arguments: dict[str, Any], descriptors: Sequence[int] = ()
    ) -> None:
        """Ask for a worker; `receive` gives its pid. ForkError when the fork server has gone."""
        self._send(_WORKER, (module, function, arguments), descriptors)

    def prepare(self, module: str, function: str, arguments: dict[str, Any]) -> None:
        """Let the fork server call a function itself; workers asked for later find its traces. Does not wait.

        An error goes to the fork server's stderr and has no other consequence. ForkError as `send`.
        """
        self._send(_PREPARE, (module, function, arguments), ())
        self.busy += 1

    def settled(self) -> bool:
        """Tell whether a fork would take no longer than a fork, without waiting; the socket is readable when there is news.

        No worker may have been asked for that was not received. ForkError when the fork server has gone.
        """
        while self.busy:
            data = self._hear(wait=False)
            if data is None:
                return False
            assert data == _READY
            self.busy -= 1
        return True

    def _hear(self, *, wait: bool) -> bytes | None:
        """Return the next reply; None if it is not there and not to be waited for."""
        try:
            data = self.connection.recv(MESSAGE_LIMIT, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionError as error:
            raise ForkError(f"fork server {self.pid} has gone: {error}") from error
        if not data:
            raise ForkError(f"fork server {self.pid} has gone")
        return data

    def _send(
        self, kind: bytes, request: tuple[str, str, dict[str, Any]], descriptors: Sequence[int]
    ) -> None:
        data = kind + marshal.dumps(request)
        if len(data) > MESSAGE_LIMIT:
            raise ForkError(f"request of {len(data)} bytes is over the limit of {MESSAGE_LIMIT}")
        rights = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        )
        try:
            self.connection.sendmsg([data], rights)
        except OSError as error:
            raise ForkError(f"fork server {self.pid} has gone: {error}") from error

    def receive(self, *, wait: bool = True) -> int | None:
        """Return the pid of the next worker asked for; the caller must reap it. ForkError when there is none.

        None if it is not there yet and not to be waited for; the socket is readable when there is news.
        """
        while (data := self._hear(wait=wait)) == _READY:
            self.busy -= 1
        if data is None:
            return None
        if data.startswith(_ERROR):
            raise ForkError(data[1:].decode())
        return int(data)

    def fork(
        self, module: str, function: str, arguments: dict[str, Any], descriptors: Sequence[int] = ()
    ) -> int:
        """`send` and `receive` in one; blocks for the time of a fork, and of what the fork server has to do first
        (`settled`).
        """
        self.send(module, function, arguments, descriptors)
        pid = self.receive()
        assert pid is not None
        return pid

    def close(self) -> None:
        """Let the fork server end and reap it."""
        self.connection.close()
        os.waitpid(self.pid, 0)


def start(modules: Sequence[str], name: str, libraries: Sequence[str] = ()) -> ForkServer:
    """Fork a fork server with `modules` loaded and `name` as its comm. Raises ForkError if the caller has threads: in
    the child whoever waits for one of them waits for ever.

    `libraries` are modules that those import and of which the workers use little: they come first, and lie apart.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        raise ForkError(f"fork server {name} must be started before the first thread")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        status = 1
        try:
            status = _serve(theirs, modules, name, libraries)
        except BaseException:  # noqa: BLE001 - the process ends here either way, and must say why
            traceback.print_exc()
        finally:
            _exit(status)
    theirs.close()
    return ForkServer(pid, ours)


def spawn(modules: Sequence[str], name: str, seal: str = "", libraries: Sequence[str] = ()) -> ForkServer:
    """Start a fork server as a program of its own: slower than `start`, but possible when there are threads.

    For one that died. `seal` names a module whose `reexecute()` is called first (see sixhops-runc's).
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.set_inheritable(True)
    command = [sys.executable, "-m", __spec__.name, str(theirs.fileno()), name, seal, ",".join(libraries)]
    pid = os.posix_spawn(sys.executable, [*command, *modules], os.environ)
    theirs.close()
    return ForkServer(pid, ours)


def main(words: Sequence[str]) -> int:
    """Be a spawned fork server: descriptor, name, sealing module or nothing, libraries with commas between, modules."""
    descriptor, name, seal, libraries, *modules = words
    if seal:
        importlib.import_module(seal).reexecute()
    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    return _serve(connection, modules, name, libraries.split(",") if libraries else ())


def _serve(connection: socket.socket, modules: Sequence[str], name: str, libraries: Sequence[str]) -> int:
    prctl.set_name(name)
    # the terminal's Ctrl-C goes to the whole group; ours is to end with the program's socket
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for group in filter(None, (libraries, modules)):
        fill_holes()
        for module in group:
            importlib.import_module(module)
    fill_holes()
    if not _reply(connection, _READY):
        return 0
    while True:
        data, rights, _flags, _address = connection.recvmsg(MESSAGE_LIMIT, _RIGHTS_SPACE)
        if not data:
            return 0
        if data.startswith(_PREPARE):
            _prepare(data)
            if not _reply(connection, _READY):
                return 0
            continue
        descriptors = _descriptors(rights)
        try:
            pid = fork_sibling()
        except OSError as error:
            reply = _ERROR + str(error).encode()
        else:
            if pid == 0:
                connection.close()
                _work(data, descriptors)
            reply = b"%d" % pid
        for descriptor in descriptors:
            os.close(descriptor)
        if not _reply(connection, reply):
            return 0


def _reply(connection: socket.socket, data: bytes) -> bool:
    """Send a reply; False when the program has ended meanwhile."""
    try:
        connection.send(data)
    except OSError:
        return False
    return True


def _prepare(data: bytes) -> None:
    try:
        module, function, arguments = marshal.loads(memoryview(data)[1:])
        getattr(importlib.import_module(module), function)(arguments)
    except Exception:  # noqa: BLE001 - the workers will meet the same fault and tell whoever asked for them
        traceback.print_exc()
    fill_holes()


def _descriptors(rights: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    for descriptor in found:
        os.set_inheritable(descriptor, False)
    return list(found)


def _work(data: bytes, descriptors: list[int]) -> NoReturn:
    status = 1
    try:
        set_handler(signal.SIGINT, DEFAULT)
        module, function, arguments = marshal.loads(memoryview(data)[1:])
        loaded = sys.modules.get(module) or importlib.import_module(module)
        status = int(getattr(loaded, function)(arguments, descriptors))
    except BaseException:  # noqa: BLE001 - as above
        traceback.print_exc()
    finally:
        _exit(status)


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
