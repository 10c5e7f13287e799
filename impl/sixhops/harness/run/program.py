"""A program as a step: the client under test, or the runtime, as a child process on pipes or on a pseudo-terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import selectors
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError
from sixhops.harness.run.live import Live
from sixhops.harness.tap.values import as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.content import Content
    from sixhops.harness.scenario.model import TtySize

__all__ = ["ProgramCall", "read_some"]

_READ = 64 * 1024
#: Less than the smallest pipe, so a write of this size to an empty one never blocks.
_INLINE_STDIN = 4 * 1024


class ProgramCall(Live):
    """One run of `argv` in a session of its own, killed with all its children at the deadline.

    `stdin` None is /dev/null, unless `interactive` (a background step, to which `send` may write later). `descriptors`
    are inherited, under the numbers that they have.
    """

    #: Whether the exit status, and not the start, is what a background step's expectations wait for.
    _headed_by_exit = False

    def __init__(
        self,
        name: str,
        timeout: float,
        argv: Sequence[str],
        environment: dict[str, str],
        *,
        stdin: Content | None = None,
        tty: TtySize | None = None,
        interactive: bool = False,
        descriptors: Sequence[int] = (),
    ) -> None:
        super().__init__(name, timeout)
        self._descriptors = tuple(descriptors)
        self._argv = list(argv)
        self._environment = environment
        self._stdin = stdin
        self._tty = tty
        self._interactive = interactive
        self._output: dict[str, bytearray] = (
            {"output": bytearray()} if tty else {"stdout": bytearray(), "stderr": bytearray()}
        )
        self._received = 0
        self._exit: int | None = None
        self._input: int | None = None
        self._input_lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._was_cut = False

    def send(self, data: bytes) -> None:
        """Write to the program's stdin. Raises TargetError when it is closed or the program does not read."""
        view = memoryview(data)
        while view:
            with self._input_lock:
                if self._input is None:
                    raise TargetError(f"{self.name}: the program's stdin is closed")
                try:
                    view = view[os.write(self._input, view) :]
                    continue
                except BlockingIOError:
                    waiter = select.poll()
                    waiter.register(self._input, select.POLLOUT)
                except OSError as error:
                    raise TargetError(f"{self.name}: the program reads no more: {error.strerror}") from error
            if not waiter.poll(max(0.0, self.deadline - time.monotonic()) * 1000):
                raise TargetError(f"{self.name}: the program did not read its stdin within the step's time")

    def close_stdin(self) -> None:
        """End the program's stdin; on a pseudo-terminal that is what control-D does. Raises TargetError
        when it is closed.
        """
        if self._tty is not None:
            self.send(b"\x04")
            return
        with self._input_lock:
            if self._input is None:
                raise TargetError(f"{self.name}: the program's stdin is closed")
            os.close(self._input)
            self._input = None

    def _cut(self) -> None:
        with self._changed:
            self._was_cut = True
            self._kill()

    def _kill(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                # It has not made its session yet.
                process.kill()

    def _perform(self) -> None:
        readers = self._start()
        with self._changed:
            self._begun = True
            self._headed = not self._headed_by_exit
            self._changed.notify_all()
        writer = (
            threading.Thread(target=self._pump, name=f"stdin-{self.name}", daemon=True)
            if self._stdin
            else None
        )
        try:
            if writer is not None:
                writer.start()
            self._read(readers)
        finally:
            in_time = self._finish(readers, writer)
        if not in_time and not self._was_cut:
            raise TargetError(f"`{' '.join(self._argv)}` did not end within the step's time and was killed")

    def _start(self) -> dict[int, str]:
        argv, readers = self._argv, {}
        inside: tuple[int, int, int]
        if self._tty is not None:
            leader, follower = os.openpty()
            size = struct.pack("HHHH", self._tty.rows, self._tty.columns, 0, 0)
            fcntl.ioctl(follower, termios.TIOCSWINSZ, size)
            readers[leader] = "output"
            self._input = os.dup(leader)
            inside = (follower, follower, follower)
            # Makes the terminal the program's controlling one; a hook between fork and exec is not safe in a
            # program with threads.
            if (setsid := shutil.which("setsid")) is not None:
                argv = [setsid, "--ctty", *argv]
        else:
            out, out_inside = os.pipe()
            err, err_inside = os.pipe()
            readers |= {out: "stdout", err: "stderr"}
            if self._stdin is None and not self._interactive:
                in_inside = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            else:
                in_inside, self._input = os.pipe()
            inside = (in_inside, out_inside, err_inside)
        if self._input is not None:
            os.set_blocking(self._input, False)
        try:
            process = subprocess.Popen(
                argv,
                stdin=inside[0],
                stdout=inside[1],
                stderr=inside[2],
                env=self._environment,
                start_new_session=self._tty is None or argv is self._argv,
                pass_fds=self._descriptors,
            )
        except OSError as error:
            self._finish(readers, None)
            raise TargetError(f"can't start {argv[0]}: {error.strerror}") from error
        finally:
            for descriptor in set(inside):
                os.close(descriptor)
        with self._changed:
            self._process = process
            if self._was_cut:
                self._kill()
        return readers

    def _read(self, readers: dict[int, str]) -> None:
        """Read to the end of all outputs, or until the deadline."""
        with selectors.DefaultSelector() as selector:
            for descriptor in readers:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                left = self.deadline - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    return
                for key, _ in ready:
                    data = read_some(key.fd)
                    if not data:
                        selector.unregister(key.fd)
                        continue
                    with self._changed:
                        self._output[readers[key.fd]] += data
                        self._received += len(data)
                        self._changed.notify_all()

    def _finish(self, readers: dict[int, str], writer: threading.Thread | None) -> bool:
        """Wait for the program's end, or kill it at the deadline and return False; close everything."""
        process, in_time = self._process, True
        if process is not None:
            try:
                process.wait(max(0.0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                in_time = False
                self._kill()
                process.wait()
            with self._changed:
                self._exit = process.returncode
        if writer is not None:
            writer.join()
        with self._input_lock:
            if self._input is not None:
                os.close(self._input)
                self._input = None
        for descriptor in readers:
            os.close(descriptor)
        return in_time

    def _pump(self) -> None:
        stdin = self._stdin
        if stdin is None:
            return
        try:
            for part in stdin.parts():
                self.send(part)
            if self._tty is None:
                self.close_stdin()
        except TargetError as error:
            # Programs may end without reading all of it (`head -1`); the exit status and the output tell.
            with self._changed:
                self.sent["stdin_error"] = str(error)

    def _facets(self) -> dict[str, Facet]:
        facets: dict[str, Facet] = {name: as_text(bytes(data)) for name, data in self._output.items()}
        if self._exit is not None:
            facets["exit"] = self._exit
        return facets

    def _progress(self) -> int:
        return self._received


def read_some(descriptor: int) -> bytes:
    """Return what can be read now, nothing at the end; a terminal's end counts as one."""
    try:
        return os.read(descriptor, _READ)
    except OSError as error:
        # Linux says EIO instead of an end of file when the last holder of a pseudo-terminal has gone.
        if error.errno == errno.EIO:
            return b""
        raise
