"""The `fault` step and `${letters[N]}`: what they become, and what is wrong with them."""

from __future__ import annotations

import pytest

from sixhops.harness.errors import ScenarioError, ScenarioErrors
from sixhops.harness.scenario.explain import explain
from sixhops.harness.scenario.load import load_text
from sixhops.harness.scenario.model import FaultStep, RequestStep, Template, Value
from sixhops.harness.scenario.variables import Scope, make_scope, resolve

HEAD = "title: t\nsteps:\n"


def step_json(text: str) -> Value:
    step = load_text(f"{HEAD}  - request: GET /x\n    json: '{text}'\n")[0].steps[0]
    assert isinstance(step, RequestStep)
    return step.json


@pytest.mark.parametrize(
    ("text", "action", "victim", "signal", "words"),
    [
        ("{kill: dockerd}", "kill", "dockerd", "KILL", "kill the dockerd with SIGKILL"),
        ("{kill: registry, signal: TERM}", "kill", "registry", "TERM", "kill the registry with SIGTERM"),
        ("{stop: containerd}", "stop", "containerd", "KILL", "stop the containerd"),
        ("{continue: shim, of: abc}", "continue", "shim", "KILL", "continue the shim of abc"),
        ("{restart: dockerd}", "restart", "dockerd", "KILL", "restart the dockerd"),
    ],
)
def test_each_fault_is_read_and_explained(
    text: str, action: str, victim: str, signal: str, words: str
) -> None:
    scenario = load_text(f"{HEAD}  - fault: {text}\n")[0]
    step = scenario.steps[0]

    assert isinstance(step, FaultStep)
    assert (step.action, step.victim, step.signal) == (action, victim, signal)
    assert words in explain(scenario)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kill: shim}", "a shim needs `of`"),
        ("{kill: dockerd, of: abc}", "dockerd is not of a container"),
        ("{stop: dockerd, signal: KILL}", "signal is for kill"),
        ("{restart: shim}", "must be one of dockerd, containerd, registry"),
        ("{kill: dockerd, stop: dockerd}", "kill is there already"),
        ("{}", "needs one of kill, stop, continue, restart"),
        ("{kill: runc}", "must be one of"),
        ("{kill: dockerd}\n    expect: {status: 200}", "expect is not for a fault step"),
    ],
)
def test_a_malformed_fault_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ScenarioErrors) as caught:
        load_text(f"{HEAD}  - fault: {text}\n")

    assert message in str(caught.value)


def test_letters_are_as_many_as_asked_for() -> None:
    scenario = load_text(f"{HEAD}  - request: GET /x\n    json: '${{letters[5]}}'\n")[0]
    step = scenario.steps[0]

    assert isinstance(step, RequestStep)
    assert resolve(step.json, make_scope(scenario)) == "aaaaa"


@pytest.mark.parametrize(
    "name", ["letters", "letters.x", "letters[1].y", "letters[-1]", "letters[99999999999]"]
)
def test_letters_without_a_count_are_refused(name: str) -> None:
    with pytest.raises(ScenarioError, match="letters takes a count"):
        resolve(step_json(f"${{{name}}}"), Scope({}))


def test_a_request_line_of_a_row_may_have_letters() -> None:
    scenario = load_text(
        "title: t\nfor:\n  - {id: a, line: 'GET /x/${letters[3]}'}\nsteps:\n  - request: ${row.line}\n"
    )[0]
    step = scenario.steps[0]

    assert isinstance(step, RequestStep)
    assert isinstance(step.path, Template)
    assert (step.method, resolve(step.path, make_scope(scenario))) == ("GET", "/x/aaa")
