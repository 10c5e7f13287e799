"""A process's streams: fifos, files or a logging program on the client's side, pipes or a terminal on the container's.

The client of containerd (dockerd, ctr) makes the fifos; their names come with Create and Exec. What must hold:

- output waits in the fifo while its reader is away (dockerd restarts), so each output fifo is opened for reading and
  writing: it never breaks and its open never blocks;
- stdin ends only after CloseIO *and* the last writer's close, so a writer of our own stays open until CloseIO;
- the reader sees the end of output when the container's last writer closed, however the process ended;
- `file://PATH` as stdout takes stderr as well; `binary://PATH?ARGUMENTS` names a program that gets both (`logger`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.shim.logger import Logger, start_logger
from sixhops.shim.loop import READ, WRITE, Future, Loop, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Paths", "Streams"]

CHUNK = 1 << 15


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

    __slots__ = ("_loop", "_on_end", "_pending", "_source", "_target", "done")

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
    logger: Logger | None = None
    _ends: dict[str, int] = field(default_factory=dict)
    _keep: int = -1
    _output: list[Copier] = field(default_factory=list)
    _input: Copier | None = None

    @classmethod
    async def open(
        cls, loop: Loop, paths: Paths, uid: int = 0, gid: int = 0, *, name: str = "", namespace: str = ""
    ) -> Streams:
        """Make the pipes (none for a terminal), owned by `uid` and `gid`, or start the program of a binary:// URI.

        `name` and `namespace` are told to that program. ValueError for a URI that is none or of an unknown kind.
        """
        kind, path = _target(paths.stdout)
        if kind == "file":
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644))
        streams = cls(loop, paths)
        if kind == "binary":
            streams.logger = await start_logger(loop, paths.stdout, name, namespace)
        if paths.terminal:
            return streams
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        child = [null, null, null]
        for number, each in enumerate((paths.stdin, paths.stdout, paths.stderr)):
            if streams.logger is not None:
                # a logging program gets both outputs, and such a process has no stdin
                if number:
                    child[number] = os.dup(streams.logger.writers[number - 1])
                continue
            if not each:
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

    async def begin(self, master: int = -1) -> None:
        """Copy between fifos and pipes, or the terminal `master`. OSError names the fifo that can't be
        opened.
        """
        self.close_child()
        if master >= 0:
            self.master = master
            self._ends = {"stdin": os.dup(master), "stdout": os.dup(master)}
        if self.logger is None:
            # a file as stdout is that of stderr too
            file = _target(self.paths.stdout)
            for name, given in (("stdout", self.paths.stdout), ("stderr", self.paths.stderr)):
                end = self._ends.get(name, -1) if given else -1
                if end >= 0:
                    target = _open_output(file[1] if file[0] == "file" else _target(given)[1])
                    self._output.append(Copier(self.loop, self._ends.pop(name), target))
        elif master >= 0:
            self._output.append(Copier(self.loop, self._ends.pop("stdout"), os.dup(self.logger.writers[0])))
        if self.paths.stdin and "stdin" in self._ends:
            try:
                source = os.open(self.paths.stdin, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise OSError(
                    f"unable to copy pipes: containerd-shim: opening {self.paths.stdin} failed: {error.strerror}"
                ) from error
            self._input = Copier(self.loop, source, self._ends.pop("stdin"))

    async def drained(self, seconds: float) -> bool:
        """Wait until all output is copied; return False when that takes longer than `seconds`."""
        try:
            for copier in self._output:
                await self.loop.within(copier.done, seconds)
        except TimedOutError:
            return False
        return True

    async def close(self) -> None:
        """Close everything, copied or not; a logging program is told to end and waited for."""
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
        if self.logger is not None:
            logger, self.logger = self.logger, None
            await logger.close()


def _target(value: str) -> tuple[str, str]:
    """Return the kind of a stream (fifo, file, binary) and its path; ValueError for anything else."""
    if value.startswith("/") or not value:
        return "fifo", value
    scheme, found, rest = value.partition(":")
    if not found or "/" in scheme:
        return "fifo", value
    if not scheme or not scheme[0].isalpha():
        raise ValueError(f'unable to parse stdout uri: parse "{value}": missing protocol scheme')
    if scheme not in ("fifo", "file", "binary"):
        raise ValueError(f"unknown STDIO scheme {scheme}")
    from urllib.parse import unquote  # noqa: PLC0415 - few have a URI, and all would have its memory

    return scheme, unquote(rest.removeprefix("//").partition("?")[0])


def _open_output(path: str) -> int:
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError as error:
        reason = str(error.strerror).lower()
        raise OSError(
            f'unable to copy pipes: containerd-shim: opening file "{path}" failed: open {path}: {reason}'
        ) from error
