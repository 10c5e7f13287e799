"""Rows of the picture: order of time, answers of their own where others lie between, lanes at work."""

from __future__ import annotations

import pytest
from saved_runs import call, request

from sixhops.harness.exchange import Exchange
from sixhops.harness.report.lanes import LANES, lanes_of_message, lanes_of_step, own_hop
from sixhops.harness.report.rows import Call, rows_of


def shown(*calls: Call) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(row.kind, row.message, row.active) for row in rows_of(calls)]


def test_a_call_without_others_inside_is_one_row() -> None:
    assert shown(Call(0, 0, 1, 0.0, 0.1), Call(1, 1, 3, 0.2, 0.3)) == [("call", 0, (1,)), ("call", 1, (3,))]


def test_a_call_with_another_inside_has_an_answer_of_its_own() -> None:
    rows = rows_of([Call(0, 0, 1, 0.0, 1.0), Call(1, 1, 3, 0.2, 0.8), Call(2, 3, 4, 0.3, 0.4)])

    assert [(row.kind, row.message) for row in rows] == [
        ("ask", 0), ("ask", 1), ("call", 2), ("answer", 1), ("answer", 0)
    ]  # fmt: skip
    assert [row.active for row in rows] == [(1,), (1, 3), (1, 3, 4), (1, 3), (1,)]
    assert (rows[3].source, rows[3].sink) == (3, 1)


def test_calls_that_overlap_end_in_order_of_time() -> None:
    assert shown(Call(0, 1, 2, 0.0, 0.5), Call(1, 1, 2, 0.1, 0.9))[-2:] == [
        ("call", 1, (2,)),
        ("answer", 0, (2,)),
    ]


def test_an_event_has_no_answer_and_opens_nothing() -> None:
    assert shown(Call(0, 3, 1, 0.0, 9.0, is_event=True), Call(1, 1, 3, 1.0, 2.0)) == [
        ("event", 0, (1,)),
        ("call", 1, (3,)),
    ]


def test_the_answer_of_an_earlier_question_stands_at_its_end() -> None:
    assert [row[:2] for row in shown(Call(0, 0, 1, 0.0, 0.5, answer_only=True), Call(1, 1, 3, 0.1, 0.2))] == [
        ("call", 1),
        ("answer", 0),
    ]


@pytest.mark.parametrize(
    ("hop", "summary", "fields", "ends"),
    [
        ("engine", "GET /_ping -> 200", {}, "docker dockerd"),
        ("registry", "GET /v2/ -> 200", {}, "dockerd registry"),
        ("containerd", "Tasks/Create -> OK", {"namespace": "moby"}, "dockerd containerd"),
        ("containerd", "Tasks/Create -> OK", {"namespace": "sixhops"}, "docker containerd"),
        ("containerd", "event /tasks/start", {"namespace": "moby"}, "containerd dockerd"),
        ("containerd", "Events/Subscribe -> ...", {}, "dockerd containerd"),
        ("shim", "Create -> OK", {}, "containerd shim"),
        ("shim", "Events/Forward -> OK", {}, "shim containerd"),
        ("runtime", "create -> 0", {}, "shim runc"),
    ],
)
def test_a_message_runs_between_the_programs_of_its_hop(
    hop: str, summary: str, fields: dict[str, str], ends: str
) -> None:
    lanes = lanes_of_message(call(1, hop, summary, 0.0, 1.0, **fields))

    assert " ".join(LANES[lane] for lane in lanes) == ends


def test_a_step_speaks_on_the_hop_of_its_kind_and_a_join_on_that_of_its_background_step() -> None:
    grpc = Exchange(0, "g", "grpc", 0, 1, {"path": "/a/B", "messages": []})
    join = Exchange(1, "j", "join", 0, 1, {"path": "/a/B", "messages": []})

    assert [own_hop(item) for item in (request(0, "x", 0, 1), grpc, join)] == [
        "engine",
        "containerd",
        "containerd",
    ]
    assert lanes_of_step(join) == (0, LANES.index("containerd"))
