"""What counts as success of scenarios that ran on a stack in the guest: all of them, judged. A script stands for ssh."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from ci.vm.__main__ import INSIDE, inside
from ci.vm.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    program = tmp_path / "ssh"
    program.write_text(
        f'#!/bin/sh\nfor line; do :; done; echo "$line" > {tmp_path}/line; . {tmp_path}/says\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Machine(tmp_path, os.getpid(), 0, 0, "tcg")


def answer(guest: Machine, verdicts: list[str], code: int = 0) -> None:
    lines = "".join(
        f"echo '  passed     0.001 s  1. a step'; echo '  {verdict} in 1.50 s'; " for verdict in verdicts
    )
    (guest.work / "says").write_text(f"{lines}exit {code}\n")


def test_all_that_was_judged_as_expected(guest: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    answer(guest, ["known", *["passed"] * (len(INSIDE) - 1)])

    assert inside(guest, "upstream,registry=reference")

    assert capsys.readouterr().out == f"known{', passed' * (len(INSIDE) - 1)}\n"
    line = (guest.work / "line").read_text()
    assert line.startswith("sixhops run --target upstream,registry=reference ")
    assert line.rstrip().endswith(" ".join(INSIDE))


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["passed"] * (len(INSIDE) - 1) + ["skipped"], 0),
        (["passed"] * (len(INSIDE) - 1), 0),
        (["passed"] * (len(INSIDE) - 1) + ["failed"], 1),
        (["passed"] * len(INSIDE), 1),
        ([], 255),
    ],
    ids=["one was skipped", "one is missing", "one failed", "something was left behind", "the guest is gone"],
)
def test_less_is_a_failure_and_all_is_told(
    guest: Machine, capsys: pytest.CaptureFixture[str], verdicts: list[str], code: int
) -> None:
    answer(guest, verdicts, code)

    assert not inside(guest, "reference")

    told = capsys.readouterr().out
    assert told.count("a step") == len(verdicts)
    assert told.endswith(f"ended with {code}\n")
