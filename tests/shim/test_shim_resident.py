import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sixhops.shim.loop import Loop, Task
from sixhops.shim.resident import Resident

pytestmark = pytest.mark.alone

RUNTIME = """
import os

def rehearse(document, directory):
    global known
    known = document

def foresee(bundle, identifier, spare, document):
    global known
    known += f"-{os.path.basename(bundle)}-{identifier}"
    if document is not None:
        known += f"-{document}"
        os.mkdir(bundle)  # as a sign

def become(connection, begin):
    os.read(connection, 1)
    return 0

def open_gate(path, descriptors):
    if os.path.exists(path):
        os.unlink(path)
        return True
    return False

def main(arguments, *, sibling, spare, offer):
    assert sibling
    os.write(1, f"{known} {os.getpid()} {os.getcwd()} {' '.join(arguments)}".encode())
    if "wait" in arguments:
        os.read(0, 1)
    if "leave" in arguments and os.fork() == 0:
        os.read(0, 1)
        os._exit(0)
    if "offer" in arguments:
        gate = os.open(arguments[2], os.O_WRONLY)
        offer(arguments[2], (gate,))
        os.close(gate)
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


def lived(loop: Loop, task: Task[int | None]) -> int | None:
    task.on_done(loop.stop)
    loop.later(10.0, loop.stop)
    if not task.done:
        loop._running = True  # a loop of one life, lived once more
        loop.run()
    assert task.done, "the step takes longer than ten seconds"
    return task.result()


def create(loop: Loop, waiting: Resident, *words: str, streams: Streams) -> int | None:
    return lived(loop, Task(waiting.create(loop, ["runtime", "create", *words], streams.child)))


def ended(loop: Loop, waiting: Resident) -> int:
    """Wait for the runtime's end and the spare's; return the status of the first."""
    assert waiting._end is not None
    assert waiting._spare_end is not None
    for end in (waiting._end, waiting._spare_end):
        if not end.done:
            end.on_done(loop.stop)
            loop.later(10.0, loop.stop)
            loop._running = True
            loop.run()
        assert end.done
    return waiting._end.result().status


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


def test_it_creates_and_goes(loop: Loop, made: Resident, streams: Streams) -> None:
    assert made.takes("create")
    assert create(loop, made, "0", streams=streams) == 0
    document, pid, directory, *words = streams.said().split()
    assert (document, directory, words) == ("known", str(Path.cwd()), ["create", "0"])
    assert int(pid) == made._pid

    assert not made.takes("create")
    assert not made.takes("start")
    assert ended(loop, made) == 0


def test_it_is_told_of_the_bundle_before(loop: Loop, made: Resident, streams: Streams) -> None:
    made.foretell("bundle", "id")
    assert create(loop, made, "0", streams=streams) == 0
    assert streams.said().split()[0] == "known-bundle-id"


def test_of_two_guesses_the_later_one_counts(
    loop: Loop, made: Resident, streams: Streams, tmp_path: Path
) -> None:
    os.kill(made._pid, signal.SIGSTOP)
    os.waitid(os.P_PID, made._pid, os.WSTOPPED | os.WNOWAIT)
    for name in ("first", "second"):
        (tmp_path / f"{name}.json").write_text(name)
        document = os.open(tmp_path / f"{name}.json", os.O_RDONLY)
        made.foretell(str(tmp_path / name), "id", document)
        os.close(document)
    os.kill(made._pid, signal.SIGCONT)
    end = time.monotonic() + 10
    while not (tmp_path / "second").exists() and time.monotonic() < end:
        os.sched_yield()

    assert create(loop, made, "0", streams=streams) == 0
    assert streams.said().startswith("known-second-id-second ")


def test_start_is_done_when_the_gate_is_closed_on_the_other_side(
    loop: Loop, made: Resident, streams: Streams, fifo: Path
) -> None:
    inside = os.open(fifo, os.O_RDWR)
    assert create(loop, made, "offer", str(fifo), "0", streams=streams) == 0
    assert made.takes("start")

    task: Task[int | None] = Task(made.start(loop))
    assert not task.done
    assert not fifo.exists()
    os.close(inside)
    assert lived(loop, task) == 0
    assert made._end is not None
    assert made._end.done
    assert not made.takes("start")


def test_a_gate_that_is_not_as_it_was_is_left_to_a_runtime(
    loop: Loop, made: Resident, streams: Streams, fifo: Path
) -> None:
    inside = os.open(fifo, os.O_RDWR)
    assert create(loop, made, "offer", str(fifo), "0", streams=streams) == 0
    fifo.unlink()

    assert lived(loop, Task(made.start(loop))) is None
    assert not made.takes("start")
    os.close(inside)


def test_failure_ends_it(loop: Loop, made: Resident, streams: Streams) -> None:
    assert create(loop, made, "1", streams=streams) == 1
    assert not made.takes("start")
    assert ended(loop, made) == 1


def test_one_that_has_a_child_ends_so_that_the_child_is_ours(
    loop: Loop, made: Resident, streams: Streams, fifo: Path
) -> None:
    inside = os.open(fifo, os.O_RDWR)
    assert create(loop, made, "leave", str(fifo), "offer", "0", streams=streams) == 0
    assert not made.takes("start")
    os.close(inside)


def test_streams_are_left_to_the_container(loop: Loop, made: Resident, streams: Streams) -> None:
    assert create(loop, made, "0", streams=streams) == 0
    streams.said()
    os.close(streams.output)
    assert streams.said() == ""  # the end: nobody else holds it
    streams.output = os.dup(0)


def test_one_that_was_killed_before_it_read_has_not_begun(
    loop: Loop, made: Resident, streams: Streams
) -> None:
    os.kill(made._pid, signal.SIGSTOP)
    os.waitid(os.P_PID, made._pid, os.WSTOPPED | os.WNOWAIT)  # it may be reading still when kill(2) returns
    loop.soon(lambda: os.kill(made._pid, signal.SIGKILL))

    assert create(loop, made, "0", streams=streams) is None
    assert ended(loop, made) == 137


def test_one_that_was_killed_at_work_tells_its_status(loop: Loop, made: Resident, streams: Streams) -> None:
    def kill() -> None:
        loop.forget(streams.reader)  # nobody reads it: it would be told again, of one that has been reaped
        os.kill(made._pid, signal.SIGKILL)

    loop.on_readable(streams.reader, kill)
    assert create(loop, made, "wait", "0", streams=streams) == 137
