"""A process's streams: fifos on containerd's side, pipes or a terminal on the container's.

The client of containerd (dockerd, ctr) makes the fifos; their names come with Create and Exec. What must
hold:

- output waits in the fifo while its reader is away (dockerd restarts), so each output fifo is opened for
  reading and
  writing: it never breaks and its open never blocks;
- stdin ends only after CloseIO *and* the last writer's close, so a writer of our own stays open until
  CloseIO;
- the reader sees the end of output when the container's last writer closed, however the process ended.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import shutil
import socket
import stat
import struct
import tempfile
import termios
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sixhops.shim.loop import READ, WRITE, Future, Loop, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ConsoleSocket", "Paths", "Streams", "resize"]

CHUNK = 1 << 16
CONSOLE_SECONDS = 30.0  # how long upstream waits for the terminal


@dataclass(frozen=True, slots=True)
class Paths:
    """What the client asked for; an empty string is /dev/null."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class Copier:
    """Copies one descriptor to another until the end; owns both. `done` is set when the last byte is
    written.
    """

    def __init__(
        self, loop: Loop, source: int, target: int, on_end: Callable[[], None] | None = None
    ) -> None:
        self.done: Future[None] = Future()
        self._loop = loop
        self._source = source
        self._target = target
        self._pending = b""
        self._on_end = on_end
        os.set_blocking(source, False)
        os.set_blocking(target, False)
        loop.on_readable(source, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._source, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # EIO: the last user of the terminal's other side has gone
        if not data:
            self.close()
            return
        self._pending = data
        self._write()

    def _write(self) -> None:
        try:
            written = os.write(self._target, self._pending)
        except BlockingIOError:
            written = 0
        except OSError:
            self.close()  # EPIPE: the process closed its stdin
            return
        self._pending = self._pending[written:]
        if self._pending:
            self._loop.forget(self._source, READ)
            self._loop.on_writable(self._target, self._write)
        else:
            self._loop.forget(self._target, WRITE)
            self._loop.on_readable(self._source, self._read)

    def close(self) -> None:
        """Stop, whatever has not been copied yet."""
        if self.done.done:
            return
        for descriptor in (self._source, self._target):
            self._loop.forget(descriptor)
            os.close(descriptor)
        self.done.set(None)
        if self._on_end is not None:
            self._on_end()


@dataclass(slots=True)
class Streams:
    """The streams of one process.

    `child` are the descriptors 0, 1, 2 for the runtime, None with a terminal. Made by `open`; `begin`
    starts the copying once the runtime has handed them on; `drained` waits for the end of output; `close`
    ends everything.
    """

    loop: Loop
    paths: Paths
    child: tuple[int, int, int] | None = None
    master: int = -1
    _ends: dict[str, int] = field(default_factory=dict)
    _keep: int = -1
    _output: list[Copier] = field(default_factory=list)
    _input: Copier | None = None

    @classmethod
    def open(cls, loop: Loop, paths: Paths, uid: int = 0, gid: int = 0) -> Streams:
        """Make the pipes (none for a terminal), owned by `uid` and `gid`. ValueError on an unknown kind
        of URI.
        """
        for path in (paths.stdout, paths.stderr):
            _check_scheme(path)
        streams = cls(loop, paths)
        if paths.terminal:
            return streams
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        child = [null, null, null]
        for number, path in enumerate((paths.stdin, paths.stdout, paths.stderr)):
            if not path:
                continue
            reader, writer = os.pipe2(os.O_CLOEXEC)
            ours, theirs = (writer, reader) if number == 0 else (reader, writer)
            if uid or gid:
                os.fchown(theirs, uid, gid)
            child[number] = theirs
            streams._ends[("stdin", "stdout", "stderr")[number]] = ours
        if null not in child:
            os.close(null)
        streams.child = (child[0], child[1], child[2])
        return streams

    def close_child(self) -> None:
        """Close our copies of the container's ends; without that its output would never end."""
        for descriptor in set(self.child or ()):
            os.close(descriptor)
        self.child = None

    def hold_stdin(self) -> None:
        """Open stdin for writing, so that it lasts until `close_stdin`. OSError when the fifo is not
        there.
        """
        if self.paths.stdin and self._keep < 0:
            # read-write: write-only would fail as long as nobody reads, and the copying opens its end
            # afterwards
            self._keep = os.open(self.paths.stdin, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close_stdin(self) -> None:
        """CloseIO: stdin ends as soon as the client has closed its end too."""
        if self._keep >= 0:
            os.close(self._keep)
            self._keep = -1

    def begin(self, master: int = -1) -> None:
        """Copy between fifos and pipes, or the terminal `master`. OSError names the fifo that can't be
        opened.
        """
        self.close_child()
        if master >= 0:
            self.master = master
            self._ends = {"stdin": os.dup(master), "stdout": os.dup(master)}
        for name, path in (("stdout", self.paths.stdout), ("stderr", self.paths.stderr)):
            end = self._ends.pop(name, -1) if path else -1
            if end >= 0:
                self._output.append(Copier(self.loop, end, _open_output(path)))
        end = self._ends.pop("stdin", -1) if self.paths.stdin else -1
        if end >= 0:
            try:
                source = os.open(self.paths.stdin, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                os.close(end)
                raise OSError(
                    f"containerd-shim: opening {self.paths.stdin} failed: {error.strerror}"
                ) from error
            self._input = Copier(self.loop, source, end)

    async def drained(self, seconds: float) -> bool:
        """Wait until all output is copied; return False when that takes longer than `seconds`."""
        try:
            for copier in self._output:
                await self.loop.within(copier.done, seconds)
        except TimedOutError:
            return False
        return True

    def close(self) -> None:
        """Close everything, copied or not."""
        self.close_child()
        self.close_stdin()
        if self._input is not None:
            self._input.close()
        for copier in self._output:
            copier.close()
        for descriptor in self._ends.values():
            os.close(descriptor)
        self._ends.clear()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


def _check_scheme(path: str) -> None:
    scheme = urlsplit(path).scheme if "://" in path else ""
    if scheme not in ("", "fifo", "file"):
        raise ValueError(f"unknown STDIO scheme {scheme}")


def _open_output(path: str) -> int:
    if "://" in path:
        parts = urlsplit(path)
        path = parts.path
        if parts.scheme == "file":
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if stat.S_ISFIFO(Path(path).stat().st_mode):
            return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(f'containerd-shim: opening w/o fifo "{path}" failed: {error.strerror}') from error


class ConsoleSocket:
    """Where the runtime sends the terminal's master side: a socket under /tmp, as upstream's shim makes
    it.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._directory = tempfile.mkdtemp(prefix="pty")
        self.path = str(Path(self._directory, "pty.sock"))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._listener.setblocking(False)

    async def receive(self) -> int:
        """Return the master side. TimedOutError when the runtime doesn't send it, OSError when it sends
        none.
        """
        await self._loop.within(self._loop.readable(self._listener.fileno()), CONSOLE_SECONDS)
        connection, _address = self._listener.accept()
        with connection:
            connection.setblocking(False)
            await self._loop.within(self._loop.readable(connection.fileno()), CONSOLE_SECONDS)
            space = socket.CMSG_SPACE(array.array("i").itemsize)
            _name, rights, _flags, _peer = connection.recvmsg(4096, space)
        for level, kind, data in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                (descriptor,) = struct.unpack_from("i", data)
                os.set_inheritable(descriptor, False)
                return int(descriptor)
        raise OSError("the runtime sent no terminal over the console socket")

    def close(self) -> None:
        """Remove the socket."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory)


def resize(master: int, width: int, height: int) -> None:
    """Set the size of a terminal, in characters. OSError when it has gone."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
