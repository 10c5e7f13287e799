"""Each exit code from a pytest process of its own, alone and with workers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.harness.plugin.conftest import Inner

both = pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])


def results(inner: Inner) -> dict[str, Any]:
    (path,) = inner.path.glob("results/*/results.json")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@both
def test_all_passed_is_0(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a")
    inner.scenario("engine/deep/b")
    inner.scenario("registry/c")

    result = inner.run("conformance", *workers)

    assert result.ret == 0
    result.assert_outcomes(passed=3)
    assert results(inner)["counts"] == {"passed": 3}
    assert inner.calls.count("open") == inner.calls.count("close") >= 1


@both
def test_failed_expectation_is_1(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a")
    inner.scenario("engine/b", expect="{status: 404, json: {a: 2}}")

    result = inner.run("conformance", *workers)

    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    assert results(inner)["exit"] == 1
    text = result.stdout.str()
    assert "Traceback" not in text
    result.stdout.fnmatch_lines(
        [
            "*engine/b: passes*",
            "step 1: ping",
            "  scenarios/engine/b.yaml:5:*[[]engine hop] status*",
            "    expected  404",
            "    seen      200",
            "*json $.a*",
            "    expected  2",
            "    seen      1",
            "last messages on the engine hop during that step:",
            "    GET /_ping -> 200",
            "dockerd logged since that step began:",
            "    level=error msg=overheated",
        ]
    )


@both
def test_interruption_is_2(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a", title="is interrupted")

    result = inner.run("conformance", *workers)

    assert result.ret == 2
    assert inner.calls.count("close") == inner.calls.count("open")


@both
def test_mistake_of_ours_is_3_and_the_rest_still_runs(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a", title="breaks sixhops")
    inner.scenario("engine/b")

    result = inner.run("conformance", *workers)

    assert result.ret == 3
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["sixhops itself is wrong*", "*ZeroDivisionError: a bug of ours"])


@both
def test_malformed_scenarios_are_4_and_nothing_runs(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a")
    inner.write("scenarios/engine/b.yaml", "title: x\nstepz: []\n")
    inner.write("scenarios/registry/c.yaml", "title: [\n")

    result = inner.run("conformance", *workers)

    assert result.ret == 4
    assert inner.calls == []
    result.stdout.fnmatch_lines(["scenarios/engine/b.yaml:2:1: *stepz*", "scenarios/registry/c.yaml:2:1: *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@both
def test_wrong_scenario_that_shows_only_in_the_run_is_4(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a", title="is wrong")

    result = inner.run("conformance", *workers)

    assert result.ret == 4
    result.stdout.fnmatch_lines(
        ["the scenario is wrong*", "*scenarios/engine/a.yaml:3:*no variable is called*"]
    )


@both
def test_unreachable_target_is_4_and_told_once(inner: Inner, workers: list[str]) -> None:
    for name in "abcd":
        inner.scenario(f"engine/{name}")

    result = inner.run("conformance", "--target", "absent", *workers)

    assert result.ret == 4
    told = [line for line in result.outlines if line.startswith("no target:")]
    assert told == ["no target: unix:///nowhere: connection refused"]
    assert "Traceback" not in result.stdout.str()
    assert not list(inner.path.glob("results/*/results.json"))


def test_unknown_option_is_4(inner: Inner) -> None:
    assert inner.run("conformance", "--targe", "x").ret == 4
    assert inner.run("conformance", "--repeat", "0").ret == 4


def test_scenario_folder_that_does_not_exist_is_4(inner: Inner) -> None:
    result = inner.run("conformance", "--scenarios", "nowhere")

    assert result.ret == 4
    assert "no such folder: nowhere" in result.stdout.str() + result.stderr.str()


@both
def test_nothing_selected_is_5(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a")

    assert inner.run("conformance", "-k", "nothing", *workers).ret == 5


@both
def test_target_that_dies_fails_the_scenario_and_is_opened_again(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a", title="dies")
    inner.scenario("engine/b")

    result = inner.run("conformance", *workers)

    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["the target is wrong*", "*connection reset by the engine", "dockerd died with status 2"]
    )
    assert inner.calls.count("open") == inner.calls.count("close") == 2


def test_target_that_died_for_good_fails_the_rest(inner: Inner) -> None:
    inner.scenario("engine/a", title="dies")
    inner.scenario("engine/b")
    inner.scenario("engine/c")

    result = inner.run("conformance", "--target", "mortal")

    assert result.ret == 1
    result.assert_outcomes(failed=3)
    assert inner.calls == ["open", "close", "open"]


@both
def test_what_a_scenario_leaves_behind_fails_it(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a", title="leaves a mount")

    result = inner.run("conformance", *workers)

    assert result.ret == 1
    result.stdout.fnmatch_lines(["left behind:", "    mount /left/behind"])


@both
def test_what_the_target_leaves_behind_fails_the_run(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a")

    result = inner.run("conformance", "--target", "dirty", *workers)

    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["the run as a whole failed: the target left behind: mount /somewhere"])
    assert results(inner)["problems"] == ["the target left behind: mount /somewhere"]


def test_crashed_worker_is_a_failed_scenario(inner: Inner) -> None:
    inner.scenario("engine/a", title="crashes")
    inner.scenario("engine/b")

    result = inner.run("conformance", "-n", "1")

    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*crashed while running*engine/a*"])


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_first_failure_stops_with_1(inner: Inner, workers: list[str]) -> None:
    for name in "abcdef":
        inner.scenario(f"engine/{name}", expect="{status: 500}")

    assert inner.run("conformance", "-x", *workers).ret == 1
