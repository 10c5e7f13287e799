"""One machine with upstream's shim and one with ours, and a task on it, for the tests of the contract."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from shim_support import UPSTREAM, Machine, Task, make_machine, own_program

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=["upstream", "ours"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if request.param == "upstream" and shutil.which(UPSTREAM) is None:
        pytest.skip(f"needs {UPSTREAM} on PATH")
    directory = tmp_path_factory.mktemp(str(request.param))
    program = [UPSTREAM] if request.param == "upstream" else own_program(directory)
    made = make_machine(directory, program, "runc")
    yield made
    made.close()


@pytest.fixture
def task(machine: Machine) -> Iterator[Task]:
    """A container that sleeps."""
    made = machine.running("sleep", "1000")
    yield made
    made.end()
