"""Docker's own command line against the reference engine."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import tarfile
import termios
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Stack

CLI = "/usr/bin/docker"

pytestmark = pytest.mark.skipif(
    not os.access(CLI, os.X_OK), reason=f"needs {CLI} (apt-get install docker.io, or make upstream)"
)


@pytest.fixture
def sleeper(stack: Stack) -> Iterator[str]:
    name = stack.run(CLI, "run", "-d", "busybox", "sleep", "1000").stdout.strip()
    yield name
    stack.run(CLI, "rm", "-f", name)


def test_hello_world_attached(stack: Stack) -> None:
    assert "Hello from Docker!" in stack.run(CLI, "run", "--rm", "hello-world").stdout


def test_a_terminal_has_the_window_of_ours(stack: Stack) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    # the client tells the size just after the start: the program waits until it is there
    script = (
        "i=0; while [ $i -lt 100 ] && [ \"$(stty size 2>/dev/null)\" != '33 77' ]; do i=$((i+1)); sleep 0.05; done; "
        "stty size"
    )
    client = subprocess.Popen(
        [CLI, "run", "--rm", "-it", "busybox", "sh", "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"DOCKER_HOST": stack.engine},
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 1 << 12):
            seen += piece
    except OSError:
        pass  # how Linux tells that the other end of a pty has gone
    finally:
        os.close(ours)
    assert client.wait(30) == 0, seen
    assert seen == b"33 77\r\n"


def test_exec_top_diff_copy_and_export(stack: Stack, sleeper: str, tmp_path: Path) -> None:
    done = stack.run(
        CLI, "exec", sleeper, "sh", "-c", "echo out; echo err >&2; echo a >/f; exit 3", check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert "sleep 1000" in stack.run(CLI, "top", sleeper).stdout
    stack.run(CLI, "cp", f"{sleeper}:/f", str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == "a\n"
    stack.run(CLI, "cp", str(tmp_path / "f"), f"{sleeper}:/tmp/g")
    assert set(stack.run(CLI, "diff", sleeper).stdout.split("\n")) >= {"A /f", "C /tmp", "A /tmp/g"}
    assert stack.run(CLI, "exec", sleeper, "cat", "/tmp/g").stdout == "a\n"
    stack.run(CLI, "export", "-o", str(tmp_path / "tree.tar"), sleeper)
    with tarfile.open(tmp_path / "tree.tar") as tree:
        assert {"f", "tmp/g", "bin/busybox", ".dockerenv"} <= set(tree.getnames())


def test_logs_are_followed_to_the_end(stack: Stack) -> None:
    name = stack.run(
        CLI, "run", "-d", "busybox", "sh", "-c", "echo one; sleep 0.2; echo two >&2"
    ).stdout.strip()
    done = stack.run(CLI, "logs", "-f", name)
    assert (done.stdout, done.stderr) == ("one\n", "two\n")
    assert stack.run(CLI, "rm", name).stdout.strip() == name


def test_lists_and_inspect(stack: Stack, sleeper: str) -> None:
    assert sleeper[:12] in stack.run(CLI, "ps").stdout
    assert stack.run(CLI, "images", "--format", "{{.Repository}}").stdout.split().count("busybox") == 1
    assert json.loads(stack.run(CLI, "inspect", sleeper).stdout)[0]["Id"] == sleeper
    assert "bridge" in stack.run(CLI, "network", "ls").stdout
    assert re.search(r"Images +2 ", stack.run(CLI, "system", "df").stdout)
    assert sleeper[:12] in stack.run(CLI, "stats", "--no-stream", sleeper).stdout
    assert "Server Version: 20.10" in stack.run(CLI, "info").stdout
    assert "Server:" in stack.run(CLI, "version").stdout


def test_stop_events_and_update(stack: Stack, sleeper: str) -> None:
    assert stack.run(CLI, "update", "--pids-limit", "50", sleeper).stdout.strip() == sleeper
    stack.run(CLI, "stop", "-t", "0", sleeper)
    now = f"{time.time():.6f}"
    words = (
        "events",
        "--since",
        "5m",
        "--until",
        now,
        "-f",
        f"container={sleeper}",
        "--format",
        "{{.Action}}",
    )
    told = stack.run(CLI, *words).stdout.split()
    assert told[0] == "create"
    assert {"start", "update", "kill", "die", "stop"} <= set(told)


def test_volumes_and_prunes(stack: Stack) -> None:
    assert stack.run(CLI, "volume", "create", "compat").stdout == "compat\n"
    assert "compat" in stack.run(CLI, "volume", "ls", "-q").stdout.split()
    name = stack.run(CLI, "create", "-v", "compat:/v", "busybox").stdout.strip()
    assert "volume is in use" in stack.run(CLI, "volume", "rm", "compat", check=False).stderr
    assert name in stack.run(CLI, "container", "prune", "-f").stdout
    assert stack.run(CLI, "volume", "rm", "compat").stdout == "compat\n"


def test_errors_are_the_engines(stack: Stack) -> None:
    done = stack.run(CLI, "pull", "nosuch", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error response from daemon: ")
    done = stack.run(CLI, "run", "--rm", "busybox", "/nosuch", check=False)
    assert done.returncode == 127
    assert 'exec: "/nosuch": stat /nosuch: no such file or directory' in done.stderr
