"""`fault` steps in a run: where they are possible, what is done, and that the stack is mended whatever happens."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.errors import TargetError
from sixhops.harness.run.result import ScenarioRun

if TYPE_CHECKING:
    from socket_engine import FakeTarget, SocketEngine

Run = Callable[[str], ScenarioRun]
FAULTY = (
    "steps:\n  - fault: {kill: dockerd, signal: TERM}\n    timeout: 3s\n"
    "  - fault: {stop: shim, of: abc}\n  - fault: {restart: dockerd}\n"
    "  - fault: {fill: containerd}\n  - fault: {drain: containerd}\n"
)


class Control:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.refusal: str | None = None

    def kill(self, *what: Any) -> None:
        self.log.append(("kill", *what))
        if self.refusal is not None:
            raise TargetError(self.refusal)

    def stop(self, *what: Any) -> None:
        self.log.append(("stop", *what))

    def restart(self, *what: Any) -> None:
        self.log.append(("restart", *what))

    def fill(self, *what: Any) -> None:
        self.log.append(("fill", *what))

    def drain(self, *what: Any) -> None:
        self.log.append(("drain", *what))

    def mend(self) -> None:
        self.log.append("mend")
        if self.refusal is not None:
            raise TargetError(self.refusal)

    def daemon_pids(self) -> frozenset[int]:
        return frozenset()


@pytest.fixture
def control(target: FakeTarget) -> Control:
    control = Control()
    target.faults = control  # type: ignore[attr-defined]
    return control


def test_a_target_that_is_not_ours_skips_the_scenario(run: Run) -> None:
    result = run(FAULTY)

    assert result.skipped is not None
    assert "were not started by sixhops" in result.skipped


def test_what_is_asked_for_is_done_and_mended(run: Run, control: Control) -> None:
    result = run(FAULTY)

    assert result.passed
    assert control.log == [
        ("kill", "dockerd", None, signal.SIGTERM, 3.0),
        ("stop", "shim", "abc", 30.0),
        ("restart", "dockerd", 30.0),
        ("fill", "containerd"),
        ("drain", "containerd"),
        "mend",
    ]


def test_a_failed_fault_fails_the_step_and_a_failed_mending_is_left_over(run: Run, control: Control) -> None:
    control.refusal = "it will not go"

    result = run(FAULTY)

    assert result.exchanges[0].error == "it will not go"
    assert result.leftovers == ["the stack could not be mended: it will not go"]


def test_without_faults_nothing_is_mended(run: Run, control: Control, engine: SocketEngine) -> None:
    assert run("steps:\n  - request: GET /_ping\n").exchanges
    assert control.log == []
