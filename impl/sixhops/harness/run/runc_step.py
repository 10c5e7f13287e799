"""A `runc` step while it runs: the stack's runtime on the stack's machine, with what a caller of it may hand over: a
state directory, a log, a console socket, descriptors.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import sys
import threading
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import TargetError
from sixhops.harness.run.console import Console
from sixhops.harness.run.content import content, word, words
from sixhops.harness.run.direct import machine_of, workspace
from sixhops.harness.run.incoming import JsonValues
from sixhops.harness.run.program import ProgramCall, read_some
from sixhops.harness.scenario.variables import resolve
from sixhops.harness.tap.values import as_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.content import Content
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.direct import RuncStep
    from sixhops.harness.target import Machine

__all__ = ["RuncCall", "delete_containers", "runc_call", "state_directory"]

#: runc's global options that take a value; they stand before the command.
_VALUED = frozenset({"--root", "--log", "--log-format", "--criu", "--rootless"})
#: Puts the descriptors in its first argument to 3, 4 and so on, and becomes the rest. The shell can't: it knows digits.
_PLACER = (
    "import os, sys\n"
    "given = [os.dup(int(number)) for number in sys.argv[1].split(',')]\n"
    "high = [__import__('fcntl').fcntl(number, 0, 64) for number in given]\n"
    "for place, number in enumerate(high, 3):\n"
    "    os.dup2(number, place)\n"
    "os.closerange(3 + len(high), 4096)\n"
    "os.execvp(sys.argv[2], sys.argv[2:])\n"
)
_IN = 'cd -- "$1" || exit 126; shift; exec "$@"'


def state_directory(place: Path) -> Path:
    """Return the --root of a scenario whose directory on the machine is `place`."""
    return place / "runc"


def runc_call(step: RuncStep, context: Context) -> RuncCall:
    """Return the call that a step asks for. Raises ScenarioError, and TargetError where there is no machine of ours."""
    scope, machine = context.scope, machine_of(context)
    place = workspace(context)
    given = words([resolve(item, scope) for item in step.argv], step.mark)
    options, rest = _split(given)
    log = None
    if "--root" not in options:
        options["--root"] = str(state_directory(place))
    if "--log" not in options:
        # The same name for each attempt of a repeated step, so that two runs of a scenario say the same.
        log = place / f"log-{step.index}.json"
        log.unlink(missing_ok=True)
        options |= {"--log": str(log), "--log-format": "json"}
    before = [
        part for name, value in options.items() for part in ([name] if value is None else [name, value])
    ]
    console = None
    if step.console is not None:
        path = place / f"c{step.index}.sock"
        console = Console(step.console, step.timeout, path)
        rest[1:1] = ["--console-socket", str(path)]
    environment = machine.environment()
    for key, value in resolve(step.env, scope).items():
        if value is None:
            environment.pop(key, None)
        else:
            environment[key] = word(value, step.mark)
    stdin = None
    if step.stdin is not None:
        stdin = content(resolve(step.stdin, scope), step.mark, context.sources)
    pipes = _Pipes(
        [
            None if item == "output" else content(resolve(item, scope), step.mark, context.sources).all()
            for item in step.descriptors
        ]
    )
    cwd = word(resolve(step.cwd, scope), step.mark)
    argv = ["runc", *before, *rest]
    return RuncCall(
        step, machine, argv, environment, cwd=cwd, stdin=stdin, log=log, console=console, pipes=pipes
    )


def delete_containers(machine: Machine, place: Path) -> list[str]:
    """Delete the containers that a scenario's --root still has; return a line for each.

    The line says as well when a container refuses to go.
    """
    root = state_directory(place)
    left = []
    for entry in sorted(root.iterdir()) if root.is_dir() else ():
        argv = ["runc", "--root", str(root), "delete", "--force", entry.name]
        call = ProgramCall("delete", 10.0, machine.command(argv), machine.environment())
        call.run()
        seen = call.snapshot()
        trouble = seen.error or (
            str(seen.facets.get("stderr", "")).strip() if seen.facets.get("exit") else ""
        )
        left.append(f"runtime container: {entry.name}{f' (it refuses to go: {trouble})' if trouble else ''}")
    return left


class _Pipes:
    """The ends of the pipes that a program gets, and ours: filled before it starts, or read until it has ended."""

    def __init__(self, contents: Sequence[bytes | None]) -> None:
        self.inside: list[int] = []
        self._outside: dict[int, int] = {}
        self._threads: list[threading.Thread] = []
        self._seen: list[bytes | None] = [None] * len(contents)
        for index, data in enumerate(contents):
            reader, writer = os.pipe()
            if data is None:
                self.inside.append(writer)
                self._outside[index] = reader
                self._seen[index] = b""
                work = threading.Thread(target=self._collect, args=(index, reader), daemon=True)
            else:
                self.inside.append(reader)
                work = threading.Thread(target=_fill, args=(writer, data), daemon=True)
            self._threads.append(work)

    def begin(self) -> None:
        """The program has its ends: close ours of them, and let the data flow."""
        for descriptor in self.inside:
            os.close(descriptor)
        for thread in self._threads:
            thread.start()

    def end(self, bound: float) -> list[Any]:
        """Return what was written to each pipe, once everybody has closed it, or after `bound` seconds."""
        for thread in self._threads:
            thread.join(bound)
        return [None if data is None else as_text(data) for data in self._seen]

    def _collect(self, index: int, reader: int) -> None:
        while data := read_some(reader):
            self._seen[index] = (self._seen[index] or b"") + data
        os.close(reader)


def _fill(writer: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(writer, view) :]
    except BrokenPipeError:
        # Nobody reads it to its end, which is the program's right.
        view.release()
    os.close(writer)


class RuncCall(ProgramCall):
    """One run of the runtime.

    Its container has the same output. So a call ends with the runtime; in the background it goes on, until nobody
    can write to its pipes any more.
    """

    _headed_by_exit = True

    def __init__(
        self,
        step: RuncStep,
        machine: Machine,
        argv: list[str],
        environment: dict[str, str],
        *,
        cwd: str,
        stdin: Content | None,
        log: Path | None,
        console: Console | None,
        pipes: _Pipes,
    ) -> None:
        inside = argv
        if cwd != "/":
            inside = ["/bin/sh", "-c", _IN, "sh", cwd, *inside]
        command = machine.command(inside)
        if pipes.inside:
            # On this side: the machine's root may have no Python.
            command = [sys.executable, "-IS", "-c", _PLACER, ",".join(map(str, pipes.inside)), *command]
        super().__init__(
            step.name,
            step.timeout,
            command,
            environment,
            stdin=stdin,
            tty=step.tty,
            interactive=step.background is not None,
            descriptors=pipes.inside,
        )
        self.argv = argv
        self.console = console
        self._log = log
        self._pipes = pipes
        self._after: dict[str, Facet] = {}
        self._values = JsonValues()
        self._woken, self._wake = os.pipe()
        sent: dict[str, Any] = {"argv": argv, "env": dict(environment), "cwd": cwd}
        self.sent = sent

    def _start(self) -> dict[int, str]:
        try:
            readers = super()._start()
        finally:
            self._pipes.begin()
        for descriptor in readers:
            os.set_blocking(descriptor, False)
        return readers

    def _cut(self) -> None:
        super()._cut()
        with self._changed:
            if self._wake >= 0:
                os.write(self._wake, b"x")

    def _perform(self) -> None:
        try:
            super()._perform()
        finally:
            with self._changed:
                os.close(self._woken)
                os.close(self._wake)
                self._wake = -1
            if self._pipes.inside:
                written = self._pipes.end(max(0.1, min(1.0, self.time_left())))
                with self._changed:
                    self._after = {**self._after, "descriptors": written}
            if self.console is not None:
                self.console.runtime_ended()

    def _read(self, readers: dict[int, str]) -> None:
        """Read until the runtime has ended; what its container writes to the same pipes later is read in the
        background only, to the end of all of them.
        """
        process = self._process
        assert process is not None
        ended = os.pidfd_open(process.pid)
        open_ones = {*readers, ended}
        try:
            with selectors.DefaultSelector() as selector:
                for descriptor in (*open_ones, self._woken):
                    selector.register(descriptor, selectors.EVENT_READ)
                while open_ones and not self._was_cut and (left := self.time_left()) > 0:
                    ready = {key.fd for key, _ in selector.select(left)}
                    over = ended in ready
                    # All that the runtime itself has written is in the pipes by the time it has ended.
                    for descriptor in [fd for fd in readers if fd in open_ones and (over or fd in ready)]:
                        if self._take_output(descriptor, readers[descriptor]):
                            selector.unregister(descriptor)
                            open_ones.remove(descriptor)
                    if over:
                        selector.unregister(ended)
                        open_ones.remove(ended)
                        self._note_exit(process.wait())
                        if not self._interactive:
                            break
        finally:
            os.close(ended)
        if self._interactive and self._exit is not None and open_ones and not self._was_cut:
            raise TargetError(
                f"`{' '.join(self.argv)}` has ended, but its output was open longer than the step's time"
            )
        if not self._interactive:
            _drain({descriptor: readers.pop(descriptor) for descriptor in list(readers)})

    def _take_output(self, descriptor: int, name: str) -> bool:
        """Take all that can be read now; return whether this was the end of it."""
        while True:
            try:
                data = read_some(descriptor)
            except BlockingIOError:
                return False
            if not data:
                return True
            with self._changed:
                if name == "stdout":
                    self._values.feed(data)
                self._output[name] += data
                self._received += len(data)
                self._changed.notify_all()

    def _note_exit(self, status: int) -> None:
        after: dict[str, Any] = {}
        if self._log is not None:
            after["log"] = _log_lines(self._log)
        if "stdout" in self._output:
            after |= _as_json(bytes(self._output["stdout"]))
        with self._changed:
            self._values.finish()
            self._exit = status
            self._after = after
            self._headed = True
            self._changed.notify_all()

    def _facets(self) -> dict[str, Facet]:
        facets = {**super()._facets(), **self._after}
        if self._values.values and not self._values.broken:
            facets["lines"] = list(self._values.values)
        return facets


def _drain(readers: Mapping[int, str]) -> None:
    """Read and drop what comes, until nobody can write any more: a container must not die of a closed pipe."""

    def work() -> None:
        with selectors.DefaultSelector() as selector:
            for descriptor in readers:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    with contextlib.suppress(BlockingIOError):
                        if not read_some(key.fd):
                            selector.unregister(key.fd)
        for descriptor in readers:
            os.close(descriptor)

    threading.Thread(target=work, name="drain", daemon=True).start()


def _split(words: list[str]) -> tuple[dict[str, str | None], list[str]]:
    """Return the global options, and the command with what follows it."""
    options: dict[str, str | None] = {}
    at = 0
    while at < len(words) and words[at].startswith("-"):
        name, equals, value = words[at].partition("=")
        at += 1
        if equals:
            options[name] = value
        elif name in _VALUED and at < len(words):
            options[name] = words[at]
            at += 1
        else:
            options[name] = None
    return options, words[at:]


def _as_json(data: bytes) -> dict[str, Facet]:
    facets: dict[str, Facet] = {}
    try:
        facets["json"] = json.loads(data)
    except (ValueError, RecursionError):
        # Text, or several values, which are in `lines`.
        facets.pop("json", None)
    return facets


def _log_lines(path: Path) -> list[Any]:
    """Return the lines of a JSON log; a line that is no JSON is text."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return []
    lines: list[Any] = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            lines.append(line)
    return lines
