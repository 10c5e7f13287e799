"""The service manager's notification socket handed through to a container, sd_notify(3).

The container gets a socket of its own below /run/notify, in a directory of the container's state that is bound there;
the manager's own socket stays out of its reach. Of what the container sends, only the word that it is ready goes on,
followed by the pid that the manager shall look after.
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import _socket
import os
import select

from sixhops.linux.libc import LinuxError
from sixhops.linux.pidfd import open_process
from sixhops.runc.errors import RuntimeFault, reason
from sixhops.values import replace

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.runc.lifecycle.state import Container
    from sixhops.wire.runtime.document import Spec

__all__ = ["bind", "forward", "host_socket", "make_directory", "with_socket"]

_INSIDE = "/run/notify"
_NAME = "notify.sock"
_LONGEST = 4096


def host_socket() -> str:
    """Return the manager's socket from the environment, empty if there is none."""
    return os.environ.get("NOTIFY_SOCKET", "")


def with_socket(spec: Spec, directory: str) -> Spec:
    """Return the document with the socket's directory mounted and named in the environment. Pure."""
    from sixhops.wire.runtime.document import Mount

    mount = Mount(_INSIDE, "bind", directory, ("bind", "nosuid", "noexec", "nodev", "ro"))
    process = spec.process
    if process is not None:
        process = replace(process, env=(*process.env, f"NOTIFY_SOCKET={_INSIDE}/{_NAME}"))
    return replace(spec, mounts=(*spec.mounts, mount), process=process)


def make_directory(container: Container) -> None:
    """Make the directory that `with_socket` mounts."""
    os.mkdir(container.notify, 0o755)


def bind(container: Container) -> _socket.socket:
    """Return the container's socket, open to every user in there. Raises RuntimeFault."""
    path = f"{container.notify}/{_NAME}"
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        listener.bind(path)
        os.chmod(path, 0o777)  # noqa: S103  whoever the container runs as writes to it
    except OSError as error:
        listener.close()
        raise RuntimeFault(f"listen unixgram {path}: bind: {reason(error).rpartition(': ')[2]}") from error
    return listener


def forward(listener: _socket.socket, host: str, pid: int, main: int) -> None:
    """Wait until the container says that it is ready, or its process `pid` ends; tell the manager, naming `main`.

    Raises RuntimeFault if the manager's socket can't be reached.
    """
    manager = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        manager.connect(f"\0{host[1:]}" if host.startswith("@") else host)
        ready = _await_ready(listener, pid)
        if ready:
            manager.send(ready + b"\n")
            manager.send(f"MAINPID={main}\n".encode())
    except OSError as error:
        raise RuntimeFault(f"dial unixgram {host}: {reason(error)}") from error
    finally:
        manager.close()


def _await_ready(listener: _socket.socket, pid: int) -> bytes:
    """Return the line READY=..., empty if the process ended before it came."""
    try:
        process = open_process(pid)
    except LinuxError:
        return b""
    poller = select.poll()
    poller.register(process, select.POLLIN)
    poller.register(listener.fileno(), select.POLLIN)
    try:
        while True:
            ready = [descriptor for descriptor, _ in poller.poll()]
            if listener.fileno() in ready:
                for line in listener.recv(_LONGEST).split(b"\n"):
                    if line.startswith(b"READY="):
                        return line
            elif process in ready:
                return b""
    finally:
        os.close(process)
