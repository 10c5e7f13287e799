import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sixhops.shim import resident
from sixhops.shim.loop import Loop, Task
from sixhops.shim.resident import Resident

pytestmark = pytest.mark.alone

RUNTIME = """
import os

def rehearse(document):
    global known
    known = document

def foresee(bundle, identifier, spare):
    global known
    known += f"-{bundle}-{identifier}"

def become(connection):
    os.read(connection, 1)
    return 0

def main(arguments, *, sibling, spare, leave):
    assert sibling
    os.write(1, f"{known} {os.getpid()} {os.getcwd()} {' '.join(arguments)}".encode())
    if "open" in arguments:
        gate = os.open(arguments[1], os.O_WRONLY)
        os.write(gate, b"0")
        leave(gate)
    if "wait" in arguments:
        os.read(0, 1)
    if "leave" in arguments and os.fork() == 0:
        os.read(0, 1)
        os._exit(0)
    return int(arguments[-1])
"""


@pytest.fixture
def loop() -> Iterator[Loop]:
    kept = signal.getsignal(signal.SIGCHLD)
    made = Loop()
    made.catch_signals()
    yield made
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, kept)
    made.close()


@pytest.fixture
def made(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resident]:
    (tmp_path / "resident_runtime.py").write_text(RUNTIME)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "document").write_text("known")
    document = os.open(tmp_path / "document", os.O_RDONLY)
    waiting = Resident("resident_runtime", document)
    os.close(document)
    waiting.watch(loop)
    yield waiting
    waiting.dismiss()


class Streams:
    """What a step gets as its descriptors 0, 1 and 2."""

    def __init__(self) -> None:
        self.input, self.feed = os.pipe()
        self.reader, self.output = os.pipe()

    @property
    def child(self) -> tuple[int, int, int]:
        return self.input, self.output, self.output

    def said(self) -> str:
        return os.read(self.reader, 4096).decode()


@pytest.fixture
def streams() -> Iterator[Streams]:
    made = Streams()
    yield made
    for descriptor in (made.input, made.feed, made.reader, made.output):
        os.close(descriptor)


def step(loop: Loop, waiting: Resident, *words: str, streams: Streams) -> int | None:
    task: Task[int | None] = Task(waiting.run(loop, ["runtime", *words], streams.child))
    task.on_done(loop.stop)
    loop.later(10.0, loop.stop)
    if not task.done:
        loop._running = True  # a loop of one life, lived once more
        loop.run()
    assert task.done, "the step takes longer than ten seconds"
    return task.result()


def test_one_process_creates_and_starts(loop: Loop, made: Resident, streams: Streams) -> None:
    assert made.takes("create")
    assert step(loop, made, "create", "0", streams=streams) == 0
    document, first, directory, *words = streams.said().split()
    assert (document, directory, words) == ("known", str(Path.cwd()), ["create", "0"])

    assert made.takes("start")
    assert step(loop, made, "start", "3", streams=streams) == 3
    assert streams.said().split()[1] == first
    assert not made.takes("start")


def test_it_is_told_of_the_bundle_before(loop: Loop, made: Resident, streams: Streams) -> None:
    made.foretell("bundle", "id")
    assert step(loop, made, "create", "0", streams=streams) == 0
    assert streams.said().split()[0] == "known-bundle-id"


def test_start_is_done_when_the_gate_is_closed_on_the_other_side(
    loop: Loop, made: Resident, streams: Streams, tmp_path: Path
) -> None:
    assert step(loop, made, "create", "0", streams=streams) == 0
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    inside = os.open(fifo, os.O_RDWR)
    task: Task[int | None] = Task(made.run(loop, ["runtime", "open", str(fifo), "0"], streams.child))
    opened: list[bool] = []

    def begin() -> None:
        loop.forget(inside)
        opened.append(task.done)
        os.close(inside)

    loop.on_readable(inside, begin)
    task.on_done(loop.stop)
    loop.later(10.0, loop.stop)
    loop._running = True
    loop.run()
    assert (opened, task.result()) == ([False], 0)


def test_failure_ends_it(loop: Loop, made: Resident, streams: Streams) -> None:
    assert step(loop, made, "create", "1", streams=streams) == 1
    assert not made.takes("start")


def test_one_that_has_a_child_ends_so_that_the_child_is_ours(
    loop: Loop, made: Resident, streams: Streams
) -> None:
    assert step(loop, made, "create", "leave", "0", streams=streams) == 0
    assert not made.takes("start")


def test_streams_are_left_to_the_container(loop: Loop, made: Resident, streams: Streams) -> None:
    assert step(loop, made, "create", "0", streams=streams) == 0
    streams.said()
    os.close(streams.output)
    assert streams.said() == ""  # the end: nobody else holds it
    streams.output = os.dup(0)


def test_one_that_left_has_not_begun(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: Streams
) -> None:
    (tmp_path / "resident_runtime.py").write_text(RUNTIME.replace("{known}", "-"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(resident, "IDLE_SECONDS", 0.0)
    waiting = Resident("resident_runtime")
    waiting.watch(loop)
    assert step(loop, waiting, "create", "0", streams=streams) == 0
    streams.said()
    loop.later(0.2, lambda: os.write(streams.output, b"nothing"))
    assert waiting._end is not None
    while not waiting._end.done:
        loop._running = True
        loop.soon(loop.stop)
        loop.reap()
        loop.run()

    assert step(loop, waiting, "start", "0", streams=streams) is None


def test_one_that_was_killed_before_it_read_has_not_begun(
    loop: Loop, made: Resident, streams: Streams
) -> None:
    assert step(loop, made, "create", "0", streams=streams) == 0
    os.kill(made._pid, signal.SIGSTOP)
    loop.soon(lambda: os.kill(made._pid, signal.SIGKILL))

    assert step(loop, made, "start", "0", streams=streams) is None


def test_one_that_was_killed_at_work_tells_its_status(loop: Loop, made: Resident, streams: Streams) -> None:
    def kill() -> None:
        loop.forget(streams.reader)  # nobody reads it: it would be told again, of one that has been reaped
        os.kill(made._pid, signal.SIGKILL)

    loop.on_readable(streams.reader, kill)
    assert step(loop, made, "create", "wait", "0", streams=streams) == 137
