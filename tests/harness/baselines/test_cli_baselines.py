"""Baselines on the command line: `diff --against`, `diff --list-baselines`, `report --baseline`, `dev baseline`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from recorded_runs import SCENARIO, library, save

from sixhops.harness.baselines import find_baseline
from sixhops.harness.cli import cli
from sixhops.harness.plugin.baseline import read_baseline
from sixhops.harness.plugin.outcome import Outcome


def sixhops(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = library(tmp_path, "a", "b")
    run = save(tmp_path / "run", "a", "b")
    said = sixhops("dev", "baseline", "one", run, "-o", tmp_path, "--scenarios", root)
    assert "engine 20.10.24, 2 passed" in said
    return root


def test_a_run_is_compared_with_a_baseline(root: Path, tmp_path: Path) -> None:
    options = ("--against", tmp_path / "one.tar.zst", "--scenarios", root)
    same, other = save(tmp_path / "same", "a", "b"), save(tmp_path / "other", "a", "b", status=200)

    assert sixhops("diff", same, *options).splitlines() == [
        "2 scenarios compared: 0 differences in 0 scenarios; 0 accepted for 0 reasons"
    ]
    said = sixhops("diff", other, "engine/b", *options, "--json", tmp_path / "x.json", code=1)
    assert "status differs\n          A: 201\n          B: 200" in said
    assert "engine/a" not in said
    assert len(json.loads((tmp_path / "x.json").read_text())["differences"]) == 1


def test_what_would_be_judged_otherwise_is_kept_as_it_was(tmp_path: Path) -> None:
    """A scenario that names an id: with another in its place it would fail."""
    root, identifier = library(tmp_path, "a"), "1" * 64
    text = SCENARIO.replace("status: 201", f'status: 201, json: {{Named: "{identifier}"}}')
    (root / "engine/a.yaml").write_text(text.replace("busybox", "a"))
    run = save(tmp_path / "run", "a", text=text)
    (file,) = run.rglob("*.jsonl")
    file.write_text(file.read_text().replace('"json": {', f'"json": {{"Named": "{identifier}", '))

    said = sixhops("dev", "baseline", "one", run, "-o", tmp_path, "--scenarios", root)

    assert "1 as they were, nothing replaced: engine/a" in said
    find_baseline("one", tmp_path).unpack(tmp_path / "unpacked")
    (kept,) = (tmp_path / "unpacked").rglob("*.jsonl")
    assert identifier in kept.read_text()


def test_differences_are_accepted_as_between_targets_and_as_strictly(root: Path, tmp_path: Path) -> None:
    entry = "a: {dockerd: upstream}\nb: {dockerd: reference}\ndifferences:\n  - {field: status, reason: so it is}\n"
    (root / "diff/x.yaml").write_text(entry)
    options = ("--against", tmp_path / "one.tar.zst", "--scenarios", root)
    other = save(tmp_path / "other", "a", "b", status=200, maker="reference")
    same = save(tmp_path / "same", "a", "b", maker="reference")

    assert "0 differences in 0 scenarios; 2 accepted for 1 reasons" in sixhops("diff", other, *options)
    assert "an accepted difference did not occur: so it is" in sixhops("diff", same, *options, code=1)


def test_what_the_baseline_does_not_have_is_told_and_no_error(root: Path, tmp_path: Path) -> None:
    (root / "engine/c.yaml").write_text(SCENARIO)
    run = save(tmp_path / "same", "a", "b", "c", cgroup_version=2)
    options = ("--against", tmp_path / "one.tar.zst", "--scenarios", root)

    said = sixhops("diff", run, *options)

    assert "2 scenarios compared: 0 differences" in said
    assert "not compared: 1 scenarios are newer than the baseline one of " in said
    assert "was recorded with control groups of version 1" in said
    some = sixhops("diff", save(tmp_path / "some", "a"), *options)
    assert "1 scenarios compared" in some
    assert f"not compared: 1 scenarios of the baseline are not in {tmp_path}/some" in some
    assert "there is nothing to compare" in sixhops("diff", run, "engine/c", *options, code=4)
    assert "say what to compare" in sixhops("diff", "--against", "one", code=4)
    assert "there is no baseline 'no-such'" in sixhops("diff", run, "--against", "no-such", code=4)


def test_a_run_of_another_version_of_a_scenario_is_not_compared(root: Path, tmp_path: Path) -> None:
    run = save(tmp_path / "mine", "a")
    save(run, "b", status=200, text=SCENARIO.replace("POST", "PUT"))
    options = ("--scenarios", root)

    told = "not compared: 1 scenarios did something else in "
    said = sixhops("diff", run, "--against", tmp_path / "one.tar.zst", *options)
    assert "1 scenarios compared: 0 differences" in said
    assert f"{told}the baseline one than in {run}: engine/b" in said
    said = sixhops("diff", tmp_path / "run", run, *options)
    assert f"{told}{tmp_path}/run than in {run}: engine/b" in said
    nothing = sixhops("diff", tmp_path / "run", run, "engine/b", *options, code=4)
    assert "there is nothing to compare" in nothing
    assert told in nothing
    report = ("report", tmp_path / "run", run, *options, "-o", tmp_path / "report")
    assert f"{told}upstream run than in upstream mine: engine/b" in sixhops(*report)
    rows = json.loads((tmp_path / "report/summary.json").read_text())["scenarios"]
    assert [row["differences"][1] for row in rows] == [{"news": 0, "accepted": 0}, None]


def test_a_baseline_is_updated(root: Path, tmp_path: Path) -> None:
    (root / "engine/c.yaml").write_text(SCENARIO.replace("busybox", "c"))
    (root / "engine/b.yaml").write_text(SCENARIO.replace("POST", "PUT"))
    run = save(tmp_path / "new", "c")

    said = sixhops("dev", "baseline", "one", run, "--update", "-o", tmp_path, "--scenarios", root)

    assert "engine 20.10.24, 2 passed" in said
    assert "left out, for they have changed since they were run: engine/b" in said
    assert "no baseline 'two'" in sixhops("dev", "baseline", "two", run, "--update", "-o", tmp_path, code=4)


def test_a_report_has_the_baseline_as_its_first_column(root: Path, tmp_path: Path) -> None:
    run = save(tmp_path / "mine", "a", status=200, maker="reference")

    said = sixhops(
        "report", run, "--baseline", tmp_path / "one.tar.zst", "--scenarios", root, "-o", tmp_path / "report"
    )

    summary = json.loads((tmp_path / "report/summary.json").read_text())
    assert [column["name"] for column in summary["columns"]] == ["one", "reference"]
    assert [row["id"] for row in summary["scenarios"]] == ["engine/a"]
    assert summary["scenarios"][0]["differences"][1]["news"] == 1
    assert said.startswith("one, engine 20.10.24: 1 passed\n")


def test_baselines_are_listed() -> None:
    said = sixhops("diff", "--list-baselines").splitlines()

    assert any(line.startswith("dockerd-20.10: engine 20.10.24") for line in said)


def outcome(verdict: str, name: str, *failures: str) -> Outcome:
    return Outcome(
        id=name, path="a.yaml:1", title="a", hop="engine", verdict=verdict, seconds=0.1, target="t", engine="1",
        failures=failures,
    )  # fmt: skip


def test_a_suite_takes_a_baseline_by_name() -> None:
    entries = find_baseline("dockerd-20.10").recorded.scenarios
    known = next(name for name, entry in entries.items() if entry.verdict == "known")
    passed = next(name for name, entry in entries.items() if entry.verdict == "passed")

    baseline = read_baseline(Path("dockerd-20.10"))

    assert baseline.apply(outcome("failed", known, *entries[known].places)).verdict == "known"
    assert baseline.apply(outcome("failed", passed, "step 1 status")).verdict == "failed"
    # What an endpoint does not show is no loss.
    assert baseline.problems([outcome("skipped", passed)], is_full=True) == []
    assert baseline.notes([outcome("passed", "engine/new")]) == [
        "1 scenarios are newer than the baseline dockerd-20.10: engine/new"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="stacks need root")
def test_the_reference_does_what_dockerd_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])

    said = sixhops(
        "diff", "reference", "walkthrough/hello-world", "walkthrough/remove-image-first",
        "--against", "dockerd-20.10", "--results", tmp_path,
    )  # fmt: skip

    assert "2 scenarios compared: 0 differences" in said


def test_the_matrix_takes_a_baseline_for_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of its own, judged by today's scenarios: one expects another status now, and one does something else."""
    monkeypatch.chdir(tmp_path)
    root = library(tmp_path, "a", "b", "c")
    run = save(tmp_path / "run", "a", "b", "c", api=["1.12", "1.41"], root=True)
    sixhops("dev", "baseline", "one", run, "-o", tmp_path, "--scenarios", root)
    (root / "engine/b.yaml").write_text(SCENARIO.replace("busybox", "b").replace("201", "200"))
    (root / "engine/c.yaml").write_text(SCENARIO.replace("busybox", "other"))

    said = sixhops("matrix", "one.tar.zst", "--scenarios", root, code=1)

    assert "| one.tar.zst | 20.10.24 | 1 | 1 | 0 | 0 |" in said
    assert "not compared: 1 scenarios do something else than in the baseline one" in said
    said = sixhops("matrix", "one.tar.zst", "--scenarios", root, "-s", "engine/a")
    assert "| one.tar.zst | 20.10.24 | 1 | 0 | 0 | 0 |" in said
