"""A reference stack with two images, for clients that others have written."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemons import DOCKERS, OURS

from sixhops.harness.images import build, docker_archive, load_recipe, push
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECIPES = Path(__file__).parents[2] / "scenarios" / "images"
#: A client that hangs fails its test after so many seconds.
BOUND = 30


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the engine and containerd listen, and a folder with `busybox.tar`, an image archive.

    `inside` is what stands before a command that runs on the stack's own machine; the registry there is `registry`, and
    control groups belong below `cgroup`. `root` is where that machine's files are seen.
    """

    engine: str
    containerd: str
    folder: Path
    inside: tuple[str, ...]
    registry: str
    cgroup: str
    root: str

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a client's command."""
        environment = os.environ | {"DOCKER_HOST": self.engine, "DOCKER_CONFIG": str(self.folder)}
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=BOUND, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if os.geteuid() != 0:
        pytest.skip("needs root: a private machine is made of namespaces")
    folder = tmp_path_factory.mktemp("compat")
    private = PrivateStack.start("reference", directory=None, options=StackOptions())
    try:
        assert private.registry is not None
        with engine_client(private.engine, BOUND) as client:
            for name in ("hello-world", "busybox"):
                archive = folder / f"{name}.tar"
                image = build(load_recipe(_RECIPES / f"{name}.yaml"), folder / "cache")
                docker_archive(image, archive)
                push(image, private.registry.direct)
                assert client.post("/images/load", content=archive.read_bytes()).status_code == 200
        yield Stack(
            private.engine.text,
            private.engine.text.removeprefix("unix://").replace("engine.sock", "containerd.sock"),
            folder,
            tuple(private.machine.command([])),
            private.registry.prefix,
            f"/{private.sandbox.cgroup}",
            str(private.sandbox.root),
        )
    finally:
        left = private.close()
    assert left == []


@pytest.fixture(params=[OURS, DOCKERS], ids=["ours", "docker's"])
def program(request: pytest.FixtureRequest) -> str:
    """A dockerd to be run as a `Daemon`."""
    path = str(request.param)
    if not os.access(path, os.X_OK):
        pytest.skip(f"needs {path} (apt-get install docker.io)")
    return path


@pytest.fixture
def folder(program: str) -> Iterator[Path]:
    """A folder for the daemon's state. Its name is a namespace of containerd's."""
    # tmp_path can be longer than a socket's address may be (unix(7))
    with tempfile.TemporaryDirectory(prefix="sixhops-") as directory:
        place = Path(directory) / ("ours" if program == OURS else "dockers")
        place.mkdir()
        yield place
