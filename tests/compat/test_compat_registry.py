"""Real dockerd with Docker's client, and real containerd with ctr, against the reference registry, in each mode."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import registries
from registries import MODES, PASSWORD, USER, Registry, started

from sixhops.harness.errors import TargetError
from sixhops.harness.images import build, docker_archive, load_recipe
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator

CLI = "/usr/bin/docker"
RECIPES = Path(__file__).parents[2] / "scenarios" / "images"
BOUND = 60
NEEDED = {
    CLI: "docker.io",
    "dockerd": "docker.io",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
}
MISSING = sorted(
    {package for name, package in NEEDED.items() if shutil.which(name, path="/usr/sbin:/usr/bin") is None}
)

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs apt-get install {' '.join(MISSING)} (or make upstream)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a private machine is made of namespaces"),
    pytest.mark.xdist_group("compat-registry"),
]


@dataclass(frozen=True, slots=True)
class Real:
    """Real dockerd and containerd in a machine of their own, with a registry of ours in each mode beside them."""

    private: PrivateStack
    archive: Path
    registries: dict[str, Registry]
    folder: Path

    def docker(self, *words: str, home: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Docker's client, with `home` for its logins."""
        environment = os.environ | {"DOCKER_HOST": self.private.engine.text, "DOCKER_CONFIG": str(home)}
        return finished([CLI, *words], environment, check=check)

    def ctr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run containerd's client."""
        address = self.private.engine.text.removeprefix("unix://").replace("engine.sock", "containerd.sock")
        return finished(
            ["ctr", "--address", address, "--namespace", "compat", *words], dict(os.environ), check=check
        )


def finished(
    argv: list[str], environment: dict[str, str], *, check: bool
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=BOUND, check=False)
    assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("real")
    archive = folder / "busybox.tar"
    docker_archive(build(load_recipe(RECIPES / "busybox.yaml"), folder / "cache"), archive)
    private = PrivateStack.start("upstream,registry=reference", directory=None, options=StackOptions())
    try:
        inside = {mode: start_inside(private, folder / mode, mode) for mode in MODES}
        real = Real(private, archive, inside, folder)
        real.docker("load", "-i", str(archive), home=folder / "nobody")
        real.ctr("images", "import", "--base-name", "docker.io/library/busybox", str(archive))
        yield real
    finally:
        left = private.close()
    assert left == []


def start_inside(private: PrivateStack, directory: Path, mode: str) -> Registry:
    """Start a registry in the stack's own network, where its engine reaches it."""
    probe = private.sandbox.listen()
    port = probe.getsockname()[1]
    probe.close()
    config = registries.configuration(directory, mode, f"127.0.0.1:{port}")
    environment = {"PATH": os.environ["PATH"], "HOME": "/root"}
    private.sandbox.run(f"registry-{mode}", registries.program(config), environment, log=directory / "log")
    deadline = time.monotonic() + registries.START_SECONDS
    while True:
        try:
            private.sandbox.connect("127.0.0.1", port).close()
            return Registry(mode, f"127.0.0.1:{port}")
        except TargetError:
            assert time.monotonic() < deadline, (directory / "log").read_text()
            time.sleep(0.02)


@pytest.fixture(params=MODES)
def registry(real: Real, request: pytest.FixtureRequest) -> Registry:
    return real.registries[request.param]


def image_id(real: Real, name: str, home: Path) -> str:
    return str(json.loads(real.docker("inspect", name, home=home).stdout)[0]["Id"])


def test_docker_pushes_and_pulls(real: Real, registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/lib/busybox:1"
    if registry.guarded:
        told = real.docker("login", "-u", USER, "-p", PASSWORD, registry.host, home=tmp_path)
        assert "Login Succeeded" in told.stdout
    expected = image_id(real, "busybox:latest", tmp_path)
    real.docker("tag", "busybox:latest", name, home=tmp_path)
    assert "digest: sha256:" in real.docker("push", name, home=tmp_path).stdout
    real.docker("rmi", name, home=tmp_path)

    real.docker("pull", name, home=tmp_path)

    assert image_id(real, name, tmp_path) == expected
    assert (
        real.docker("run", "--rm", "--network", "none", name, "echo", "ran", home=tmp_path).stdout == "ran\n"
    )
    assert "Layer already exists" in real.docker("push", name, home=tmp_path).stdout
    real.docker("rmi", name, home=tmp_path)


def test_docker_mounts_what_another_repository_has(real: Real, registry: Registry, tmp_path: Path) -> None:
    if registry.guarded:
        real.docker("login", "-u", USER, "-p", PASSWORD, registry.host, home=tmp_path)
    first, second = (f"{registry.host}/mounted/{name}:1" for name in ("first", "second"))
    for name in (first, second):
        real.docker("tag", "busybox:latest", name, home=tmp_path)
    real.docker("push", first, home=tmp_path)

    assert "Mounted from mounted/first" in real.docker("push", second, home=tmp_path).stdout
    real.docker("rmi", first, second, home=tmp_path)


def test_docker_without_a_password(real: Real, registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/lib/nobody:1"
    real.docker("tag", "busybox:latest", name, home=tmp_path)
    pushed = real.docker("push", name, home=tmp_path, check=False)
    real.docker("rmi", name, home=tmp_path)

    assert (pushed.returncode == 0) is not registry.guarded, pushed
    if registry.guarded:
        wrong = real.docker("login", "-u", USER, "-p", "wrong", registry.host, home=tmp_path, check=False)
        assert wrong.returncode == 1
        assert "unauthorized" in wrong.stderr.lower()


@pytest.mark.parametrize("mode", MODES)
def test_ctr_pushes_and_pulls(real: Real, mode: str, tmp_path: Path) -> None:
    with started(tmp_path / "registry", mode) as registry:
        name = f"{registry.host}/lib/busybox:1"
        who = ["--user", f"{USER}:{PASSWORD}"] if registry.guarded else []
        (source,) = real.ctr("images", "ls", "-q").stdout.split()
        real.ctr("images", "push", "--plain-http", *who, name, source)

        real.ctr("images", "pull", "--plain-http", *who, name)

        assert name in real.ctr("images", "ls", "-q").stdout.split()
        refused = real.ctr(
            "images", "push", "--plain-http", f"{registry.host}/lib/nobody:1", source, check=False
        )
        assert (refused.returncode == 0) is not registry.guarded
        real.ctr("images", "rm", name)
