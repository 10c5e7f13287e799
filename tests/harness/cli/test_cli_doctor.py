from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from sixhops.harness.cli import cli
from sixhops.harness.cli.doctor import Check, check_cgroups, lacking

if TYPE_CHECKING:
    from click.testing import Result

ALL_1 = frozenset({"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"})
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root can try the kernel")


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments])


@pytest.mark.parametrize(
    ("kind", "names", "ok", "found"),
    [
        ("v1", ALL_1, True, "v1 with blkio, cpu, cpuacct"),
        ("hybrid", ALL_1 | {"hugetlb"}, True, "hybrid with"),
        ("v2", frozenset({"cpu", "cpuset", "io", "memory", "pids"}), True, "v2 with cpu, cpuset, io"),
        ("v1", ALL_1 - {"memory", "devices"}, False, "v1, without devices, memory"),
        ("v2", frozenset({"cpu"}), False, "v2, without cpuset, io, memory, pids"),
        ("", frozenset(), False, "not mounted"),
    ],
)
def test_control_groups_are_judged_by_their_controllers(
    kind: str, names: frozenset[str], ok: bool, found: str
) -> None:
    check = check_cgroups((kind, names))

    assert check.ok is ok
    assert check.found.startswith(found)
    assert bool(check.remedy) is not ok


def test_what_is_lacking_depends_on_the_purpose() -> None:
    gone = Check("x", ok=False, found="", remedy="y", needed_for=("upstream",))

    assert lacking([gone, Check("z", ok=True, found="")], "upstream") == [gone]
    assert lacking([gone], "reference") == []


def test_every_missing_thing_comes_with_a_remedy() -> None:
    report = json.loads(doctor("--json").stdout)

    assert report["checks"]
    assert [check["name"] for check in report["checks"] if bool(check["remedy"]) is check["ok"]] == []


def test_the_exit_code_is_what_the_report_says() -> None:
    result = doctor("--json")

    assert result.exit_code == (0 if json.loads(result.stdout)["ready"] else 1)


def test_a_machine_without_busybox_and_compiler_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = doctor()

    assert result.exit_code == 1
    assert "missing  static busybox: no busybox on PATH" in result.stdout
    assert "get it: apt-get install gcc libc6-dev" in result.stdout
    assert "suite: lacks static busybox, C compiler" in result.stdout
    assert result.stdout.endswith("cannot work here yet\n")


@NEEDS_ROOT
def test_an_overlay_is_tried_on_the_state_directorys_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIXHOPS_STATE", str(tmp_path))
    doctor("--json")

    assert list(tmp_path.iterdir()) == []


@NEEDS_ROOT
def test_a_state_directory_that_cannot_be_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIXHOPS_STATE", "/run/x")
    result = doctor()

    assert result.exit_code == 1
    assert "missing  state directory: SIXHOPS_STATE=/run/x can't be below /run" in result.stdout
    assert not Path("/run/x").exists()
