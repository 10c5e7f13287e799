"""Workers while the fork server has something else to do: whoever wants one waits, and nobody else."""

import asyncio
import os
from pathlib import Path

import pytest
from containerd_support import SECONDS

from sixhops.containerd.tasks.workers import Workers
from sixhops.linux import forkserver
from sixhops.linux.forkserver import ForkServer

WORKER = """
import os

def wait_for(arguments):
    with open(arguments["path"], "rb", buffering=0) as file:
        file.read(1)

def say(arguments, descriptors):
    os.write(descriptors[-1], arguments["word"].encode())
    return 0
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ForkServer]:
    (tmp_path / "workers_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return []


def test_the_loop_goes_on_while_something_is_prepared(made: list[ForkServer]) -> None:
    async def scenario() -> None:
        def spawn() -> ForkServer:
            made.append(forkserver.spawn(["workers_worker"], "test-fork"))
            return made[-1]

        workers = Workers(spawn(), spawn)
        gate, opened = os.pipe()
        try:
            workers.prepare("workers_worker", "wait_for", {"path": f"/proc/{os.getpid()}/fd/{gate}"})
            first = asyncio.create_task(workers.run("workers_worker", "say", {"word": "first"}))
            second = asyncio.create_task(workers.run("workers_worker", "say", {"word": "second"}))
            given_up = asyncio.create_task(workers.run("workers_worker", "say", {"word": "third"}))
            await asyncio.sleep(0)  # they have asked; the loop is ours, which is what this is about
            given_up.cancel()
            assert not first.done()
            os.write(opened, b"x")
            assert await asyncio.gather(first, second) == [b"first", b"second"]
            assert given_up.cancelled()
        finally:
            workers.close()
            os.close(gate)
            os.close(opened)

    asyncio.run(asyncio.wait_for(scenario(), SECONDS))
    assert len(made) == 1


def test_one_that_dies_meanwhile_is_replaced_once(made: list[ForkServer]) -> None:
    async def scenario() -> None:
        def spawn() -> ForkServer:
            made.append(forkserver.spawn(["workers_worker"], "test-fork"))
            return made[-1]

        workers = Workers(spawn(), spawn)
        gate, opened = os.pipe()
        try:
            workers.prepare("workers_worker", "wait_for", {"path": f"/proc/{os.getpid()}/fd/{gate}"})
            words = [f"word {number}" for number in range(3)]
            asked = [
                asyncio.create_task(workers.run("workers_worker", "say", {"word": word})) for word in words
            ]
            await asyncio.sleep(0)
            os.kill(made[0].pid, 9)
            assert await asyncio.gather(*asked) == [word.encode() for word in words]
        finally:
            workers.close()
            os.close(gate)
            os.close(opened)

    asyncio.run(asyncio.wait_for(scenario(), SECONDS))
    assert len(made) == 2
