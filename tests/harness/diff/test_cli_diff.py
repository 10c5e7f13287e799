"""`sixhops diff` on saved runs: text, JSON and exit codes; on targets: what is run, and what comes of its failure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from sixhops.harness.cli import cli
from sixhops.harness.exchange import Exchange
from sixhops.harness.run.transcript import TranscriptWriter

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = """\
a: {dockerd: upstream}
b: {dockerd: reference}
differences:
  - {hop: engine, field: json.Driver, reason: another driver}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    root = tmp_path / "scenarios"
    (root / "engine").mkdir(parents=True)
    (root / "diff").mkdir()
    for name in ("a", "b"):
        (root / "engine" / f"{name}.yaml").write_text(
            "title: t\nsteps:\n  - name: look\n    request: GET /x\n"
        )
    return root


def save(tmp_path: Path, run: str, maker: str, values: dict[str, Any], *names: str) -> Path:
    for name in names or ("a", "b"):
        header = {
            "scenario": f"engine/{name}",
            "path": f"{tmp_path}/scenarios/engine/{name}.yaml:1",
            "title": "t",
            "hop": "engine",
            "target": {
                "name": maker,
                "engine_version": "20.10.24",
                "programs": {"dockerd": maker},
                "hops": {"engine": None, "shim": "no tap"},
            },
        }
        writer = TranscriptWriter(
            tmp_path / run / f"transcripts/engine/{name}.jsonl", tmp_path / run / "bodies", header
        )
        writer.begin({"images": {}, "target": {}, "scenario": {"unique": "0123abcd"}})
        sent = {"method": "GET", "target": "/x", "headers": {}}
        writer.exchange(Exchange(0, "look", "request", 0.0, 0.1, sent, {"status": 200, "json": values}))
        writer.finish({"verdict": "passed", "seconds": 0.1})
    return tmp_path / run


def diff(library: Path, *arguments: object, code: int) -> str:
    done = CliRunner().invoke(cli, ["diff", "--scenarios", str(library), *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_equal_runs_are_exit_0(library: Path, tmp_path: Path) -> None:
    a, b = (save(tmp_path, run, "upstream", {"Driver": "x"}) for run in "ab")

    lines = diff(library, a, b, code=0).splitlines()

    assert lines == [
        "not compared in 2 scenarios: shim: no tap",
        "2 scenarios compared: 0 differences in 0 scenarios; 0 accepted for 0 reasons",
    ]


def test_differences_are_told_by_scenario_step_and_hop(library: Path, tmp_path: Path) -> None:
    a = save(tmp_path, "a", "upstream", {"Driver": "x\x1b"})
    b = save(tmp_path, "b", "reference", {"Driver": "y"})

    output = diff(library, a / "transcripts/engine/a.jsonl", b, "--json", tmp_path / "x.json", code=1)

    assert output.splitlines()[:5] == [
        "engine/a",
        "  1. look  [engine hop]",
        "      GET /x -> 200",
        "      json.Driver differs",
        '          A: "x\\u001b"',
    ]
    assert "1 scenarios compared: 1 differences (engine 1) in 1 scenarios" in output
    data = json.loads((tmp_path / "x.json").read_text())
    assert data["format"] == 1
    assert data["a"]["name"] == "upstream"
    assert data["differences"] == [
        {
            "scenario": "engine/a", "step": 0, "step_name": "look", "hop": "engine", "message": "GET /x -> 200",
            "path": "json.Driver", "kind": "changed", "a": "x\x1b", "b": "y", "accepted": None,
        }
    ]  # fmt: skip


def test_accepted_differences_are_counted(library: Path, tmp_path: Path) -> None:
    (library / "diff/x.yaml").write_text(ENTRY)
    a = save(tmp_path, "a", "upstream", {"Driver": "x"})
    b = save(tmp_path, "b", "reference", {"Driver": "y"})

    assert "0 differences in 0 scenarios; 2 accepted for 1 reasons" in diff(library, a, b, code=0)
    told = diff(library, b, a, "-v", code=0)
    assert "json.Driver differs  (accepted: another driver)" in told
    assert "accepted      2  another driver" in told


def test_an_accepted_difference_that_does_not_occur_is_exit_1(library: Path, tmp_path: Path) -> None:
    (library / "diff/x.yaml").write_text(ENTRY)
    a = save(tmp_path, "a", "upstream", {"Driver": "x"})
    b = save(tmp_path, "b", "reference", {"Driver": "x"})

    output = diff(library, a, b, code=1)

    assert "diff/x.yaml:4:5: an accepted difference did not occur: another driver" in output
    assert "1 accepted differences did not occur" in output
    # One scenario alone can't tell.
    diff(library, a, b, "engine/a", code=0)


def test_a_scenario_that_only_one_side_has_is_a_difference(library: Path, tmp_path: Path) -> None:
    a = save(tmp_path, "a", "upstream", {})
    b = save(tmp_path, "b", "upstream", {}, "a")

    assert "engine/b\n      scenario only in A" in diff(library, a, b, code=1)
    diff(library, a, b, "engine/a", code=0)


def test_bad_input_is_exit_4(library: Path, tmp_path: Path) -> None:
    a = save(tmp_path, "a", "upstream", {}, "a")
    b = save(tmp_path, "b", "upstream", {}, "b")
    (tmp_path / "torn.jsonl").write_text("{")

    assert "have no scenario in common" in diff(library, a, b, code=4)
    assert "not a transcript of format 2" in diff(library, a, tmp_path / "torn.jsonl", code=4)
    assert "no such transcript or folder: no/such" in diff(library, a, "no/such", code=4)
    assert "no scenario is called" in diff(library, a, a, "engine/x", code=4)
    (library / "diff/x.yaml").write_text("varies: 1\n")
    assert "diff/x.yaml:1:9" in diff(library, a, a, code=4)


def test_a_target_that_can_t_be_had_is_exit_4(library: Path, tmp_path: Path) -> None:
    a = save(tmp_path, "a", "upstream", {})

    output = diff(library, a, f"unix://{tmp_path}/absent.sock", "--results", tmp_path / "r", code=4)

    assert "the scenarios could not be run on unix://" in output
