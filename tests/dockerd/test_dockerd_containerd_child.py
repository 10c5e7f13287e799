"""A containerd of the engine's own: started again when it dies, ended with the engine, and when a killed engine left it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.containerd.child import ContainerdChild

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 20.0


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A program that is started like containerd, tells its number, and stays."""
    path = tmp_path / "containerd"
    os.mkfifo(tmp_path / "never")
    path.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/started\nread word < {tmp_path}/never\n")
    path.chmod(0o755)
    return str(path)


async def started(folder: Path, count: int) -> list[int]:
    """Wait until so many have told their numbers."""
    file = folder / "started"
    async with asyncio.timeout(PATIENCE):
        while not file.exists() or file.read_text().count("\n") < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    return list(map(int, file.read_text().split()))


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def child_of(folder: Path, program: str) -> ContainerdChild:
    return ContainerdChild(folder / "data", folder / "run", "info", program=program, delay=0.05)


def test_it_is_started_again_and_ends_with_the_engine(tmp_path: Path, program: str) -> None:
    async def scene() -> list[int]:
        child = child_of(tmp_path, program)
        await child.start()
        (first,) = await started(tmp_path, 1)
        os.kill(first, signal.SIGKILL)
        numbers = await started(tmp_path, 2)
        assert lives(numbers[1])
        await child.stop()
        return numbers

    numbers = asyncio.run(scene())
    assert not any(map(lives, numbers))
    assert not (tmp_path / "run" / "containerd.pid").exists()
    assert (
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]'
        in (tmp_path / "run" / "containerd.toml").read_text()
    )


def test_what_a_killed_engine_left_is_ended_first(tmp_path: Path, program: str) -> None:
    async def scene() -> list[int]:
        former, child = child_of(tmp_path, program), child_of(tmp_path, program)
        await former.start()
        await started(tmp_path, 1)
        former._watch.cancel()  # type: ignore[union-attr] # the engine is no more, and its child is
        await child.start()
        numbers = await started(tmp_path, 2)
        former_process = former._process
        assert former_process is not None
        async with asyncio.timeout(PATIENCE):
            assert await former_process.wait() == -signal.SIGTERM
        await child.stop()
        return numbers

    assert len(set(asyncio.run(scene()))) == 2


def test_another_program_under_the_old_number_is_left_alone(tmp_path: Path, program: str) -> None:
    async def scene() -> None:
        child = child_of(tmp_path, program)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "containerd.pid").write_text(str(os.getpid()))
        await child.start()
        await started(tmp_path, 1)
        await child.stop()

    asyncio.run(scene())
