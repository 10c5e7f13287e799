# ruff: noqa: E501 - a table of texts reads best with one row a line
"""Accepted differences: read strictly, matched narrowly, and told when they no longer occur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.diff.accepted import Accepted, Comparison, check_accepted, load_accepted, sort_out
from sixhops.harness.diff.model import Difference
from sixhops.harness.scenario.load import load_text

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAM = {
    "name": "upstream",
    "engine_version": "20.10.24+dfsg1",
    "programs": {"dockerd": "upstream", "runc": "upstream"},
}
REFERENCE = {
    "name": "reference",
    "engine_version": "20.10.24+sixhops",
    "programs": {"dockerd": "reference", "runc": "upstream"},
}
HEAD = "a: {dockerd: upstream}\nb: {dockerd: reference}\n"


def load(tmp_path: Path, text: str) -> list[Accepted]:
    (tmp_path / "x.yaml").write_text(text)
    files, errors = load_accepted(tmp_path)
    assert not errors, errors
    return files


def one(scenario: str = "engine/a", path: str = "json.Id", **more: Any) -> Difference:
    values = {
        "step": 1,
        "step_name": "look",
        "hop": "engine",
        "message": "GET /x -> 200",
        "kind": "changed",
        **more,
    }
    return Difference(scenario=scenario, path=path, **values)


def comparison(
    *found: Difference, scenario: str = "engine/a", a: Any = UPSTREAM, b: Any = REFERENCE, unseen: Any = None
) -> Comparison:
    return Comparison(scenario, a, b, unseen or {}, found)


@pytest.mark.parametrize(
    ("entry", "is_accepted"),
    [
        ("field: json.Id", True),
        ("field: json.*", True),
        ("field: [json.Name, json.Id]", True),
        ("field: json", False),
        ("scenario: engine/a", True),
        ("scenario: engine/*", True),
        ("scenario: registry/*", False),
        ("{scenario: engine/a, step: look}", True),
        ("{scenario: engine/a, step: 2}", True),
        ("{scenario: engine/a, step: 1}", False),
        ("{scenario: engine/a, hop: registry}", False),
        ("{message: GET /x*, kind: changed}", True),
        ("{message: GET /x*, kind: [missing, added]}", False),
        ("message: 'GET /y*'", False),
    ],
)  # fmt: skip
def test_an_entry_means_what_it_says(tmp_path: Path, entry: str, is_accepted: bool) -> None:
    text = entry.strip("{}") if entry.startswith("{") else entry
    body = "".join(f"    {part}\n" for part in text.split(", ") if "[" not in text) or f"    {text}\n"
    if "[" in text and entry.startswith("{"):
        body = "    message: GET /x*\n    kind: [missing, added]\n"
    files = load(tmp_path, f"{HEAD}differences:\n  - reason: r\n{body}")

    result = sort_out([comparison(one())], files, [])

    assert bool(result.accepted) == is_accepted
    assert bool(result.news) != is_accepted


@pytest.mark.parametrize(
    ("a", "b", "applies"),
    [
        (UPSTREAM, REFERENCE, True),
        (REFERENCE, UPSTREAM, True),
        (UPSTREAM, UPSTREAM, False),
        (REFERENCE, REFERENCE, False),
    ],
)
def test_differences_hold_between_two_kinds_of_targets(tmp_path: Path, a: Any, b: Any, applies: bool) -> None:
    files = load(tmp_path, f"{HEAD}differences: [{{field: json.Id, reason: r}}]\n")

    assert bool(sort_out([comparison(one(), a=a, b=b)], files, []).accepted) == applies


def test_an_engine_is_meant_by_version(tmp_path: Path) -> None:
    files = load(
        tmp_path,
        "a: {engine: '20.10', dockerd: upstream}\nb: {engine: '28.*'}\ndifferences: [{field: x, reason: r}]\n",
    )

    assert files[0].applies(UPSTREAM, {**REFERENCE, "engine_version": "28.5"})
    assert not files[0].applies(UPSTREAM, REFERENCE)


def test_what_varies_holds_everywhere_and_need_not_occur(tmp_path: Path) -> None:
    files = load(tmp_path, "varies: [{scenario: engine/a, field: json.Id, reason: r}]\n")

    assert sort_out([comparison(one(), b=UPSTREAM)], files, ["engine/a"]).news == []
    assert sort_out([comparison()], files, ["engine/a"]).stale == []


@pytest.mark.parametrize(
    ("entry", "stale"),
    [
        ("{field: json.Id, reason: r}", []),
        ("{field: json.Gone, reason: the reason}", ["x.yaml:3:15: an accepted difference did not occur: the reason"]),
        ("{field: [json.Id, json.Gone], reason: r}", ["x.yaml:3:15: an accepted difference did not occur at json.Gone: r"]),
        ("{scenario: [engine/a, engine/b], field: json.Id, reason: r}", ["x.yaml:3:15: an accepted difference did not occur in engine/b: r"]),
        ("{scenario: engine/c, field: json.Id, reason: r}", []),  # was not compared
        ("{scenario: engine/*, field: json.Gone, reason: r}", []),  # not all of them were
    ],
)  # fmt: skip
def test_what_no_longer_occurs_is_told(tmp_path: Path, entry: str, stale: list[str]) -> None:
    files = load(tmp_path, f"{HEAD}differences: [{entry}]\n")
    known = ["engine/a", "engine/b"] + (["engine/c"] if "engine/" in entry and "[" not in entry else [])

    result = sort_out([comparison(one()), comparison(scenario="engine/b")], files, known)

    assert [line[line.index("x.yaml") :] for line in result.stale] == stale


def test_what_could_not_be_seen_is_not_stale(tmp_path: Path) -> None:
    files = load(tmp_path, f"{HEAD}differences: [{{hop: shim, field: x, reason: r}}]\n")

    assert sort_out([comparison(unseen={"shim": "no tap"})], files, ["engine/a"]).stale == []
    assert len(sort_out([comparison()], files, ["engine/a"]).stale) == 1


def test_an_entry_of_any_hop_may_have_occurred_on_one_that_was_not_seen(tmp_path: Path) -> None:
    files = load(
        tmp_path,
        f"{HEAD}differences: [{{field: x, reason: r}}, {{hop: [engine, shim], field: x, reason: r}}]\n",
    )

    assert sort_out([comparison(unseen={"shim": "no tap"})], files, ["engine/a"]).stale == []
    assert len(sort_out([comparison()], files, ["engine/a"]).stale) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("differences: [{field: x, reason: r}]", "1:1: differences hold between two kinds of targets"),
        (f"{HEAD}differences: [{{field: x}}]", "3:15: an accepted difference needs 'reason'"),
        (f"{HEAD}differences: [{{reason: x}}]", "needs one of scenario, message, field"),
        ("varies: [{field: x, reason: r, fields: y}]", "unknown key 'fields' in an accepted difference; did you mean 'field'?"),
        ("varies: [{field: x, reason: r, kind: odd}]", "'odd' is no kind; kinds are changed, missing"),
        ("varies: [{field: [], reason: r}]", "field has no element"),
        ("varies: [{field: '', reason: r}]", "field must be a text that is not empty"),
        ("a: {dockerd: mine}", "dockerd must be upstream or reference, not 'mine'"),
        ("a: {}", "a side needs a role or 'engine'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)

    files, errors = load_accepted(tmp_path)

    assert not files
    assert message in str(errors[0])


def test_entries_must_speak_of_scenarios_and_steps_that_there_are(tmp_path: Path) -> None:
    scenarios = load_text("title: t\nsteps: [{name: look, request: GET /}]\n")
    name = scenarios[0].id
    files = load(
        tmp_path,
        f"varies:\n- {{scenario: {name}, step: look, reason: r}}\n- {{scenario: {name}, step: lok, reason: r}}\n"
        "- {scenario: engine/none, reason: r}\n",
    )

    found = [str(error).partition("x.yaml:")[2] for error in check_accepted(files, scenarios)]

    assert found == [
        "3:3: no step is called 'lok'; did you mean 'look'?",
        "4:3: no scenario is called 'engine/none'",
    ]


@pytest.mark.parametrize(
    ("entry", "is_accepted"),
    [
        ("{hop: [shim, engine], reason: r, field: '*'}", True),
        ("{hop: [shim, runtime], reason: r, field: '*'}", False),
        ("{message: [POST *, GET *], reason: r}", True),
        ("{message: [POST *, PUT *], reason: r}", False),
    ],
)
def test_hops_and_messages_may_be_several(tmp_path: Path, entry: str, is_accepted: bool) -> None:
    files = load(tmp_path, f"varies: [{entry}]\n")

    assert bool(sort_out([comparison(one())], files, []).accepted) == is_accepted
