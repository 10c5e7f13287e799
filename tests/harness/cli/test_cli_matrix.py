"""The suite on several engines: which are taken, what the table and the report say, what is run again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from sixhops.harness.cli import cli
from sixhops.harness.cli.matrix import default_targets

if TYPE_CHECKING:
    from pathlib import Path

REQUIREMENTS = """\
prefix: engine-api
hop: engine
source: API
version: "1.40"
operations:
  SystemPing: {method: GET, path: /_ping, statuses: [200]}
"""
SCENARIO = "title: it lives\nrefs: [engine-api/SystemPing/200]\nsteps: [{request: GET /_ping, expect: {status: %d}}]\n"

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a stack is a private machine")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "requirements/engine.yaml": REQUIREMENTS,
        "engine/good.yaml": SCENARIO % 200,
        "engine/bad.yaml": SCENARIO % 418,
    }.items():
        path = tmp_path / "scenarios" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_targets_every_tree_with_docker_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIXHOPS_TREES", str(tmp_path))
    for tree, programs in {
        "dockerd-9": ("dockerd", "containerd"),
        "podman-9": ("podman",),
        "half": ("dockerd",),
    }.items():
        for name in programs:
            program = tmp_path / tree / "usr/bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.touch(mode=0o755)

    assert default_targets() == ["reference", "upstream", "upstream@dockerd-9"]


@NEEDS_ROOT
def test_a_column_for_each_engine(project: Path) -> None:
    good = CliRunner().invoke(cli, ["matrix", "reference", "-s", "engine/good", "--taps", "outer"])

    assert good.exit_code == 0, good.output
    assert "| target | engine | passed | failed | skipped | known |" in good.output
    summary = json.loads((project / "matrix/summary.json").read_text())
    assert [column["target"] for column in summary["columns"]] == ["reference"]
    assert (project / "matrix/index.html").exists()

    before = (project / "matrix/runs/reference/results.json").stat().st_mtime_ns
    again = CliRunner().invoke(cli, ["matrix", "reference", "-s", "engine/good", "--reuse"])
    assert (again.exit_code, again.output) == (0, good.output)
    assert (project / "matrix/runs/reference/results.json").stat().st_mtime_ns == before

    bad = CliRunner().invoke(cli, ["matrix", "reference", "--taps", "outer"])
    assert bad.exit_code == 1
    assert "| 1 | 1 | 0 | 0 |" in bad.output

    profile = project / "scenarios/engines/any.yaml"
    profile.parent.mkdir()
    profile.write_text(
        'engine: "*"\nrules: [{facet: status, expected: "418", seen: "200", reason: is no teapot}]\n'
    )
    known = CliRunner().invoke(cli, ["matrix", "reference", "--reuse"])
    assert known.exit_code == 0, known.output
    assert "| 1 | 0 | 0 | 1 |" in known.output

    profile.write_text('engine: "*"\nrules: [{path: nowhere, reason: not so}]\n')
    stale = CliRunner().invoke(cli, ["matrix", "reference", "--reuse"])
    assert stale.exit_code == 1
    assert "| 1 | 1 | 0 | 0 |" in stale.output
    assert "a known difference occurred in no scenario: not so" in stale.output


def test_a_target_that_is_none(project: Path) -> None:
    done = CliRunner().invoke(cli, ["matrix", "upstrem"])

    assert done.exit_code != 0
    assert "could not be run on upstrem" in done.output
