"""Every command in the documentation is run, as it stands there, in a folder like a user's.

Blocks that are marked `sh` are what counts; the lines of one are run as one script. What a reader has of his own (a saved
run, an engine on a socket) stands in for the names that the documentation uses. A run of the whole suite is narrowed.
What can't be run here is listed with the reason, and an entry that is no longer needed fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
RUN = REPOSITORY / "docs" / "runs" / "dockerd-20.10"
#: Saved runs that the documentation speaks of.
RUNS = ("RUN", "A", "B", "first", "mine")
#: A part of each line, and why.
NOT_RUN = {
    "make run": "CI runs it, as a part of make test",
    "make test": "CI runs it",
    "make mixes": "CI runs it",
    "make vm": "CI runs what it runs",
    "make matrix": "builds root file systems from Debian's archive",
    "pytest conformance/ -n 2": "CI runs it, as a part of make test",
    "pytest conformance/ --target upstream -n 2": "the same",
    "make setup": "it made the environment that these tests run in",
    "python -m benchmarks.taps": "minutes; tests/ has the taps' own tests",
    "go build": "needs the conformance suite of the distribution specification, and Go",
    "OCI_REGISTRY=": "the same",
    "sixhops registry serve": "it runs until it is stopped; tests/registry start it",
    "sixhops diff upstream reference                    #": "the whole suite on two stacks",
    "sixhops diff upstream unix:///run/podman/podman.sock 'engine/*'": "the whole suite on two engines",
    "docker_compare.py": "minutes of comparing two clients",
    '"; docker pull hello-world': "the stack for that comparison",
    "run -it busybox": "needs a terminal",
    "ci/criu": "fetches programs of another Debian release",
    "ci/engines/": "builds root file systems from Debian's archive",
    "upstream@": "needs such a root file system",
    "SIXHOPS_MIRROR=": "needs Podman",
    "needs the run on upstream@": "the line before it",
    "ci.vm": "boots a machine; CI has a job of its own for it",
}
#: What a run of many scenarios is narrowed to.
NARROWED = {
    r"^(pytest conformance/ --target ADDRESS) (--baseline results/OLD)$": (
        r"\1 -k version/ping --results results/OLD; \1 -k version/ping \2"
    ),
    r"^(pytest conformance/ -m registry .*)$": r"\1 -k registry/catalog",
    r"^(pytest conformance/(?!.* -k ).*)$": r"\1 -k containers/rename",
    r"^(pytest conformance/ .*) -k walkthrough$": r"\1 -k walkthrough/remove-image-first",
    # The stack is another release than that one, and differs.
    r"^(sixhops diff ADDRESS --against dockerd-28)": r"\1 engine/version/ping || test $? = 1",
    r"^(sixhops test .*)$": r"\1 -k containers/rename",
    r"^(sixhops matrix reference .*)$": r"\1 -s engine/version/ping --taps outer",
    r"'walkthrough/\*'": "walkthrough/remove-image-first",
    r"^(sixhops diff results/A reference)": r"\1 walkthrough/hello-world",
}
NEEDS_ENGINE = re.compile(
    r"sixhops (run|up|down|ps|test|trace)|ADDRESS|pytest conformance|nsenter|ctr |docker run|"
    r"diff (upstream|results/\w+ reference)|matrix reference"
)
NEEDS_DOCKER = re.compile(r"upstream|^docker |^ctr |eval ")
SECONDS = 240


def is_run(line: str) -> bool:
    return not any(part in line for part in NOT_RUN)


class Block(NamedTuple):
    """A block of commands, and where it stands."""

    place: str
    lines: tuple[str, ...]

    @property
    def needs_engine(self) -> bool:
        return any(NEEDS_ENGINE.search(line) for line in filter(is_run, self.lines))

    @property
    def needs_docker(self) -> bool:
        return any(NEEDS_DOCKER.search(line) for line in self.lines)


def blocks() -> Iterator[Block]:
    for path in sorted((REPOSITORY / "docs").rglob("*.md")):
        lines: list[str] | None = None
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if lines is None and line == "```sh":
                lines, start = [], number
            elif lines is not None and line == "```":
                yield Block(f"{path.relative_to(REPOSITORY)}:{start}", tuple(lines))
                lines = None
            elif lines is not None and line.strip() and not line.startswith("#"):
                lines.append(line)


def readme_blocks() -> Iterator[Block]:
    """Yield each command of the README that no page has; the lines from a stack's start to its end are one script."""
    known = {line.split("  #")[0].strip() for block in blocks() for line in block.lines}
    together: list[str] = []
    inside = False
    for number, line in enumerate((REPOSITORY / "README.md").read_text().splitlines(), start=1):
        command = line.replace(".venv/bin/", "")
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside and command.strip() and command.split("  #")[0].strip() not in known:
            together.append(command)
            if not together[0].startswith("eval") or "sixhops down" in command:
                if any(map(is_run, together)):
                    yield Block(f"README.md:{number}", tuple(together))
                together = []
    assert together == []


BLOCKS = [*blocks(), *readme_blocks()]
FAST = [block for block in BLOCKS if not block.needs_engine]
SLOW = [block for block in BLOCKS if block.needs_engine]


def script_of(block: Block, socket: str = "", pid: str = "", identifier: str = "") -> str:
    lines = []
    for line in filter(is_run, block.lines):
        text = re.sub(r"\s+# .*$", "", line)
        for pattern, instead in NARROWED.items():
            text = re.sub(pattern, instead, text)
        text = text.replace("unix:///run/podman/podman.sock", f"unix://{socket}").replace(
            "--target PID", f"--target {pid}"
        )
        text = text.replace("ADDRESS", f"unix://{socket}")
        text = text.replace("sixhops/ID/", f"sixhops/{identifier}/").replace("/srv/images", "images")
        if text == "sixhops up --stack upstream":
            # Until Ctrl-C, which ends it well; what stands behind `&` would ignore it.
            text = (
                "env --default-signal=INT sixhops up --stack upstream > up.txt & up=$!; "
                "until grep -q '^# stack' up.txt; do kill -0 $up; sleep 0.1; done; kill -INT $up; wait $up"
            )
        # Other stacks of this machine are not to be stopped.
        text = re.sub(r"(sixhops up [^\")]*--detach)", r"\1 | tee -a stacks.txt", text)
        if text.endswith("sixhops down"):
            text = (
                text.removesuffix("sixhops down")
                + "sixhops down $(sed -n 's/^# stack \\([0-9a-f]*\\):.*/\\1/p' stacks.txt)"
            )
        lines.append(text)
    return "\n".join(["set -e -o pipefail", *lines])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("scenarios", "conformance"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    # A scenario that the documentation has its reader write.
    for path in (REPOSITORY / "docs").rglob("*.md"):
        for text in re.findall(
            r"^```yaml\n(# scenarios/.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE
        ):
            (tmp_path / text.split()[1]).write_text(text)
    for name in RUNS:
        shutil.copytree(RUN, tmp_path / "results" / name)
    (tmp_path / "images").mkdir()
    return tmp_path


def run(script: str, folder: Path, **variables: str) -> None:
    # A folder that the script records a run in has no saved one, which is of another day and would count as a part of it.
    for name in re.findall(r"--results results/(\w+)", script):
        shutil.rmtree(folder / "results" / name, ignore_errors=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "SIXHOPS", "DOCKER"))
    }
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n\n{done.stdout}"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A reference stack that stands: what stands in for an engine of the reader's."""
    if os.geteuid() != 0:
        pytest.skip("stacks need root")
    command = [str(Path(sys.executable).with_name("sixhops")), "up", "--stack", "reference"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said: dict[str, str] = {}
        for line in process.stdout:
            if found := re.search(r"DOCKER_HOST=unix://(\S+)", line):
                said["socket"] = found[1]
            if found := re.search(r"# stack (\w+):", line):
                said["identifier"] = found[1]
            if found := re.search(r"nsenter --target (\d+)", line):
                said["pid"] = found[1]
            if "stop it" in line or len(said) == 3:
                break
        assert len(said) == 3
        yield said
        process.send_signal(signal.SIGINT)
        process.stdout.read()


@pytest.mark.parametrize("block", FAST, ids=[block.place for block in FAST])
def test_commands_that_need_no_engine(block: Block, folder: Path) -> None:
    run(script_of(block), folder)


@pytest.mark.parametrize("block", SLOW, ids=[block.place for block in SLOW])
def test_commands_that_need_an_engine(block: Block, folder: Path, engine: dict[str, str]) -> None:
    if block.needs_docker and not (shutil.which("dockerd") and shutil.which("docker")):
        pytest.skip("there is no real Docker here: ci/setup.sh upstream installs it")
    run(script_of(block, **engine), folder, DOCKER_HOST=f"unix://{engine['socket']}")


def test_what_is_not_run_is_still_in_the_documentation() -> None:
    lines = [line for block in BLOCKS for line in block.lines]
    lines += (REPOSITORY / "README.md").read_text().replace(".venv/bin/", "").splitlines()

    assert [part for part in NOT_RUN if not any(part in line for line in lines)] == []


def test_every_command_is_one_of_a_shell_block() -> None:
    """So that none escapes these tests."""
    for path in (REPOSITORY / "docs").rglob("*.md"):
        if path.parent.name == "generated":
            continue
        for language, text in re.findall(
            r"^```(\S*)\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE
        ):
            if language != "sh":
                assert not re.search(r"^(sixhops|pytest|python -m) ", text, re.MULTILINE), f"{path}:\n{text}"


def commands_of(name: str) -> list[str]:
    """Return the lines of an example's job that speak of sixhops, or of its baseline, in order."""
    document = yaml.safe_load((REPOSITORY / "ci" / "examples" / name).read_text())
    if name.startswith("github"):
        texts = [step.get("run", "") for step in document["jobs"]["sixhops"]["steps"]]
    else:
        texts = [*document["sixhops"]["script"], *document["sixhops"]["after_script"]]
    lines = [line for text in texts for line in text.splitlines()]
    return [line for line in lines if not line.startswith("pip install")]


def test_both_examples_for_ci_run_the_same() -> None:
    """So what `test_the_examples_for_ci_fail_at_what_is_new_only` shows of the one is true of the other."""
    github, gitlab = commands_of("github-actions.yml"), commands_of("gitlab-ci.yml")

    assert [line.split()[0] for line in gitlab] == ["if", "sixhops", "sixhops"]
    assert github == [*gitlab, 'cat report/summary.md >> "$GITHUB_STEP_SUMMARY"']


def test_the_examples_for_ci_fail_at_what_is_new_only(folder: Path, engine: dict[str, str]) -> None:
    """Held against the recorded release, then against results.json of that run; the engine is one that runs already."""
    scenario = folder / "scenarios/engine/containers/rename.yaml"
    text = scenario.read_text()
    assert text.count("status: 204") == 1
    scenario.write_text(text.replace("status: 204", "status: 299"))
    *suite, report, summary = commands_of("github-actions.yml")
    # As the job has it: the report is made of a run that failed as well, and it is the suite that the job fails with.
    script = "\n".join(
        [
            "failed=0",
            *(
                f"{line} -k containers/rename || failed=$?" if line.startswith("sixhops test ") else line
                for line in suite
            ),
            report,
            summary,
            "exit $failed",
        ]
    )
    head = f"set -e\nTARGET=unix://{engine['socket']}\nRELEASE=dockerd-20.10\nGITHUB_STEP_SUMMARY=page.md\n"

    with pytest.raises(AssertionError, match=r"FAILED .*containers/rename"):
        run(f"{head}BASELINE=none.json\n{script}\n", folder)
    made = json.loads((folder / "results/results.json").read_text())
    assert {one["verdict"] for one in made["scenarios"]} == {"failed", "passed"}
    shutil.move(folder / "results/results.json", folder / "baseline.json")
    run(f"{head}BASELINE=baseline.json\n{script}\n", folder)

    made = json.loads((folder / "results/results.json").read_text())
    assert {one["verdict"] for one in made["scenarios"]} == {"known", "passed"}
    assert (folder / "junit.xml").is_file()
    assert "dockerd-20.10" in (folder / "page.md").read_text()
    summary_data = json.loads((folder / "report/summary.json").read_text())
    assert summary_data["columns"][0]["name"] == "dockerd-20.10"
