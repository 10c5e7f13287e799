"""A process that enters its groups by itself, and one that is born in its group."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from sixhops.linux import namespaces as ns
from sixhops.linux.cgroups.layout import container_groups, read_layout

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes control groups")


@pytest.fixture
def groups():
    found = container_groups(read_layout(), f"/sixhops-test-{secrets.token_hex(4)}")
    yield found
    for path in dict.fromkeys(found.values()):
        if Path(path).exists():
            Path(path).rmdir()


def run(code: str, groups: dict[str, str]) -> list[str]:
    """Run code that prints /proc/self/cgroup of its child, in an interpreter with one thread."""
    done = subprocess.run(
        [sys.executable, "-c", code, repr(groups)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not read_layout().version1, reason="needs version 1 control groups")
def test_process_enters_every_version_1_group_by_itself(groups):
    code = """
import ast, os, sys
from sixhops.linux.cgroups import control
groups = ast.literal_eval(sys.argv[1])
control.create(groups)
entries = control.open_entries(groups)
pid = os.fork()
if pid == 0:
    control.enter_self(entries)
    os.write(1, open("/proc/self/cgroup", "rb").read())
    os._exit(0)
os.waitpid(pid, 0)
"""
    name = "/" + Path(next(iter(groups.values()))).name

    lines = run(code, groups)

    own = {line.split(":")[1]: line.split(":")[2] for line in lines}
    for controllers, path in own.items():
        if set(controllers.removeprefix("name=").split(",")) & (set(groups) - {""}):
            assert path.endswith(name), controllers


@pytest.mark.skipif(
    read_layout().unified is None or not ns.clones_into_groups(),
    reason="needs a version 2 hierarchy and Linux 5.7",
)
def test_process_is_born_in_its_version_2_group(groups):
    code = """
import ast, os, sys
from sixhops.linux import namespaces as ns
from sixhops.linux.cgroups import control
path = ast.literal_eval(sys.argv[1])[""]
control.create({"": path})
group = os.open(path, os.O_PATH | os.O_DIRECTORY)
pid = ns.clone(ns.CLONE_NEWUTS, group)
if pid == 0:
    os.write(1, open("/proc/self/cgroup", "rb").read())
    os._exit(0)
os.waitpid(pid, 0)
"""

    lines = run(code, groups)

    assert lines[-1] == f"0::/{Path(groups['']).name}"
