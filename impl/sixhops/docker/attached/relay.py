"""Joins a hijacked connection to this process's stdin, stdout and stderr, and passes signals on.

Rule 1: one thread. `Loop` waits for everything at once: output of the container, keys, answers of the engine, signals.
Rule 2: input never blocks output. Input is queued and sent as the connection takes it; no more is read meanwhile.

A relay ends when the output ends, or when the detach keys were typed. The end of the input is passed on as a half-close.
"""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING, Protocol

from sixhops.docker.errors import DockerError
from sixhops.docker.screen.terminal import DetachKeys
from sixhops.wire.rawstream import Decoder, RawStreamError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.docker.engine.answers import Hijacked

__all__ = ["Loop", "Relay", "Signals", "write_all"]

_READ = 32 * 1024
#: Never passed on: they are about ourselves, or can't be caught, or catching them would break job control.
_OURS = {
    signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS,
    signal.SIGFPE, signal.SIGILL, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPROF,
}  # fmt: skip


class Source(Protocol):
    """Something to wait for."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    @property
    def buffered(self) -> bool:
        """Tell whether there is something to take without waiting on the descriptor."""
        ...


class Descriptor:
    """A bare descriptor as a Source."""

    buffered = False

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._number


class Loop:
    """Calls back what became readable (or writable). poll and not epoll, because stdin may be a file."""

    def __init__(self) -> None:
        self._readers: dict[int, tuple[Source, Callable[[], None]]] = {}
        self._writers: dict[int, Callable[[], None]] = {}

    def read(self, source: Source, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `source` has something."""
        self._readers[source.fileno()] = (source, callback)

    def write(self, source: Source, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `source` takes something."""
        self._writers[source.fileno()] = callback

    def stop_reading(self, source: Source) -> None:
        """Forget the reader of `source`."""
        self._readers.pop(source.fileno(), None)

    def stop_writing(self, source: Source) -> None:
        """Forget the writer of `source`."""
        self._writers.pop(source.fileno(), None)

    def run(self, finished: Callable[[], bool]) -> None:
        """Wait and call back until `finished()`."""
        while not finished():
            self.step()

    def step(self, bound: float | None = None) -> None:
        """Wait, for at most `bound` seconds, until something is ready, and call back for all that is."""
        poll = select.poll()
        for number in {*self._readers, *self._writers}:
            reads = select.POLLIN if number in self._readers else 0
            poll.register(number, reads | (select.POLLOUT if number in self._writers else 0))
        waiting = any(source.buffered for source, _ in self._readers.values())
        limit = None if bound is None else bound * 1000
        ready = dict(poll.poll(0 if waiting else limit))
        for number, (source, callback) in list(self._readers.items()):
            if number in self._readers and (ready.get(number, 0) & ~select.POLLOUT or source.buffered):
                callback()
        for number, call in list(self._writers.items()):
            if number in self._writers and ready.get(number, 0) & ~select.POLLIN:
                call()


class Signals:
    """Gives signals to the loop as events instead of ending the process; `close` puts everything back."""

    def __init__(self, loop: Loop, numbers: set[signal.Signals], callback: Callable[[int], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._source = Descriptor(self._reading)
        self._wakeup_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _noted) for number in numbers}
        loop.read(self._source, self._take)

    def close(self) -> None:
        """Restore the handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._loop.stop_reading(self._source)
        os.close(self._reading)
        os.close(self._writing)

    def _take(self) -> None:
        for number in os.read(self._reading, 64):
            self._callback(number)


def proxied_signals() -> set[signal.Signals]:
    """Return the signals that a proxying client passes on to the container."""
    return set(signal.Signals) - _OURS


def signal_name(number: int) -> str:
    """Return a signal's name as the engine takes it: INT, WINCH, RTMIN+3."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"RTMIN+{number - signal.SIGRTMIN}"


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, waiting for a descriptor that another process made non-blocking. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has told the loop."""


class Relay:
    """One hijacked connection between a container and our descriptors.

    `stdin` is the descriptor to read from, None to send no input. `multiplexed` says whether the output comes in
    frames. `keys` are the detach sequence, b"" for none. `ended` and `detached` are the two ways to finish.
    """

    def __init__(
        self,
        loop: Loop,
        connection: Hijacked,
        *,
        multiplexed: bool,
        stdin: int | None,
        stdout: int | None = 1,
        stderr: int | None = 2,
        keys: bytes = b"",
    ) -> None:
        self.ended = False
        self.detached = False
        self._loop = loop
        self._connection = connection
        self._decoder = Decoder() if multiplexed else None
        self._stdout, self._stderr = stdout, stderr
        self._keys = DetachKeys(keys)
        self._input = Descriptor(stdin) if stdin is not None else None
        loop.read(connection, self._output)
        if self._input is None:
            connection.close_write()
        else:
            loop.read(self._input, self._typed)

    @property
    def finished(self) -> bool:
        """Tell whether output has ended or the person has detached."""
        return self.ended or self.detached

    def close(self) -> None:
        """Leave the loop and close the connection."""
        self._loop.stop_reading(self._connection)
        self._loop.stop_writing(self._connection)
        if self._input is not None:
            self._loop.stop_reading(self._input)
        self._connection.close()

    def _output(self) -> None:
        data = self._connection.receive()
        if not data:
            self.ended = True
            self._loop.stop_reading(self._connection)
            return
        if self._decoder is None:
            if self._stdout is not None:
                write_all(self._stdout, data)
            return
        try:
            frames = self._decoder.feed(data)
        except RawStreamError as error:
            raise DockerError(f"the container's output can't be told apart: {error}") from error
        for frame in frames:
            if frame.stream is Stream.SYSTEMERR:
                raise DockerError(f"error from daemon in stream: {frame.data.decode(errors='replace')}")
            target = self._stderr if frame.stream is Stream.STDERR else self._stdout
            if target is not None:
                write_all(target, frame.data)

    def _typed(self) -> None:
        assert self._input is not None
        try:
            data = os.read(self._input.fileno(), _READ)
        except OSError:
            data = b""  # the terminal has gone: the same as its end
        if not data:
            self._loop.stop_reading(self._input)
            self._connection.close_write()
            return
        data, self.detached = self._keys.feed(data)
        if data:
            self._connection.offer(data)
            self._push()

    def _push(self) -> None:
        assert self._input is not None
        try:
            sent = self._connection.push()
        except OSError:
            # the container no longer reads; its output may still come
            self._loop.stop_writing(self._connection)
            self._loop.stop_reading(self._input)
            return
        if sent:
            self._loop.stop_writing(self._connection)
            self._loop.read(self._input, self._typed)
        else:
            self._loop.stop_reading(self._input)
            self._loop.write(self._connection, self._push)
