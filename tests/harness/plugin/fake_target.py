"""A conftest.py for inner pytest runs: a target without an engine, on which a scenario's title says what
happens.

It answers every step with status 200; the real judge decides. Titles: `dies` (the target is gone afterwards), `dies
quietly`,
`crashes` (the process is killed), `is interrupted` (Ctrl-C), `breaks sixhops`, `leaves a mount`, `has no
tap`, `is skipped`. The target's name does the rest: `absent`, `dirty` (leaves something when it stops),
`mortal` (can't be opened twice).
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from sixhops.harness.errors import ScenarioError, TargetError
from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.judge import Status, Verdict, judge, judge_step
from sixhops.harness.run.result import ScenarioRun
from sixhops.harness.scenario.model import Hop
from sixhops.harness.scenario.variables import make_scope
from sixhops.harness.target import Address, TargetFacts


class FakeTarget:
    def __init__(self, name: str, directory: Path) -> None:
        self.facts = TargetFacts(
            name=name,
            engine_version="20.10.24",
            api_minimum=(1, 12),
            api_maximum=(1, 41),
            root=True,
            cgroup_version=1,
            operating_system="linux",
            architecture="amd64",
            programs={"dockerd": "upstream"},
            hops=dict.fromkeys(Hop),
        )
        self.engine = Address("unix:///nowhere")
        self.directory = directory
        self.dead = False

    def check_alive(self) -> None:
        if self.dead:
            raise TargetError("dockerd died with status 2\nlast line of its log")

    def log_marks(self) -> dict[str, int]:
        return {"dockerd": 0}

    def log_since(self, marks: dict[str, int], lines: int = 20) -> dict[str, str]:
        return {"dockerd": "level=error msg=overheated"}

    def close(self) -> list[str]:
        with Path(os.environ["FAKE_LOG"]).open("a") as log:
            log.write("close\n")
        return ["mount /somewhere"] if self.facts.name == "dirty" else []


def pytest_sixhops_open_target(name: str, directory: Path, options: Any) -> FakeTarget:
    with Path(os.environ["FAKE_LOG"]).open("a") as log:
        log.write(
            f"open{' and-keep' * options.keep_state}{' tapped' * options.inner_taps}"
            f"{' experimental' * options.experimental}\n"
        )
    opened = Path(os.environ["FAKE_LOG"]).read_text().count("open")
    if name == "absent" or (name == "mortal" and opened > 1):
        raise TargetError("unix:///nowhere: connection refused")
    return FakeTarget(name, directory)


def pytest_sixhops_images() -> dict[str, Any]:
    return {}


def pytest_sixhops_run(scenario: Any, target: FakeTarget, on_begin: Any, on_step: Any) -> Any:
    if scenario.title != "is skipped":
        on_begin(make_scope(scenario))
    match scenario.title:
        case "crashes":
            os.kill(os.getpid(), signal.SIGKILL)
        case "is interrupted":
            os.kill(os.getpid(), signal.SIGINT)
        case "breaks sixhops":
            raise ZeroDivisionError("a bug of ours")
        case "is wrong":
            raise ScenarioError("no variable is called nothing", scenario.steps[0].mark)
        case "dies":
            target.dead = True
            raise TargetError("connection reset by the engine")
        case "dies quietly":
            target.dead = True
        case "leaves a mount":
            return replace(performed(scenario, on_step), leftovers=["mount /left/behind"])
        case "is skipped":
            return ScenarioRun([], Verdict(Status.SKIPPED), skipped="needs cgroup version 2")
    return performed(scenario, on_step)


def performed(scenario: Any, on_step: Any) -> ScenarioRun:
    exchanges, scope = [], make_scope(scenario)
    for step in scenario.steps:
        message = HopMessage("engine", step.index, 0.0, 0.1, "GET /_ping -> 200")
        unobserved = {"registry": "no tap in front of the registry"} if scenario.title == "has no tap" else {}
        facets: dict[str, Any] = {"status": 200, "json": {"a": 1, "b": "x"}}
        exchange = Exchange(step.index, step.name, "request", 0.0, 0.1, {}, facets, [message], unobserved)
        exchanges.append(exchange)
        verdict = judge_step(scenario, step, exchange, scope)
        on_step(step, exchange, verdict)
        if verdict.mismatches:
            break
    return ScenarioRun(exchanges=exchanges, verdict=judge(scenario, exchanges, scope), scope=scope)
