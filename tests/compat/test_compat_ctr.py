"""containerd's own command line against the reference containerd."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Stack

pytestmark = pytest.mark.skipif(
    shutil.which("ctr") is None, reason="needs ctr (apt-get install containerd, or make upstream)"
)


def test_version_namespaces_and_a_task(stack: Stack) -> None:
    def ctr(*words: str) -> str:
        return stack.run("ctr", "--address", stack.containerd, "--namespace", "compat", *words).stdout

    assert "Server:" in ctr("version")
    ctr("images", "import", str(stack.folder / "busybox.tar"))
    assert "compat" in ctr("namespaces", "ls", "-q").split()
    names = ctr("images", "ls", "-q").split()
    assert len(names) == 1
    assert "sha256:" in ctr("content", "ls", "-q")
    ctr("run", "-d", "--null-io", names[0], "one", "sleep", "1000")
    assert ctr("tasks", "ls").split()[-1] == "RUNNING"
    assert ctr("containers", "ls", "-q").split() == ["one"]
    ctr("tasks", "kill", "-s", "SIGKILL", "one")
    ctr("tasks", "rm", "one")
    ctr("containers", "rm", "one")
    assert ctr("tasks", "ls", "-q") == ""
