"""What a pytest run with scenarios collects, shows, counts and leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from sixhops.harness.plugin import DEFAULT_TARGET
from sixhops.harness.run.transcript import read_transcript

if TYPE_CHECKING:
    from tests.harness.plugin.conftest import Inner

PROFILE = """\
    engine: "20.10"
    differences:
      - {scenario: engine/a, step: ping, facet: status, reason: answers otherwise, ref: issue 7}
"""


def test_ids_are_scenario_paths_and_rows(inner: Inner) -> None:
    inner.scenario("engine/deep/a", head="for: [{id: one row}, {id: two}]\n")

    result = inner.run("conformance", "--collect-only", "-q")

    assert result.outlines[:2] == [
        "conformance/test_engine.py::engine/deep/a[one row]",
        "conformance/test_engine.py::engine/deep/a[two]",
    ]
    assert inner.calls == []


@pytest.mark.parametrize(
    ("selection", "passed"),
    [
        (["conformance", "-k", "deep and one"], 1),
        (["conformance", "-m", "registry"], 1),
        (["conformance", "-m", "slow-ish"], 2),
        (["conformance/test_engine.py::engine/deep/a"], 2),
        (["conformance/test_engine.py::engine/deep/a[two]"], 1),
        (["scenarios/engine/deep/a.yaml"], 2),
        (["scenarios"], 3),
        (["conformance/test_registry.py", "--repeat", "3"], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_selection(inner: Inner, selection: list[str], passed: int) -> None:
    inner.scenario("engine/deep/a", head="tags: [slow-ish]\nfor: [{id: one row}, {id: two}]\n")
    inner.scenario("registry/b")
    inner.write("scenarios/images/busybox.yaml", "not: a scenario\n")

    result = inner.run(*selection)

    assert result.ret == 0
    result.assert_outcomes(passed=passed, deselected=3 - passed if selection[0] == "conformance" else 0)


def test_scenario_of_a_user_outside_the_folder(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.write("mine.yaml", "title: mine\nsteps: [{request: GET /_ping}]\n")

    result = inner.run("mine.yaml")

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_known_difference_passes_and_is_counted(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a", expect="{status: 404}")
    inner.write("scenarios/engines/dockerd-20.10.yaml", PROFILE)

    result = inner.run("conformance", *workers)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["known difference, 1 times: answers otherwise (issue 7)", "*1 known*"])


def test_known_difference_does_not_excuse_another(inner: Inner) -> None:
    inner.scenario("engine/a", expect="{status: 404, json: {a: 2}}")
    inner.write("scenarios/engines/dockerd-20.10.yaml", PROFILE)

    result = inner.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*json $.a*", "known, and not why this failed: step 'ping': answers otherwise"]
    )


def test_known_difference_that_does_not_occur_fails(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.write("scenarios/engines/dockerd-20.10.yaml", PROFILE)

    result = inner.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["scenarios/engines/dockerd-20.10.yaml:3:*: a known difference did not occur here: answers otherwise"]
    )


@pytest.mark.parametrize("expect", ["{status: 404}", "{status: 200}"], ids=["fails", "holds"])
@pytest.mark.parametrize(("leaves", "code"), [("mount */behind", 0), ("volume: *", 1)])
def test_what_a_known_difference_leaves_behind(inner: Inner, expect: str, leaves: str, code: int) -> None:
    inner.scenario("engine/a", title="leaves a mount", expect=expect)
    inner.write(
        "scenarios/engines/dockerd-20.10.yaml", PROFILE.replace("ref: issue 7", f"leaves: '{leaves}'")
    )

    assert inner.run().ret == code


@pytest.mark.parametrize(("crash", "code"), [("true", 0), ("false", 1)])
def test_known_difference_of_which_a_program_dies(inner: Inner, crash: str, code: int) -> None:
    inner.scenario("engine/a", title="dies quietly", expect="{status: 404}")
    inner.scenario("engine/b")
    inner.write("scenarios/engines/dockerd-20.10.yaml", PROFILE.replace("ref: issue 7", f"crash: {crash}"))

    result = inner.run()

    assert result.ret == code
    assert inner.calls == ["open", "close", "open", "close"]


def test_known_difference_that_need_not_occur(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.write("scenarios/engines/dockerd-20.10.yaml", PROFILE.replace("ref: issue 7", "sometimes: true"))

    assert inner.run().ret == 0


def test_profile_of_another_engine_does_not_apply(inner: Inner) -> None:
    inner.scenario("engine/a", expect="{status: 404}")
    inner.write("scenarios/engines/dockerd-28.yaml", PROFILE.replace("20.10", "28"))

    assert inner.run().ret == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("engine/a", "engine/aa", "no scenario is called 'engine/aa'; did you mean 'engine/a'?"),
        ("step: ping", "step: pign", "no step is called 'pign'; did you mean 'ping'?"),
        ("reason:", "raeson:", "unknown key 'raeson' in a known difference; did you mean 'reason'?"),
    ],
)
def test_wrong_profile_is_4(inner: Inner, old: str, new: str, message: str) -> None:
    inner.scenario("engine/a", expect="{status: 404}")
    inner.write("scenarios/engines/dockerd-20.10.yaml", PROFILE.replace(old, new))

    result = inner.run()

    assert result.ret == 4
    assert message in result.stdout.str()


def test_unknown_reference_is_4(inner: Inner) -> None:
    inner.scenario("engine/a", head="refs: [engine-api/Nothing]\n")

    result = inner.run()

    assert result.ret == 4
    result.stdout.fnmatch_lines(
        ["scenarios/engine/a.yaml:2:8: refs: unknown requirement 'engine-api/Nothing'"]
    )


def test_skips_are_told_by_reason(inner: Inner) -> None:
    inner.scenario("engine/a", title="is skipped")
    inner.scenario("engine/b", title="has no tap", expect="{status: 200, registry: [GET /v2/ -> 200]}")

    result = inner.run()

    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "skipped 1 scenarios: needs cgroup version 2",
            "not judged in 1 expectations: no tap in front of the registry",
        ]
    )


def test_counts_are_enforced_on_a_full_run(inner: Inner) -> None:
    for name in "ab":
        inner.scenario(f"engine/{name}")
    assert inner.run("conformance", "--accept-counts").ret == 0
    assert "scenarios: 2" in (inner.path / "scenarios/counts.yaml").read_text()
    assert inner.run("conformance", "-n", "2").ret == 0

    inner.scenario("engine/b", title="is skipped")
    skipped = inner.run()
    (inner.path / "scenarios/engine/b.yaml").unlink()
    fewer = inner.run("scenarios")
    part = inner.run("conformance", "-k", "engine")

    assert (skipped.ret, fewer.ret, part.ret) == (1, 1, 0)
    skipped.stdout.fnmatch_lines(
        [f"*failed: 1 skips, but 0 are recorded for {DEFAULT_TARGET}: needs cgroup version 2"]
    )
    fewer.stdout.fnmatch_lines([f"*failed: 1 scenarios, but 2 are recorded for {DEFAULT_TARGET}"])


def test_lost_conformance_module_is_noticed(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.scenario("registry/b")
    (inner.path / "conformance/test_registry.py").unlink()

    result = inner.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*failed: 1 scenarios ran, but the scenario folder has 2"])


def test_planned_scenario_without_a_verdict_fails_the_run(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.scenario("engine/b")
    # A plugin that swallows a scenario: it is never run, and nobody says so.
    swallow = "def pytest_runtest_protocol(item):\n    return True if item.name == 'engine/b' else None\n"
    inner.write("swallow.py", swallow)

    result = inner.run("conformance", "-p", "swallow")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*failed: 1 planned scenarios have no verdict: *::engine/b"])


def test_junit_numbers_equal_its_elements(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.scenario("engine/b", expect="{status: 404}")
    inner.scenario("engine/c", title="is skipped")
    inner.scenario("engine/d", title="breaks sixhops")

    inner.run("conformance", "--junitxml", "junit.xml", "-n", "2")

    (suite,) = ET.parse(inner.path / "junit.xml").getroot().iter("testsuite")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases.keys() == {"engine/a", "engine/b", "engine/c", "engine/d"}
    for attribute, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(attribute, "-1")) == len(list(suite.iter(element)))
    assert suite.get("tests") == str(len(cases))
    failure = cases["engine/b"].find("failure")
    assert failure is not None
    assert failure.get("message", "").startswith("step 1 'ping': status")
    assert "expected  404" in (failure.text or "")
    assert cases["engine/b"].get("classname") == "conformance.test_engine"


def test_summary_has_a_row_for_each_hop(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.scenario("registry/b", expect="{status: 404}")

    result = inner.run()

    rows = [line.split() for line in result.outlines]
    assert ["passed", "failed", "skipped", "known"] in rows
    assert ["engine", "1", "-", "-", "-"] in rows
    assert ["registry", "-", "1", "-", "-"] in rows
    assert ["all", "1", "1", "-", "-"] in rows


def test_progress_has_a_line_for_each_scenario_in_ci(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    inner.scenario("engine/a")
    monkeypatch.setenv("CI", "true")

    result = inner.run()

    result.stdout.fnmatch_lines(["conformance/test_engine.py::engine/a PASSED (*.?? s)*"])


def test_transcript_of_each_scenario_and_repetition(inner: Inner) -> None:
    inner.scenario("engine/deep/a", head="for: [{id: one row}]\n")

    inner.run("conformance", "--repeat", "2", "--results", "out")

    found = sorted(path.name for path in (inner.path / "out/transcripts/engine/deep").iterdir())
    assert found == ["a[one%20row].jsonl", "a[one%20row][repeat%202].jsonl"]
    saved = read_transcript(inner.path / "out/transcripts/engine/deep" / found[0])
    header, exchanges, outcome = saved.header, saved.exchanges, saved.outcome
    assert (header["scenario"], header["target"]["engine_version"]) == ("engine/deep/a[one row]", "20.10.24")
    assert [exchange.facets["status"] for exchange in exchanges] == [200]
    assert exchanges[0].messages[0].summary == "GET /_ping -> 200"
    assert outcome["verdict"] == "passed"
    results = json.loads((inner.path / "out/results.json").read_text())
    assert [entry["transcript"] for entry in results["scenarios"]] == [
        "transcripts/engine/deep/a[one%20row].jsonl",
        "transcripts/engine/deep/a[one%20row][repeat%202].jsonl",
    ]


def test_state_is_kept_on_request(inner: Inner) -> None:
    inner.scenario("engine/a")

    assert inner.run("conformance", "--keep-state").ret == 0
    assert inner.calls == ["open", "and-keep", "close"]


def test_run_without_scenarios_is_left_alone(inner: Inner) -> None:
    inner.write("tests/test_x.py", "def test_x():\n    pass\n")
    inner.write("tests/data.yaml", "title: [\n")

    result = inner.run("tests", "-v")

    assert result.ret == 0
    assert "sixhops on" not in result.stdout.str()
    assert "transcripts" not in result.stdout.str()
    assert not (inner.path / "results").exists()
    result.stdout.fnmatch_lines(["tests/test_x.py::test_x PASSED*"])


def test_plugin_import_is_light() -> None:
    heavy = ("httpx", "yaml", "click", "rich")
    code = f"import sys, sixhops.harness.plugin.session; print([m for m in {heavy} if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("taps", "opened"),
    [("auto", ["open", "open", "tapped"]), ("all", ["open", "tapped"]), ("outer", ["open"])],
)
def test_scenarios_that_look_at_inner_hops_get_a_tapped_stack(
    inner: Inner, taps: str, opened: list[str]
) -> None:
    inner.scenario("engine/a")
    inner.scenario("engine/b", expect="{status: 200, shim: !none }")
    inner.scenario("engine/c")
    result = inner.run("conformance", "--target", "upstream", "--taps", taps)

    result.assert_outcomes(passed=3)
    assert [call for call in inner.calls if call != "close"] == opened
    assert inner.calls.count("close") == opened.count("open")


def test_scenarios_that_require_an_experimental_engine_get_one(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.scenario("engine/b", head="requires: {experimental: true}\n")
    inner.scenario("engine/c", head="requires: {experimental: true}\n", expect="{status: 200, shim: !none }")
    inner.run("conformance", "--target", "upstream").assert_outcomes(passed=3)

    opened = [call for call in inner.calls if call != "close"]
    assert opened == ["open", "open", "experimental", "open", "tapped", "experimental"]


def test_an_endpoint_is_opened_once_whatever_is_looked_at(inner: Inner) -> None:
    inner.scenario("engine/a")
    inner.scenario("engine/b", expect="{status: 200, shim: !none }")
    inner.run("conformance", "--target", "unix:///nowhere", "--taps", "all")

    assert inner.calls == ["open", "close"]
