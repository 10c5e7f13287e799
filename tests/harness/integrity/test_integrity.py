from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sixhops.harness.errors import ScenarioError
from sixhops.harness.integrity import (
    Counts,
    Exit,
    compare_counts,
    read_counts,
    target_kind,
    unreported,
    worst_exit,
    write_counts,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([], Exit.OK),
        ([0, 0], Exit.OK),
        ([0, 5], Exit.NOTHING),
        ([5, 1], Exit.FAILED),
        ([1, 4, 5], Exit.USAGE),
        ([4, 2, 1], Exit.INTERRUPTED),
        ([2, 3, 4], Exit.INTERNAL),
        ([0, 17], Exit.INTERNAL),
    ],
)
def test_worst_exit(codes: list[int], worst: Exit) -> None:
    assert worst_exit(codes) is worst


def test_adding_a_code_never_improves_the_exit() -> None:
    badness = [Exit.OK, Exit.NOTHING, Exit.FAILED, Exit.USAGE, Exit.INTERRUPTED, Exit.INTERNAL]

    for one in Exit:
        for other in Exit:
            assert badness.index(worst_exit([one, other])) >= badness.index(one)


def test_unreported_keeps_the_order_of_the_plan() -> None:
    assert unreported(["c", "a", "b"], {"a"}) == ["c", "b"]


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("upstream", "upstream"),
        ("upstream,runc=reference", "upstream,runc=reference"),
        ("unix:///run/docker.sock", "endpoint"),
        ("tcp://127.0.0.1:2375", "endpoint"),
    ],
)
def test_target_kind(target: str, kind: str) -> None:
    assert target_kind(target) == kind


def test_counts_are_read_back_and_other_kinds_stay(tmp_path: Path) -> None:
    path = tmp_path / "counts.yaml"

    write_counts(path, "upstream", Counts(40, {"no such hop: here": 2}))
    write_counts(path, "reference", Counts(39))
    write_counts(path, "upstream", Counts(41, {"no such hop: here": 1}))

    assert read_counts(path) == {"reference": Counts(39), "upstream": Counts(41, {"no such hop: here": 1})}


def test_no_counts_file_is_no_counts(tmp_path: Path) -> None:
    assert read_counts(tmp_path / "counts.yaml") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstream: {scenarios: many}", "counts.yaml:1:23: scenarios must be a whole number, not 'many'"),
        (
            "upstream: {scenarios: 1, skip: {}}",
            "unknown key 'skip' in counts of upstream; did you mean 'skips'?",
        ),
        ("upstream: 3", "counts of upstream must be a mapping, not 3"),
    ],
)
def test_malformed_counts(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "counts.yaml"
    path.write_text(text)

    with pytest.raises(ScenarioError) as caught:
        read_counts(path)

    assert str(caught.value).endswith(message)


RECORDED = {"upstream": Counts(10, {"no tap": 2})}


@pytest.mark.parametrize(
    "seen",
    [Counts(10, {"no tap": 2}), Counts(11, {"no tap": 1}), Counts(10)],
    ids=["same", "better", "no skips"],
)
def test_as_much_as_recorded_is_no_problem(seen: Counts) -> None:
    assert compare_counts(RECORDED, "upstream", seen) == []


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        (Counts(9), "9 scenarios, but 10 are recorded for upstream"),
        (Counts(10, {"no tap": 3}), "3 skips, but 2 are recorded for upstream: no tap"),
        (Counts(10, {"API too old": 1}), "1 skips, but 0 are recorded for upstream: API too old"),
    ],
)
def test_less_than_recorded_is_a_problem(seen: Counts, problem: str) -> None:
    assert compare_counts(RECORDED, "upstream", seen) == [problem]


def test_stack_without_a_record_is_a_problem_once_there_are_records() -> None:
    assert compare_counts({}, "reference", Counts(1)) == []
    assert (
        "no counts are recorded for the target 'reference'"
        in compare_counts(RECORDED, "reference", Counts(1))[0]
    )


def test_endpoint_without_a_record_is_not_judged() -> None:
    assert compare_counts(RECORDED, "endpoint", Counts(1, {"no tap": 7})) == []
