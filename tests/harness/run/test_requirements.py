from __future__ import annotations

from typing import Any, cast

import pytest
from socket_engine import one

from sixhops.harness.run.requirements import looks_inside, missing_requirement, starts_container
from sixhops.harness.scenario.load import load_text
from sixhops.harness.target import TargetFacts

STEP = "steps:\n  - request: GET /_ping\n"


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("    expect: {status: 200}\n", False),
        ("    expect: {registry: !none }\n", False),
        ("    expect: {containerd: !none }\n", True),
        ("    expect: {shim: [Create]}\n", True),
        ("    expect: {runtime: [create]}\n", True),
        ("    save: {pid: '$shim[0].response.pid'}\n", True),
        ("    eventually: {timeout: 1s, fail_if: {runtime: [delete]}}\n    expect: {status: 200}\n", True),
        ("requires: {hop: shim}\n", True),
        ("cleanup:\n  - request: GET /_ping\n    expect: {containerd: !none }\n", True),
    ],
)
def test_a_scenario_looks_inside_when_it_names_an_inner_hop(text: str, inside: bool) -> None:
    assert looks_inside(one(STEP + text)) is inside


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("steps:\n  - request: POST /containers/x/start\n", True),
        ("steps:\n  - request: POST /containers/y/restart?t=1\n", True),
        ("steps:\n  - request: GET /containers/x/start\n", False),
        ("steps:\n  - request: POST /containers/x/stop\n", False),
        ("requires: {program: docker}\nsteps:\n  - docker: run --rm busybox true\n", True),
        ("requires: {program: docker}\nsteps:\n  - docker: ps --no-trunc\n", False),
    ],
)
def test_what_starts_a_container(text: str, starts: bool) -> None:
    assert starts_container(one(text)) is starts


def test_what_a_row_starts() -> None:
    head = "title: t\nrequires: {program: docker}\nfor:\n"
    rows = "  - {id: a, line: [run, busybox]}\n  - {id: b, line: [ps]}\n"
    first, second = load_text(head + rows + 'steps:\n  - docker: "${row.line}"\n', "scenario.yaml")
    assert (starts_container(first), starts_container(second)) == (True, False)


class Aim:
    """As much of a target as requirements look at; `problem` is what its machine's CRIU has, None for no machine of ours."""

    def __init__(self, problem: str | None = None, *, experimental: bool = False) -> None:
        self.facts = TargetFacts(
            "x", "20", (1, 12), (1, 41), True, 1, "", "", {}, {}, experimental=experimental
        )
        self.registry = None
        self.problem = problem

    @property
    def machine(self) -> Any:
        return self if self.problem is not None else None

    def criu_problem(self) -> str:
        return self.problem or ""


@pytest.mark.parametrize(
    ("text", "aim", "reason"),
    [
        ("requires: {program: criu}\n", Aim(""), None),
        (
            "requires: {program: criu}\n",
            Aim("there is none on PATH"),
            "needs criu, and there is none on PATH",
        ),
        ("requires: {program: criu}\n", Aim(), "needs criu, and sixhops did not start this engine"),
        ("", Aim("there is none on PATH"), None),
        ("requires: {experimental: true}\n", Aim(experimental=True), None),
        ("requires: {experimental: true}\n", Aim(), "needs an engine with experimental features"),
    ],
)
def test_what_a_target_lacks(text: str, aim: Aim, reason: str | None) -> None:
    assert missing_requirement(one(text + STEP), cast("Any", aim)) == reason
