"""A version 1 cpuset below a parent that somebody else made and left empty."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from sixhops.linux.cgroups import control

HIERARCHY = Path("/sys/fs/cgroup/cpuset")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (HIERARCHY / "cpuset.cpus").exists(),
    reason="needs root and a version 1 cpuset hierarchy",
)


def test_an_empty_parent_is_filled_from_above() -> None:
    parent = HIERARCHY / f"sixhops-test-{secrets.token_hex(4)}"
    inner = parent / "inner"
    parent.mkdir()
    try:
        control.create({"cpuset": str(inner)})

        for name in ("cpuset.cpus", "cpuset.mems"):
            assert (inner / name).read_text() == (parent / name).read_text() == (HIERARCHY / name).read_text()
    finally:
        inner.rmdir()
        parent.rmdir()
