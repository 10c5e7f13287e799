"""The examples for users' CI are what GitHub and GitLab take: keys, inputs, variables and commands, each of a known list.

What they run is run by `tests/docs`. The lists are of what the examples use, from the two manuals; who uses more adds it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from sixhops.harness.cli import cli

EXAMPLES = Path(__file__).parents[2] / "ci" / "examples"
#: https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax
GITHUB = {
    "workflow": {"name", "on", "permissions", "jobs"},
    "job": {"runs-on", "timeout-minutes", "env", "steps"},
    "step": {"name", "if", "uses", "with", "run"},
}
#: The inputs that each action documents in its action.yml, at the version that is used.
INPUTS = {
    "actions/checkout@v4": {"repository", "path"},
    "actions/setup-python@v5": {"python-version"},
    "actions/upload-artifact@v4": {"name", "path"},
}
#: https://docs.github.com/actions/reference/workflows-and-actions/expressions
EXPRESSION = re.compile(r"vars\.[A-Z_]+|always\(\)|!cancelled\(\) && hashFiles\('[^']+'\) != ''")
#: https://docs.gitlab.com/ci/yaml/
GITLAB = {
    "job": {
        "image",
        "timeout",
        "variables",
        "services",
        "before_script",
        "script",
        "after_script",
        "artifacts",
    },
    "service": {"name", "alias"},
    "artifacts": {"when", "expose_as", "paths", "reports"},
    "reports": {"junit"},
}
GIVEN = {"GITHUB_STEP_SUMMARY"}


def github() -> dict[Any, Any]:
    return dict(yaml.safe_load((EXAMPLES / "github-actions.yml").read_text()))


def gitlab() -> dict[str, Any]:
    document = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())
    assert list(document) == ["sixhops"]
    return dict(document["sixhops"])


def texts() -> dict[str, tuple[list[str], set[str]]]:
    """Return the scripts of each example, and the variables that they may use."""
    (job,) = github()["jobs"].values()
    lab = gitlab()
    return {
        "github": ([step["run"] for step in job["steps"] if "run" in step], {*job["env"], *GIVEN}),
        "gitlab": (
            ["\n".join(lab[key]) for key in ("before_script", "script", "after_script")],
            set(lab["variables"]),
        ),
    }


def test_the_workflow_has_only_what_github_knows() -> None:
    # YAML 1.1 reads the key `on` as true.
    document = {"on" if key is True else key: value for key, value in github().items()}
    assert document.keys() == GITHUB["workflow"]
    assert document["on"] == ["push", "pull_request"]
    for job in document["jobs"].values():
        assert job.keys() <= GITHUB["job"]
        assert all(isinstance(value, str) for value in job["env"].values())
        for step in job["steps"]:
            assert step.keys() <= GITHUB["step"]
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert step.get("with", {}).keys() <= INPUTS[step["uses"]]


def test_expressions_are_whole_and_known() -> None:
    text = (EXAMPLES / "github-actions.yml").read_text()
    conditions = [step["if"] for job in github()["jobs"].values() for step in job["steps"] if "if" in step]

    found = re.findall(r"\$\{\{ (.*?) \}\}", text)
    assert text.count("${{") == len(found) > 0
    for expression in [*found, *(one for one in conditions if not one.startswith("${{"))]:
        assert EXPRESSION.fullmatch(expression), expression


def test_the_job_has_only_what_gitlab_knows() -> None:
    job = gitlab()
    assert job.keys() <= GITLAB["job"]
    assert all(isinstance(value, str) for value in job["variables"].values())
    assert all(service.keys() <= GITLAB["service"] for service in job["services"])
    assert job["artifacts"].keys() <= GITLAB["artifacts"]
    assert job["artifacts"]["reports"].keys() <= GITLAB["reports"]
    # GitLab shows only plain paths under a name.
    assert not any(set(path) & set("*?$") for path in job["artifacts"]["paths"])
    for key in ("before_script", "script", "after_script"):
        assert all(isinstance(line, str) for line in job[key])


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_scripts_are_a_shells_and_use_variables_that_there_are(name: str) -> None:
    scripts, known = texts()[name]
    for script in scripts:
        subprocess.run(["bash", "-n", "-c", script], check=True)
        assert set(re.findall(r"\$\{?(\w+)", script)) <= known, script


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_every_command_and_option_exists(name: str, request: pytest.FixtureRequest) -> None:
    of_pytest = {
        option for group in request.config._parser._groups for one in group.options for option in one.names()
    }
    lines = [line for script in texts()[name][0] for line in script.splitlines()]
    commands = [line.split() for line in lines if line.startswith("sixhops ")]
    assert [words[1] for words in commands] == ["test", "report"]
    for _, command, *words in commands:
        known = {
            option
            for one in cli.commands[command].params
            if isinstance(one, click.Option)
            for option in one.opts
        }
        if command == "test":
            known |= of_pytest
        assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_what_is_kept_is_what_the_commands_write(name: str) -> None:
    (job,) = github()["jobs"].values()
    kept = job["steps"][-1]["with"]["path"].split() if name == "github" else gitlab()["artifacts"]["paths"]
    script = "\n".join(texts()[name][0])

    for path in [*kept, "junit.xml"]:
        assert re.search(rf"(-o|--results|--junitxml) {re.escape(path.split('/')[0])}\b", script), path
