"""`sixhops check` and `sixhops mutate` on what runs have left."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Inner


def sixhops(inner: Inner, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sixhops", *arguments],
        cwd=inner.path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture
def ran(inner: Inner) -> Inner:
    """A run of a scenario that passes, one that fails, one that leaves something, and one that was skipped."""
    inner.scenario("engine/good", expect="{status: 200, json: {a: !range [1, 2]}}")
    inner.scenario("engine/bad", expect="{status: 404, json: {b: y}}")
    inner.scenario("engine/rows", title="leaves a mount", head="for: [{id: one row}]\n")
    inner.scenario("registry/away", title="is skipped")
    inner.run("conformance", "--results", "out", "-q")
    return inner


def test_check_gives_the_verdicts_and_the_text_of_the_run(ran: Inner) -> None:
    live = ran.run("conformance", "--results", "again", "-q").stdout.str()

    checked = sixhops(ran, "check", "out")

    assert checked.returncode == 1, checked.stderr
    lines = checked.stdout.splitlines()
    assert lines[-1] == "2 failed, 1 passed, 1 skipped"
    assert "passed   engine/good" in lines
    assert "skipped  registry/away" in lines
    start = lines.index("failed   engine/bad") + 1
    text = "\n".join(lines[start : lines.index("passed   engine/good")])
    assert "scenarios/engine/bad.yaml:5:" in text
    assert "dockerd logged since that step began:" in text
    assert text in live
    assert "    mount /left/behind" in lines


def test_check_goes_by_the_scenario_as_it_is_now(ran: Inner) -> None:
    ran.scenario("engine/good", expect="{status: 201}")

    checked = sixhops(ran, "check", "out/transcripts/engine/good.jsonl")

    assert checked.returncode == 1
    assert "failed   engine/good  (recorded: passed)" in checked.stdout
    assert "[engine hop] status differs" in checked.stdout


def test_check_of_what_passed_is_exit_0(ran: Inner) -> None:
    assert sixhops(ran, "check", "out/transcripts/engine/good.jsonl").returncode == 0


def test_check_of_a_run_that_broke_off(ran: Inner) -> None:
    file = ran.path / "out/transcripts/engine/good.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")

    checked = sixhops(ran, "check", str(file))

    assert checked.returncode == 1
    assert "(recorded: broken off)" in checked.stdout
    assert "the step was not performed" in checked.stdout


@pytest.mark.parametrize("command", ["check", "mutate"])
def test_bad_input_is_usage(ran: Inner, command: str) -> None:
    file = ran.path / "out/transcripts/engine/good.jsonl"
    head, rest = file.read_text().split("\n", 1)
    data = json.loads(head)
    (ran.path / "torn.jsonl").write_text(head[:20])
    (ran.path / "old.jsonl").write_text(json.dumps({**data, "variables": None}) + "\n" + rest)
    (ran.path / "other.jsonl").write_text(json.dumps({**data, "scenario": "engine/gone"}) + "\n" + rest)

    for name, message in (
        ("torn", "not a transcript of format 2"),
        ("old", "the transcript has no variables"),
        ("other", "it is a run of engine/gone, and there is no such scenario"),
        ("absent", "no such transcript or folder"),
    ):
        done = sixhops(ran, command, f"{name}.jsonl")
        assert done.returncode == 4, done.stdout + done.stderr
        assert message in done.stderr


@pytest.mark.parametrize("command", ["check", "mutate"])
def test_a_folder_without_transcripts_is_nothing(ran: Inner, command: str) -> None:
    (ran.path / "empty").mkdir()

    assert sixhops(ran, command, "empty").returncode == 5


def test_check_with_a_malformed_profile_is_usage(ran: Inner) -> None:
    ran.write("scenarios/engines/x.yaml", "engine: []\n")

    checked = sixhops(ran, "check", "out/transcripts/engine/good.jsonl")

    assert checked.returncode == 4
    assert "scenarios/engines/x.yaml:1:9: engine must be a text that is not empty" in checked.stderr


def test_mutate_scores_what_passed(ran: Inner) -> None:
    done = sixhops(ran, "mutate", "out")

    assert done.returncode == 0, done.stderr
    assert "100.00 %  2/2  engine/good" in done.stdout
    assert "100.00 % of 2 places in 1 scenarios can fail, 0 survive" in done.stdout
    assert done.stdout.endswith("2 failed, left out; 1 skipped, left out\n")


def test_mutate_names_survivors_and_fails_below_least(ran: Inner) -> None:
    ran.scenario("engine/good", expect="{status: 200, json: {b: !re '.*'}}")

    done = sixhops(ran, "mutate", "-q", "out")

    assert done.returncode == 1
    assert (
        "scenarios/engine/good.yaml:5:37: engine/good: step 1 'ping': json $.b fails only when" in done.stdout
    )
    assert "50.00 % of 2 places" in done.stdout
    assert sixhops(ran, "mutate", "--least", "50", "out").returncode == 0
    assert sixhops(ran, "mutate", "--minimum", "50.1", "out").returncode == 1


def test_mutate_fails_when_a_recording_no_longer_holds(ran: Inner) -> None:
    ran.scenario("engine/good", expect="{status: 404}")

    done = sixhops(ran, "mutate", "out")

    assert done.returncode == 1
    assert "status does not hold for what was recorded" in done.stdout


def test_a_profile_may_name_several_engines_and_scenarios(ran: Inner) -> None:
    ran.write(
        "scenarios/engines/x.yaml",
        'engine: ["1.2", "*"]\ndifferences: [{scenario: [engine/bad, engine/nosuch], reason: so it is}]\n',
    )

    checked = sixhops(ran, "lint")

    assert checked.returncode == 4
    assert "no scenario is called 'engine/nosuch'" in checked.stderr
    assert "no scenario is called 'engine/bad'" not in checked.stderr
