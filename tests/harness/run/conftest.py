"""Fixtures of the runner's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_machine import FakeContainerd, FakeMachine
from socket_engine import FakeTarget, SocketEngine, engine_at, facts, one

from sixhops.harness.run.scenario import run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sixhops.harness.run.result import ScenarioRun


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SocketEngine]:
    with engine_at(tmp_path) as engine:
        yield engine


@pytest.fixture
def target(engine: SocketEngine, tmp_path: Path) -> FakeTarget:
    return FakeTarget(engine.address, tmp_path, facts())


@pytest.fixture
def run(target: FakeTarget) -> Callable[[str], ScenarioRun]:
    """Run the scenario in a text on the fake target."""
    return lambda text: run_scenario(one(text), target, {})


@pytest.fixture
def machine(target: FakeTarget, tmp_path: Path) -> FakeMachine:
    """A machine for the fake target: this one, with a directory of its own."""
    target.machine = FakeMachine(tmp_path / "machine")
    return target.machine


@pytest.fixture
def containerd(machine: FakeMachine) -> Iterator[FakeContainerd]:
    with FakeContainerd(machine.containerd) as server:
        yield server
