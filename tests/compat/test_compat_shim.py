"""Our shim below real containerd, by its own name, as ctr asks for it.

dockerd 20.10 takes no shim's name as a runtime: it runs through ours, under the name of upstream's, in the stacks with
`shim=reference`.

Two rows: with real runc and with ours. Needs root and Docker's programs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from foreground import converse

from sixhops.harness.images import build, docker_archive, load_recipe
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES = Path(__file__).parents[2] / "scenarios" / "images"
BOUND = 60
NAME = "io.containerd.sixhops.v1"
IMAGE = "docker.io/library/busybox:latest"
MISSING = [program for program in ("dockerd", "containerd", "ctr", "runc") if shutil.which(program) is None]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a private machine is made of namespaces"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} on PATH"),
]


@pytest.fixture(scope="module", params=["upstream,shim=reference", "upstream,shim=reference,runc=reference"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateStack]:
    folder = tmp_path_factory.mktemp("shim")
    made = PrivateStack.start(str(request.param), directory=None, options=StackOptions())
    try:
        archive = folder / "busybox.tar"
        docker_archive(build(load_recipe(RECIPES / "busybox.yaml"), folder / "cache"), archive)
        with engine_client(made.engine, BOUND) as client:
            assert client.post("/images/load", content=archive.read_bytes()).status_code == 200
        assert ctr(made, "images", "import", str(archive)).returncode == 0
        yield made
    finally:
        left = made.close()
    assert left == []


def command(stack: PrivateStack, *words: str) -> list[str]:
    address = stack.engine.text.removeprefix("unix://").replace("engine.sock", "containerd.sock")
    return [*stack.machine.command([]), "ctr", "--address", address, *words]


def ctr(stack: PrivateStack, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(stack, *words), capture_output=True, text=True, timeout=BOUND, check=False)


def test_ctr_runs_by_its_name(stack: PrivateStack) -> None:
    script = "echo out; echo err >&2; read line; exit 3"
    words = command(stack, "run", "--rm", "--runtime", NAME, IMAGE, "one", "sh", "-c", script)

    done = converse(words, out="out\n", err="err\n", bound=BOUND)

    assert (done.returncode, done.stdout, done.stderr.splitlines()[:1]) == (3, "out\n", ["err"])


def test_ctr_controls_a_task(stack: PrivateStack) -> None:
    started = ctr(stack, "run", "-d", "--runtime", NAME, IMAGE, "two", "sleep", "1000")
    inside = converse(
        command(stack, "tasks", "exec", "--exec-id", "e", "two", "sh", "-c", "echo inside; read line"),
        out="inside\n",
        bound=BOUND,
    )
    paused = ctr(stack, "tasks", "pause", "two")
    listed = ctr(stack, "tasks", "ls")
    resumed = ctr(stack, "tasks", "resume", "two")
    figures = ctr(stack, "tasks", "metrics", "two")
    killed = ctr(stack, "tasks", "kill", "--signal", "SIGKILL", "two")
    removed = ctr(stack, "tasks", "rm", "--force", "two")
    ctr(stack, "containers", "rm", "two")

    for done in (started, paused, resumed, figures, killed):
        assert done.returncode == 0, done.stderr
    assert inside.stdout == "inside\n"
    assert "PAUSED" in listed.stdout
    assert removed.returncode in (0, 137), removed.stderr
