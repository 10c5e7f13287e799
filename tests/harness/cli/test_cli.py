from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from sixhops.harness.cli import cli

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

REQUIREMENTS = """\
prefix: engine-api
hop: engine
source: API
version: "1.40"
operations:
  SystemPing: {method: GET, path: /_ping, statuses: [200, 500]}
"""
SCENARIO = "title: {title}\nrefs: [engine-api/SystemPing/200]\nsteps: [{{request: GET /_ping, expect: {{status: 200}}}}]\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scenarios engine/a, engine/b (rows one and two, tag slow) and registry/c in the working directory."""
    for name, text in {
        "requirements/engine.yaml": REQUIREMENTS,
        "engine/a.yaml": SCENARIO.format(title="the first"),
        "engine/b.yaml": "tags: [slow]\nfor: [{id: one}, {id: two}]\n" + SCENARIO.format(title="with rows"),
        "registry/c.yaml": "title: elsewhere\nsteps: [{registry: GET /v2/}]\n",
    }.items():
        path = tmp_path / "scenarios" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sixhops(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], ["engine/a", "engine/b[one]", "engine/b[two]", "registry/c"]),
        (["engine/b"], ["engine/b[one]", "engine/b[two]"]),
        (["engine/b[two]"], ["engine/b[two]"]),
        (["scenarios/engine/a.yaml", "registry/*"], ["engine/a", "registry/c"]),
        (["scenarios/engine", "engine/a"], ["engine/a", "engine/b[one]", "engine/b[two]"]),
        (["--hop", "registry"], ["registry/c"]),
        (["--tag", "slow"], ["engine/b[one]", "engine/b[two]"]),
    ],
    ids=" ".join,
)
def test_list_selects(project: Path, arguments: list[str], ids: list[str]) -> None:
    result = sixhops("list", "--json", *arguments)

    assert result.exit_code == 0
    assert [row["id"] for row in json.loads(result.stdout)] == ids


def test_list_shows_titles(project: Path) -> None:
    assert sixhops("list", "engine/a").stdout == "engine/a  the first\n"


def test_list_of_nothing_is_5(project: Path) -> None:
    assert sixhops("list", "--tag", "nothing").exit_code == 5


def test_unknown_scenario_is_4_and_names_the_nearest(project: Path) -> None:
    result = sixhops("list", "enigne/a")

    assert result.exit_code == 4
    assert result.stderr == "no scenario is called 'enigne/a'; did you mean 'engine/a'?\n"


def test_lint_of_sound_files(project: Path) -> None:
    result = sixhops("lint")

    assert (result.exit_code, result.stdout) == (0, "4 scenarios in 3 files, no mistakes\n")


def test_lint_tells_all_mistakes(project: Path) -> None:
    (project / "scenarios/engine/a.yaml").write_text(
        "title: x\nstepz: []\nrefs: [engine-api/SystemPong/200]\n"
    )
    (project / "scenarios/engine/d.yaml").write_text(
        SCENARIO.format(title="d").replace("Ping/200", "Pong/200")
    )
    (project / "scenarios/engine/e.yml").write_text("title: x\n")
    (project / "scenarios/requirements/twice.yaml").write_text(REQUIREMENTS)

    result = sixhops("lint")

    assert result.exit_code == 4
    assert "Traceback" not in result.output
    lines = result.stderr.splitlines()
    assert any(line.startswith("scenarios/engine/a.yaml:2:1: ") for line in lines)
    assert any(line.startswith("scenarios/engine/d.yaml:2:8: refs: unknown requirement") for line in lines)
    assert any(line.startswith("scenarios/engine/e.yml:1:1: ") for line in lines)
    assert any(
        "twice.yaml:6:54: requirement 'engine-api/SystemPing/200' is already defined at" in line
        for line in lines
    )
    assert lines[-1] == f"{len(lines) - 1} mistakes"


def test_lint_of_one_file_leaves_the_others_alone(project: Path) -> None:
    (project / "scenarios/engine/a.yaml").write_text("title: [\n")

    assert sixhops("lint", "scenarios/registry/c.yaml").exit_code == 0


def test_lint_of_nothing_is_5(tmp_path: Path) -> None:
    assert sixhops("lint", "--scenarios", str(tmp_path)).exit_code == 5


def test_lint_of_no_folder_is_4(tmp_path: Path) -> None:
    result = sixhops("lint", "--scenarios", str(tmp_path / "nowhere"))

    assert result.exit_code == 4
    assert result.stderr.startswith("no such scenario folder: ")


def test_explain_names_the_steps(project: Path) -> None:
    result = sixhops("explain", "engine/a")

    assert result.exit_code == 0
    assert "the first" in result.stdout
    assert "/_ping" in result.stdout


def test_schema_is_json(project: Path) -> None:
    result = sixhops("schema")

    assert result.exit_code == 0
    assert "steps" in json.loads(result.stdout)["properties"]


def write_results(project: Path) -> None:
    entries = [{"id": "engine/a", "verdict": "passed", "engine": "20.10.24"}]
    path = project / "results/1/results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"format": 1, "scenarios": entries}))


def test_coverage_shows_scenarios_engines_and_totals(project: Path) -> None:
    write_results(project)

    result = sixhops("coverage")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "+ engine-api/SystemPing/200 (must): GET /_ping answers 200 (OK)",
        "    engine/a",
        "    engine/b[one]",
        "    engine/b[two]",
        "    seen to hold on 20.10.24",
        "- engine-api/SystemPing/500 (should): GET /_ping answers 500 (Internal Server Error)",
        "",
        "engine: 1 of 2 requirements covered, 1 seen to hold on an engine",
    ]


def test_coverage_of_what_is_missing_as_json(project: Path) -> None:
    result = sixhops("coverage", "--missing", "--json", "--hop", "engine")

    data = json.loads(result.stdout)
    assert [row["id"] for row in data["requirements"]] == ["engine-api/SystemPing/500"]
    assert data["totals"] == {"engine": {"requirements": 2, "covered": 1, "seen": 0}}


def test_coverage_of_a_hop_without_requirements_is_5(project: Path) -> None:
    assert sixhops("coverage", "--hop", "shim").exit_code == 5


def test_coverage_with_damaged_results_is_4(project: Path) -> None:
    write_results(project)
    (project / "results/1/results.json").write_text("{")

    result = sixhops("coverage")

    assert result.exit_code == 4
    assert result.stderr.startswith("results/1/results.json:1:1: not a result file")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["lint", "--nonsense"], ["run"], ["nonsense"]])
def test_usage_errors_are_4(project: Path, arguments: list[str]) -> None:
    assert sixhops(*arguments).exit_code == 4


def test_help_and_version_are_0() -> None:
    assert sixhops("--help").exit_code == 0
    assert sixhops("--version").exit_code == 0


# httpcore (1.0.9) leaves the socket of a failed connect to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_run_on_an_unreachable_target_is_4_and_one_line(project: Path) -> None:
    result = sixhops("run", "engine/a", "engine/b", "--target", f"unix://{project}/nobody.sock")

    assert result.exit_code == 4
    assert "Traceback" not in result.output
    assert len([line for line in result.output.splitlines() if "nobody.sock" in line]) == 1


def test_run_on_a_target_that_makes_no_sense_is_4(project: Path) -> None:
    assert sixhops("run", "engine/a", "--target", "upstraem").exit_code == 4


def test_engine_requirements_are_read_back(project: Path) -> None:
    swagger = project / "swagger.yaml"
    swagger.write_text(
        "swagger: '2.0'\ninfo: {version: '1.99'}\npaths:\n  /_ping:\n"
        "    head: {operationId: SystemPingHead, responses: {200: {description: secret words}}}\n"
    )

    result = sixhops("dev", "engine-requirements", "swagger.yaml")
    (project / "scenarios/requirements/head.yaml").write_text(result.stdout)

    assert result.exit_code == 0
    assert "secret words" not in result.stdout
    assert "engine-api/SystemPingHead/200" in sixhops("coverage").stdout


@pytest.mark.parametrize(("text", "code"), [("a: [", 4), ("openapi: 3", 4)])
def test_engine_requirements_of_something_else_are_4(project: Path, text: str, code: int) -> None:
    (project / "x.yaml").write_text(text)

    assert sixhops("dev", "engine-requirements", "x.yaml").exit_code == code


def _untimed(text: str) -> str:
    return re.sub(r"in [0-9.]+s", "in -s", text)


def test_module_and_suite_as_processes(project: Path) -> None:
    command = [sys.executable, "-m", "sixhops", "test", "--collect-only", "-q", "-p", "no:cacheprovider"]

    everything = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    nothing = subprocess.run(
        [*command, "-k", "nothing"], capture_output=True, text=True, timeout=180, check=False
    )

    # The value of an option is no path to collect, also when something is called so.
    (project / "kept").mkdir()
    again = subprocess.run(
        [*command, "--results", "kept"], capture_output=True, text=True, timeout=180, check=False
    )

    assert _untimed(again.stdout) == _untimed(everything.stdout)
    assert everything.returncode == 0
    assert "scenarios/engine/b.yaml::engine/b[two]" in everything.stdout
    assert nothing.returncode == 5
