"""Our client and Docker's own, side by side against a real engine: same output, same status, same requests.

A selection of `docker_cases.CASES` that takes seconds; the whole table runs by `python tests/docker/docker_compare.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import docker_compare
import pytest
from docker_case import Case
from docker_cases import CASES
from docker_compare import Comparison

from sixhops.harness.images import build, load_recipe, push
from sixhops.harness.stack import open_target

_MISSING = [
    name
    for name in ("/usr/bin/docker", "dockerd", "containerd", "runc", "docker-registry")
    if not shutil.which(name)
]
pytestmark = [
    pytest.mark.skipif(
        bool(_MISSING), reason=f"these programs of Docker are not installed: {', '.join(_MISSING)}"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="a private engine needs root"),
]

_RECIPES = Path(__file__).resolve().parents[2] / "scenarios" / "images"
_CHOSEN = {
    "run --rm hello-world",
    "run --rm -i busybox cat",
    "run --rm busybox sh -c echo␠out;echo␠err␠>&2;exit␠42",
    "run --rm busybox nosuch",
    "run --rm --network none --privileged --init busybox ps",
    "exec one sh -c exit␠3",
    "ps -a",
    "logs one",
    "start -a one",
    "inspect -f {{.Foo}} one",
    "rmi nosuch",
    "info",
    "attach one",
    "create -p 8000-8002:80-82 busybox true",
    "create --mount type=bind,src=/tmp,dst=/t,readonly busybox true",
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    target = open_target("upstream", directory=tmp_path_factory.mktemp("logs"), options=None)
    try:
        for name in ("hello-world", "busybox"):
            built = build(load_recipe(_RECIPES / f"{name}.yaml"), tmp_path_factory.mktemp(name))
            push(built, target.registry.direct)
            subprocess.run(
                ["/usr/bin/docker", "-H", f"unix://{target.engine.unix}", "pull", "-q", name],
                check=True,
                capture_output=True,
            )
        found = Comparison(target.engine.unix)
        yield found
        found.close()
    finally:
        target.close()


def _name(case: Case) -> str:
    return f"{case.line} after {case.before[0]}" if case.before else case.line


@pytest.mark.parametrize("case", [c for c in CASES if c.line in _CHOSEN], ids=_name)
def test_both_clients_do_the_same(comparison, case):
    assert comparison.differences(case) == []


def test_a_difference_is_seen(comparison, monkeypatch):
    """The comparison itself can fail: another exit status, another output, another request."""
    monkeypatch.setattr(docker_compare, "OURS", ("/bin/sh", "-c", "echo other; exit 9", "docker"))

    found = comparison.differences(Case("ps -q"))

    assert [line.split(":")[0].split(" asks")[0] for line in found] == ["status", "stdout", "only docker"]
