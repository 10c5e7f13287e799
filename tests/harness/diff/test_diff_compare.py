"""Steps and messages are aligned; order, steps and identity are compared where they mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from diff_runs import A, B, compared, message, of, paths, run, step

if TYPE_CHECKING:
    from sixhops.harness.diff.model import Difference
    from sixhops.harness.exchange import HopMessage


def kinds(found: list[Difference]) -> list[tuple[str, str, int]]:
    return [(item.kind, item.message, item.step) for item in found]


def calls(*names: str, apart: float = 0.02, hop: str = "containerd", **fields: Any) -> list[HopMessage]:
    return [message(at, name, at * apart, hop, **fields) for at, name in enumerate(names)]


def test_equal_runs_have_no_difference() -> None:
    a = run(A, step(0, *calls("x", "y", "x")), step(1, at=1.0))
    b = run(B, step(0, *calls("x", "y", "x")), step(1, at=2.0))

    assert compared(a, b) == []


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        (("x", "z"), [("missing", "y", 0)]),
        (("x", "y", "y", "z"), [("added", "y", 0)]),
        (("x", "w", "z"), [("missing", "y", 0), ("added", "w", 0)]),
        (("y", "x", "z"), [("order", "x", 0)]),
        ((), [("missing", "x", 0), ("missing", "y", 0), ("missing", "z", 0)]),
    ],
)
def test_messages_that_differ(b: tuple[str, ...], expected: list[tuple[str, str, int]]) -> None:
    assert kinds(compared(run(A, step(0, *calls("x", "y", "z"))), run(B, step(0, *calls(*b))))) == expected


def test_a_message_s_fields_are_compared_with_those_of_its_like() -> None:
    a = run(A, step(0, message(1, "x", 0.0, n=1), message(2, "x", 0.02, n=2)))
    b = run(B, step(0, message(1, "x", 0.0, n=3), message(2, "x", 0.02, n=1)))

    assert [(item.path, item.a, item.b) for item in compared(a, b)] == [("n", 2, 3)]


def test_messages_that_overlap_come_in_any_order() -> None:
    a = run(A, step(0, *calls("x", "y", apart=0.005)))

    assert compared(a, run(B, step(0, *calls("y", "x")))) == []


def test_what_is_about_another_container_comes_in_any_order() -> None:
    first, second = {"id": of(A, "{id}")}, {"id": of(A, "{other}")}
    a = run(A, step(0, message(1, "x", 0.0, **first), message(2, "y", 0.02, **second)))
    b = run(A, step(0, message(1, "y", 0.0, **second), message(2, "x", 0.02, **first)))
    assert compared(a, b) == []

    a = run(A, step(0, message(1, "x", 0.0, **first), message(2, "y", 0.02, **first)))
    b = run(A, step(0, message(1, "y", 0.0, **first), message(2, "x", 0.02, **first)))
    assert kinds(compared(a, b)) == [("order", "x", 0)]


def test_blobs_come_in_any_order_but_after_the_manifest() -> None:
    names = ("GET /v2/x/manifests/1 -> 200", "GET /v2/x/blobs/1 -> 200", "GET /v2/x/blobs/2 -> 200")

    def pulled(*order: int) -> Any:
        return run(A, step(0, *calls(*(names[at] for at in order), hop="registry")))

    assert compared(pulled(0, 1, 2), pulled(0, 2, 1)) == []
    assert [item.kind for item in compared(pulled(0, 1, 2), pulled(1, 0, 2))] == ["order"]


def test_a_message_may_fall_into_the_next_step_but_not_anywhere() -> None:
    def with_delete(number: int, at: float) -> Any:
        steps = [step(n, at=n * 1.0) for n in range(4)]
        steps[number].messages.append(message(9, "Tasks/Delete -> OK", at))
        return run(A, *steps)

    early = with_delete(1, 1.15)
    assert compared(early, with_delete(2, 2.0)) != []
    assert compared(with_delete(1, 1.7), with_delete(2, 2.0)) == []
    assert kinds(compared(early, with_delete(3, 3.0))) == [("moved", "Tasks/Delete -> OK", 1)]


def test_repetitions_of_a_repeated_step_don_t_count() -> None:
    a, b = step(0, *calls("x", "y")), step(0, *calls("x", "x", "x", "y"))
    assert kinds(compared(run(A, a), run(B, b))) == [("added", "x", 0)] * 2

    b = step(0, *calls("x", "x", "x", "y"))
    b.attempts = 3
    assert compared(run(A, step(0, *calls("x", "y"))), run(B, b)) == []


def test_a_hop_that_one_side_could_not_see_is_left_out() -> None:
    a = run(A, step(0, *calls("x"), *calls("r", hop="registry")))
    b = run(B, step(0), unseen={"containerd": "no tap"})

    assert kinds(compared(a, b)) == [("missing", "r", 0)]


def test_a_step_that_was_not_reached_is_told_once() -> None:
    a, b = run(A, step(0), step(1, status=200)), run(B, step(0), verdict="failed")

    assert [(item.step, item.path, item.kind) for item in compared(a, b)] == [
        (-1, "verdict", "changed"),
        (1, "", "missing"),
    ]


def test_the_same_thing_must_stay_the_same_thing() -> None:
    def steps(side: str, second: str) -> Any:
        return run(
            side,
            *(
                step(at, json={"Id": of(side, which)})
                for at, which in enumerate(["{id}", second, "{other}", "{id}"])
            ),
        )

    assert compared(steps(A, "{id}"), steps(B, "{id}")) == []
    found = compared(steps(A, "{id}"), steps(B, "{other}"))
    assert [(item.step, item.path, item.kind) for item in found] == [(1, "json.Id", "identity")]
    assert found[0].a == "id 1 (elsewhere with 1)"
    assert found[0].b == "id 2 (elsewhere with 2)"


def test_a_short_id_is_that_of_its_container() -> None:
    def steps(side: str, of_which: str) -> Any:
        hostname = of(side, of_which)[:12]
        return run(side, step(0, json={"Id": of(side, "{id}"), "O": of(side, "{other}"), "h": hostname}))

    assert compared(steps(A, "{id}"), steps(B, "{id}")) == []
    assert paths(compared(steps(A, "{id}"), steps(B, "{other}"))) == [("json.h", "identity")]


def test_a_run_compared_with_itself_has_no_difference() -> None:
    one = run(A, step(0, *calls("x", "y"), json={"Id": of(A, "{id}")}, status=200))

    assert compared(one, one) == []


# --- messages that only look


def look(at: float, status: str, **more: Any) -> HopMessage:
    return message(
        int(at * 1000), "State -> OK", at, "shim", response={"status": status, "exited_at": at, **more}
    )


def test_how_often_somebody_looks_and_when_is_no_difference() -> None:
    a = run(A, step(0, look(0.01, "RUNNING")), step(1, at=1.0))
    b = run(B, step(0, look(0.01, "RUNNING"), look(0.02, "RUNNING")), step(1, look(1.0, "STOPPED"), at=1.0))

    assert compared(a, b) == []


def test_what_a_look_sees_is_compared_but_for_what_passes() -> None:
    a, b = (
        run(A, step(0, look(0.01, "RUNNING", stdout="/x"))),
        run(B, step(0, look(0.01, "STOPPED", stdout="/y"))),
    )

    assert paths(compared(a, b)) == [("response.stdout", "changed")] * 2


def test_a_look_that_only_one_side_takes_is_told_once() -> None:
    a, b = (
        run(A, step(0, look(0.01, "RUNNING"), look(0.02, "RUNNING")), step(1, at=2.0)),
        run(B, step(0), step(1, at=2.0)),
    )

    assert kinds(compared(a, b)) == [("missing", "State -> OK", 0)]
    assert kinds(compared(b, a)) == [("added", "State -> OK", 0)]


def test_a_shim_ends_before_or_after_it_has_answered() -> None:
    a = run(A, step(0, message(1, "Shutdown -> OK", hop="shim", status="OK", request={"id": "x"})))
    b = step(0, message(1, "Shutdown -> no answer", hop="shim", error="gone", request={"id": "x"}))

    assert compared(a, run(B, b)) == []
    b.messages[0].fields["request"] = {"id": "y"}
    assert paths(compared(a, run(B, b))) == [("request.id", "changed")]


def test_what_begins_when_the_scenario_is_over_may_be_recorded_or_not() -> None:
    a = run(A, step(0), step(1, message(1, "Tasks/Delete -> OK", 3.05), at=3.0))

    assert compared(a, run(B, step(0), step(1, at=3.0))) == []
    a = run(A, step(0, message(1, "Tasks/Delete -> OK", 0.05)), step(1, at=3.0))
    assert kinds(compared(a, run(B, step(0), step(1, at=3.0)))) == [("missing", "Tasks/Delete -> OK", 0)]
