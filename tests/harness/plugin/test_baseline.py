"""`--baseline` and `--report`: only what is new fails, and a run leaves its report where it was asked to."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.errors import UsageError
from sixhops.harness.plugin.baseline import Baseline, read_baseline
from sixhops.harness.plugin.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Inner

BASELINE = Baseline(
    "monday",
    {"engine/a": "failed", "engine/b": "passed"},
    {"engine/a": frozenset({"step 1 status", "step 2 json"}), "engine/b": frozenset()},
)


def outcome(verdict: str, *failures: str, name: str = "engine/a", fault: str = "") -> Outcome:
    return Outcome(
        id=name,
        path="a.yaml:1",
        title="a",
        hop="engine",
        verdict=verdict,
        seconds=0.1,
        target="upstream",
        engine="28.5",
        brief="status is another one" if failures else "",
        failures=failures,
        fault=fault,
    )


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (outcome("failed", "step 1 status"), "known"),
        (outcome("failed", "step 1 status", "step 2 json"), "known"),
        (outcome("failed", "step 1 status", "step 3 json"), "failed"),
        (outcome("failed", "step 1 status", name="engine/b"), "failed"),
        (outcome("failed", "step 1 status", name="engine/new"), "failed"),
        (outcome("failed", "step 1 status", fault="target"), "failed"),
        (outcome("failed", fault="sixhops"), "failed"),
        (outcome("failed"), "failed"),
        (outcome("passed"), "passed"),
    ],
)
def test_only_failures_that_the_baseline_has_are_known(seen: Outcome, verdict: str) -> None:
    assert BASELINE.apply(seen).verdict == verdict


def test_a_known_failure_says_where_it_is_known_from_and_can_be_a_baseline_itself() -> None:
    seen = BASELINE.apply(outcome("failed", "step 1 status"))

    assert seen.brief == "failed in the baseline as well (monday): status is another one"
    assert seen.failures == ("step 1 status",)


def test_a_scenario_that_can_no_longer_be_seen_is_a_problem() -> None:
    assert BASELINE.problems([outcome("skipped", name="engine/b")], is_full=False) == [
        "1 scenarios passed in the baseline and were skipped now: engine/b"
    ]


def test_scenarios_that_did_not_run_are_a_problem_of_a_full_run_only() -> None:
    assert BASELINE.problems([outcome("passed")], is_full=False) == []
    assert BASELINE.problems([outcome("passed")], is_full=True) == [
        "1 scenarios of the baseline did not run: engine/b"
    ]


def test_what_passes_now_is_told() -> None:
    (note,) = BASELINE.notes([outcome("passed"), outcome("passed", name="engine/b")])

    assert note.startswith("1 scenarios failed in the baseline and pass now")


@pytest.mark.parametrize("text", ["", "[]", '{"run": "x", "scenarios": [{"id": "a", "verdict": "passed"}]}'])
def test_what_is_no_results_file_is_bad_usage(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)

    with pytest.raises(UsageError, match=r"results\.json is no results\.json of this version"):
        read_baseline(tmp_path)
    with pytest.raises(UsageError, match="can't be read"):
        read_baseline(tmp_path / "nowhere")


def test_a_run_with_a_baseline_fails_only_at_what_is_new(inner: Inner) -> None:
    inner.scenario("engine/old", expect="{status: 201}")
    inner.scenario("engine/good")
    assert inner.run("conformance", "--results", "monday").ret == 1

    same = inner.run("conformance", "--results", "tuesday", "--baseline", "monday", "--junitxml", "junit.xml")
    same.stdout.fnmatch_lines(["*= 1 passed, 1 known in *"])
    assert same.ret == 0
    assert ET.parse(inner.path / "junit.xml").getroot()[0].get("failures") == "0"
    entries = json.loads((inner.path / "tuesday/results.json").read_text())["scenarios"]
    assert [(entry["verdict"], entry["failures"]) for entry in entries] == [
        ("passed", []),
        ("known", ["step 1 status"]),
    ]

    inner.scenario("engine/good", expect="{status: 202}")
    worse = inner.run("conformance", "-n", "2", "--baseline", "tuesday/results.json")
    worse.stdout.fnmatch_lines(["*= 1 failed, 1 known in *"])
    assert worse.ret == 1


def test_a_baseline_that_is_not_there_is_bad_usage(inner: Inner) -> None:
    inner.scenario("engine/a")
    done = inner.run("conformance", "--baseline", "nowhere")
    file = inner.run("conformance", "--baseline", "no/results.json")

    assert done.ret == file.ret == 4
    done.stderr.fnmatch_lines(
        ["*--baseline: nowhere is no file or folder, and there is no baseline 'nowhere'*"]
    )
    file.stderr.fnmatch_lines(["*--baseline: no/results.json can't be read: No such file or directory*"])


def test_a_run_writes_its_report_and_says_where(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.scenario("registry/b", expect="{status: 201}")
    done = inner.run("conformance", "-n", "2", "--report", "out/report")

    assert done.ret == 1
    done.stdout.fnmatch_lines(["report: out/report/index.html"])
    files = {path.name for path in (inner.path / "out/report").iterdir()}
    assert files == {"index.html", "summary.json", "junit.xml", "summary.md"}
    scenarios = json.loads((inner.path / "out/report/summary.json").read_text())["scenarios"]
    assert [entry["results"][0]["verdict"] for entry in scenarios] == ["passed", "failed"]


def test_a_report_that_cannot_be_written_fails_the_run(inner: Inner) -> None:
    inner.scenario("engine/a")
    (inner.path / "file").write_text("")
    done = inner.run("conformance", "--report", "file/x")

    assert done.ret == 4
    done.stdout.fnmatch_lines(["*can't write the report to file/x: Not a directory"])
