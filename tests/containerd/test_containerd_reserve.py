"""The shim in reserve: taken by the next container, replaced, and no loss when it has gone."""

import asyncio
import contextlib
import marshal
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from containerd_support import MISSING, SECONDS, Containerd, make

from sixhops.containerd.tasks.reserve import Reserve

OURS = "io.containerd.sixhops.v1"
#: KiB that a shim has for itself with its container running; upstream's has 2250 or more.
SMALL = 2400


class Workers:
    """What is asked of the fork server; a worker is the socket that it would wait on."""

    def __init__(self) -> None:
        self.rehearsed: list[str] = []
        self.documents: list[bytes] = []
        self.sockets: list[socket.socket] = []
        self.ends: list[asyncio.Future[int]] = []
        self.changed = asyncio.Event()

    def prepare(self, _module: str, _function: str, arguments: dict[str, Any]) -> None:
        self.rehearsed.append(arguments.get("document", ""))

    async def start(
        self, _module: str, _function: str, _arguments: dict[str, Any], descriptors: Sequence[int]
    ) -> asyncio.Future[int]:
        self.sockets.append(socket.socket(fileno=os.dup(descriptors[0])))
        self.documents.append(os.pread(descriptors[1], 100, 0))
        self.ends.append(asyncio.get_running_loop().create_future())
        self.changed.set()
        return self.ends[-1]

    async def made(self, count: int) -> None:
        while len(self.sockets) < count:
            self.changed.clear()
            await self.changed.wait()


def run(scenario: Any) -> None:
    async def limited() -> None:
        workers = Workers()
        reserve = Reserve(workers, "runtime", Path("/nowhere"))  # type: ignore[arg-type]
        try:
            await asyncio.wait_for(scenario(workers, reserve), SECONDS)
        finally:
            reserve.close()
            for each in workers.sockets:
                each.close()

    asyncio.run(limited())


def test_there_is_none_before_a_first_container() -> None:
    async def scenario(workers: Workers, reserve: Reserve) -> None:
        reserve.started()
        assert not reserve.take({}, 0)
        assert not workers.sockets

    run(scenario)


def test_one_is_taken_and_replaced() -> None:
    async def scenario(workers: Workers, reserve: Reserve) -> None:
        reserve.created(b"first")
        reserve.started()
        await workers.made(1)
        # the runtime's rehearsal, then the shim's
        assert (workers.rehearsed, workers.documents) == (["first", ""], [b"first"])
        reader, writer = os.pipe()
        assert reserve.take({"id": "c"}, writer)
        data, descriptors, _flags, _address = socket.recv_fds(workers.sockets[0], 1000, 1)
        assert marshal.loads(data) == {"id": "c"}
        os.write(descriptors[0], b"x")
        assert os.read(reader, 1) == b"x"
        for descriptor in (reader, writer, *descriptors):
            os.close(descriptor)
        assert not reserve.take({}, 0)

        reserve.created(b"second")
        await workers.made(2)
        assert (workers.rehearsed, workers.documents) == (["first", ""], [b"first", b"second"])

    run(scenario)


def test_one_that_has_gone_is_not_taken() -> None:
    async def scenario(workers: Workers, reserve: Reserve) -> None:
        reserve.created(b"{}")
        reserve.started()
        await workers.made(1)
        workers.sockets[0].close()
        assert not reserve.take({}, 0)

        reserve.started()
        await workers.made(2)
        workers.ends[1].set_result(1)
        await asyncio.sleep(0)
        reserve.started()
        await workers.made(3)
        assert reserve.take({}, 0)

    run(scenario)


def test_one_is_told_of_what_may_come() -> None:
    async def scenario(workers: Workers, reserve: Reserve) -> None:
        reserve.foretell("/b", "c", b"{}")  # there is none, and nothing happens
        reserve.created(b"first")
        reserve.started()
        await workers.made(1)
        reserve.foretell("/b", "c", b"specification")
        data, (document,), _flags, _address = socket.recv_fds(workers.sockets[0], 1000, 1)
        assert marshal.loads(data) == ("/b", "c")
        assert os.pread(document, 100, 0) == b"specification"
        os.close(document)
        assert reserve.take({}, 0)

    run(scenario)


def test_one_that_does_not_listen_keeps_nobody_waiting() -> None:
    async def scenario(workers: Workers, reserve: Reserve) -> None:
        reserve.created(b"first")
        reserve.started()
        await workers.made(1)
        for number in range(10_000):  # more than fit
            reserve.foretell("/b", str(number), b"")
        assert not reserve.take({}, 0)

    run(scenario)


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Containerd]:
    made = make(tmp_path)
    made.start()
    yield made
    for identifier in made.made:
        made.remove(identifier)
    assert made.process is not None
    made.process.send_signal(signal.SIGTERM)
    assert made.process.wait(SECONDS) == 0


def children(pid: int) -> dict[int, str]:
    """Return the names of a process's children by pid, the oldest first."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has gone since
            start = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[19])
            found.append((start, int(child), Path(f"/proc/{child}/comm").read_text().strip()))
    return {child: comm for _, child, comm in sorted(found)}


def waiting(containerd: Containerd) -> int:
    """Return the pid of the one in reserve: the second of the fork server's name."""
    assert containerd.process is not None
    for _ in range(100 * SECONDS):
        forks = [pid for pid, comm in children(containerd.process.pid).items() if comm == "containerd-fork"]
        if len(forks) == 2:
            return forks[1]
        os.sched_yield()
        signal.sigtimedwait([], 0.01)
    raise AssertionError("none in reserve")


def private_memory(pid: int) -> int:
    """Return the KiB of a process that it shares with no other."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("Private_Dirty:")[2].split()[0])


@pytest.mark.skipif(os.geteuid() != 0 or bool(MISSING), reason=f"needs root, and {MISSING} on PATH")
def test_the_next_container_has_it_for_its_shim(containerd: Containerd) -> None:
    assert containerd.process is not None
    containerd.create("first", OURS, "sleep", "100")
    containerd.start_task("first")
    reserve = waiting(containerd)

    containerd.create("second", OURS, "sleep", "100")
    pid = containerd.start_task("second").pid

    assert children(containerd.process.pid)[reserve] == "containerd-shim"
    assert pid in children(reserve)
    assert private_memory(reserve) < SMALL
    other = waiting(containerd)
    os.kill(other, signal.SIGKILL)
    while other in children(containerd.process.pid):
        os.sched_yield()
    containerd.create("third", OURS, "sleep", "100")
    assert containerd.start_task("third").pid > 0
