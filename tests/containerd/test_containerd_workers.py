"""Workers while the fork server has something else to do: whoever wants one waits, and nobody else."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from containerd_support import SECONDS

from sixhops.containerd.tasks.workers import Workers
from sixhops.linux import forkserver
from sixhops.linux.forkserver import ForkServer

WORKER = """
import os
import signal

def wait_for(arguments):
    with open(arguments["path"], "rb", buffering=0) as file:
        file.read(1)

def say(arguments, descriptors):
    os.write(descriptors[-1], arguments["word"].encode())
    return 0
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workers_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def run_held(scenario: Callable[[Workers, int, int], Awaitable[None]]) -> int:
    """Run a scenario with workers whose fork server prepares something until a byte is written to the last descriptor.

    Its second argument is the fork server's pid. Return how many fork servers there were.
    """
    made: list[ForkServer] = []

    def spawn() -> ForkServer:
        made.append(forkserver.spawn(["workers_worker"], "test-fork"))
        return made[-1]

    async def held() -> None:
        workers = Workers(spawn(), spawn)
        gate, opened = os.pipe()
        try:
            workers.prepare("workers_worker", "wait_for", {"path": f"/proc/{os.getpid()}/fd/{gate}"})
            await scenario(workers, made[0].pid, opened)
        finally:
            workers.close()
            os.close(gate)
            os.close(opened)

    asyncio.run(asyncio.wait_for(held(), SECONDS))
    return len(made)


def asked(workers: Workers, word: str) -> asyncio.Task[bytes]:
    return asyncio.create_task(workers.run("workers_worker", "say", {"word": word}))


def test_the_loop_goes_on_while_something_is_prepared() -> None:
    async def scenario(workers: Workers, _pid: int, opened: int) -> None:
        first, second, given_up = (asked(workers, word) for word in ("first", "second", "third"))
        await asyncio.sleep(0)  # they have asked; the loop is ours, which is what this is about
        given_up.cancel()
        assert not first.done()
        os.write(opened, b"x")
        assert await asyncio.gather(first, second) == [b"first", b"second"]
        assert given_up.cancelled()

    assert run_held(scenario) == 1


def test_one_that_dies_meanwhile_is_replaced_once() -> None:
    async def scenario(workers: Workers, pid: int, _opened: int) -> None:
        words = [f"word {number}" for number in range(3)]
        tasks = [asked(workers, word) for word in words]
        await asyncio.sleep(0)
        os.kill(pid, 9)
        assert await asyncio.gather(*tasks) == [word.encode() for word in words]

    assert run_held(scenario) == 2


def test_a_worker_that_nobody_waits_for_any_more_is_not_taken_for_the_next_ones() -> None:
    async def scenario(workers: Workers, pid: int, opened: int) -> None:
        os.write(opened, b"x")
        assert await asked(workers, "before") == b"before"
        os.kill(pid, signal.SIGSTOP)  # it is asked, and does not answer
        given_up = asked(workers, "given up")
        for _ in range(5):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        first, second = asked(workers, "first"), asked(workers, "second")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not first.done()
        os.kill(pid, signal.SIGCONT)
        assert await asyncio.gather(first, second) == [b"first", b"second"]
        assert given_up.cancelled()

    assert run_held(scenario) == 1


def test_one_that_dies_before_it_answers_is_replaced_once() -> None:
    async def scenario(workers: Workers, pid: int, opened: int) -> None:
        os.write(opened, b"x")
        assert await asked(workers, "before") == b"before"
        os.kill(pid, signal.SIGSTOP)
        first, second = asked(workers, "first"), asked(workers, "second")
        for _ in range(5):
            await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert await asyncio.gather(first, second) == [b"first", b"second"]

    assert run_held(scenario) == 2
