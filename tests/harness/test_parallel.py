"""Many things worked on in several processes: the same results, in order, as in one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from sixhops.harness.cli import cli
from sixhops.harness.cli import replay as commands
from sixhops.harness.parallel import each

RUN = Path(__file__).parents[2] / "docs" / "runs" / "dockerd-20.10"


def where(thing: str) -> tuple[str, int]:
    return thing, os.getpid()


def test_results_come_in_order_and_from_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    things = [str(number) for number in range(20)]

    done = list(each(where, things, worth=True))

    assert [thing for thing, _ in done] == things
    assert os.getpid() not in {process for _, process in done}


@pytest.mark.parametrize(
    ("processors", "count", "worth"), [(1, 9, True), (2, 1, True), (2, 9, False), (None, 9, True)]
)
def test_what_is_not_worth_processes_is_done_here(
    monkeypatch: pytest.MonkeyPatch, processors: int | None, count: int, worth: bool
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)

    assert list(each(where, ["x"] * count, worth=worth)) == [("x", os.getpid())] * count


@pytest.mark.parametrize("worth", [True, False])
def test_an_exception_of_the_work_is_raised(monkeypatch: pytest.MonkeyPatch, worth: bool) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    with pytest.raises(ValueError, match="'x'"):
        list(each(int, ["1", "x"], worth=worth))


def test_mutants_are_judged_alike_in_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> tuple[int, list[str]]:
        result = CliRunner().invoke(cli, ["mutate", str(RUN)])
        *lines, last = result.output.splitlines()
        return result.exit_code, [*lines, last.rpartition(" in ")[0]]

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    alone = told()
    monkeypatch.setattr(commands, "_WORTH_PROCESSES", 1)

    assert told() == alone
    assert len(alone[1]) > 2
