"""Messages of the inner hops: bare names, mappings that name a call, and what `!not` forbids."""

from __future__ import annotations

from typing import Any

import pytest

from sixhops.harness.errors import Mark
from sixhops.harness.exchange import HopMessage
from sixhops.harness.match import Messages, match
from sixhops.harness.scenario.model import Matcher

SEEN = {
    "containerd": [
        "Containers/Create -> OK",
        "Tasks/Wait -> ...",
        "Tasks/Get -> NOT_FOUND",
        "event /tasks/start",
    ],
    "shim": ["shim start -> 0", "Create -> OK", "Kill -> NOT_FOUND"],
    "runtime": ["create -> 0", "start -> 1", "events -> ..."],
    "registry": ["GET /v2/ -> 200", "GET /v2/x -> OK"],
}


def messages(hop: str, fields: dict[str, Any] | None = None) -> Messages:
    return Messages(
        tuple(
            HopMessage(hop, number, 0.0, 0.1, line, {"call": line.partition(" -> ")[0], **(fields or {})})
            for number, line in enumerate(SEEN[hop])
        )
    )


def wrap(name: str, argument: Any) -> Matcher:
    return Matcher(name, argument, Mark("x.yaml", 1, 1))


@pytest.mark.parametrize(
    ("hop", "expected"),
    [
        ("containerd", ["Containers/Create", "Tasks/Wait"]),
        ("containerd", ["Tasks/Wait -> ...", "Tasks/Get -> NOT_FOUND"]),
        ("containerd", ["event /tasks/start"]),
        ("containerd", [{"call": "Tasks/Get", "summary": wrap("re", "NOT_FOUND$")}]),
        ("shim", ["shim start", "Create"]),
        ("shim", [{"call": "Create"}]),
        ("runtime", ["create", "start -> 1", "events"]),
        ("runtime", wrap("exact", ["create", "start -> 1", "events"])),
        ("runtime", wrap("unordered", ["events", "create"])),
        ("runtime", [wrap("not", "delete"), "create", wrap("not", "start"), "start -> 1"]),
        ("registry", ["GET /v2/ -> 200"]),
    ],
)
def test_these_hold(hop: str, expected: Any) -> None:
    assert match(expected, messages(hop)) == []


@pytest.mark.parametrize(
    ("hop", "expected"),
    [
        ("containerd", ["Tasks/Get"]),
        ("containerd", ["Containers/Creat"]),
        ("containerd", ["event /tasks/star"]),
        ("containerd", [{"call": "Tasks/Get"}]),
        ("shim", ["Kill"]),
        ("shim", ["shim"]),
        ("runtime", ["start"]),
        ("runtime", [{"call": "start"}]),
        ("runtime", wrap("exact", ["create", "events"])),
        ("runtime", [wrap("not", "start")]),
        ("runtime", [wrap("not", {"call": "start"})]),
        ("containerd", [wrap("not", "Tasks/Get")]),
        ("containerd", ["Containers/Create", wrap("not", "Tasks/Wait"), "Tasks/Get -> NOT_FOUND"]),
        ("registry", ["GET /v2/x"]),
        ("runtime", wrap("none", None)),
        ("runtime", []),
    ],
)
def test_these_do_not_hold(hop: str, expected: Any) -> None:
    assert match(expected, messages(hop))


def test_a_mapping_looks_at_payloads_and_wants_success() -> None:
    seen = messages("runtime", {"config": {"process": {"args": ["sleep"]}}, "exit": 0})

    assert match([{"call": "create", "config": {"process": {"args": ["sleep"]}}}], seen) == []
    assert match([{"call": "create", "config": {"process": {"args": ["other"]}}}], seen)
    assert match([{"call": "start", "config": {"process": {"args": ["sleep"]}}}], seen)
    assert match([{"call": "start", "exit": 0}], seen) == []


def test_the_mismatch_of_a_call_that_failed_says_so() -> None:
    (wrong,) = match([{"call": "Kill", "id": "x"}], messages("shim", {"id": "x"}))

    assert any("did not succeed" in note for note in wrong.notes)


def test_a_bare_name_that_is_missing_shows_what_was_there() -> None:
    (wrong,) = match(["Tasks/Get"], messages("containerd"))

    assert any("Tasks/Get -> NOT_FOUND" in note for note in wrong.notes)
