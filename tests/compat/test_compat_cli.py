"""Docker's own command line against the reference engine: Debian's, and the one that SIXHOPS_DOCKER_CLI names."""

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

#: Debian 12's client speaks API 1.41. A newer one: unpack docker-cli of trixie or sid (dpkg -x) and name its binary here.
CLIS = ["/usr/bin/docker", os.environ.get("SIXHOPS_DOCKER_CLI", "")]


@pytest.fixture(params=CLIS, ids=["debian", "named"])
def cli(request: pytest.FixtureRequest) -> str:
    path = str(request.param)
    if not path:
        pytest.skip("SIXHOPS_DOCKER_CLI names no other client")
    if not os.access(path, os.X_OK):
        pytest.skip(f"needs {path} (apt-get install docker.io, or make upstream)")
    return path


@pytest.fixture
def sleeper(stack: Stack, cli: str) -> Iterator[str]:
    name = stack.run(cli, "run", "-d", "busybox", "sleep", "1000").stdout.strip()
    yield name
    stack.run(cli, "rm", "-f", name)


def test_hello_world_attached(stack: Stack, cli: str) -> None:
    assert "Hello from Docker!" in stack.run(cli, "run", "--rm", "hello-world").stdout


def test_a_terminal_has_the_window_of_ours(stack: Stack, cli: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    # the client tells the size just after the start: the program waits until it is there
    script = (
        "i=0; while [ $i -lt 100 ] && [ \"$(stty size 2>/dev/null)\" != '33 77' ]; do i=$((i+1)); sleep 0.05; done; "
        "stty size"
    )
    client = subprocess.Popen(
        [cli, "run", "--rm", "-it", "busybox", "sh", "-c", script],
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


def test_exec_top_diff_copy_and_export(stack: Stack, cli: str, sleeper: str, tmp_path: Path) -> None:
    done = stack.run(
        cli, "exec", sleeper, "sh", "-c", "echo out; echo err >&2; echo a >/f; exit 3", check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert "sleep 1000" in stack.run(cli, "top", sleeper).stdout
    stack.run(cli, "cp", f"{sleeper}:/f", str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == "a\n"
    stack.run(cli, "cp", str(tmp_path / "f"), f"{sleeper}:/tmp/g")
    assert set(stack.run(cli, "diff", sleeper).stdout.split("\n")) >= {"A /f", "C /tmp", "A /tmp/g"}
    assert stack.run(cli, "exec", sleeper, "cat", "/tmp/g").stdout == "a\n"
    stack.run(cli, "export", "-o", str(tmp_path / "tree.tar"), sleeper)
    with tarfile.open(tmp_path / "tree.tar") as tree:
        assert {"f", "tmp/g", "bin/busybox", ".dockerenv"} <= set(tree.getnames())


def test_logs_are_followed_to_the_end(stack: Stack, cli: str) -> None:
    name = stack.run(
        cli, "run", "-d", "busybox", "sh", "-c", "echo one; sleep 0.2; echo two >&2"
    ).stdout.strip()
    done = stack.run(cli, "logs", "-f", name)
    assert (done.stdout, done.stderr) == ("one\n", "two\n")
    assert stack.run(cli, "rm", name).stdout.strip() == name


def test_lists_and_inspect(stack: Stack, cli: str, sleeper: str) -> None:
    assert sleeper[:12] in stack.run(cli, "ps").stdout
    assert stack.run(cli, "images", "--format", "{{.Repository}}").stdout.split().count("busybox") == 1
    assert json.loads(stack.run(cli, "inspect", sleeper).stdout)[0]["Id"] == sleeper
    assert "bridge" in stack.run(cli, "network", "ls").stdout
    assert re.search(r"Images +2 ", stack.run(cli, "system", "df").stdout)
    assert sleeper[:12] in stack.run(cli, "stats", "--no-stream", sleeper).stdout
    assert "Server Version: 20.10" in stack.run(cli, "info").stdout
    assert "Server:" in stack.run(cli, "version").stdout


def test_stop_events_and_update(stack: Stack, cli: str, sleeper: str) -> None:
    assert stack.run(cli, "update", "--pids-limit", "50", sleeper).stdout.strip() == sleeper
    stack.run(cli, "stop", "-t", "0", sleeper)
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
    told = stack.run(cli, *words).stdout.split()
    assert told[0] == "create"
    assert {"start", "update", "kill", "die", "stop"} <= set(told)


def test_volumes_and_prunes(stack: Stack, cli: str) -> None:
    assert stack.run(cli, "volume", "create", "compat").stdout == "compat\n"
    assert "compat" in stack.run(cli, "volume", "ls", "-q").stdout.split()
    name = stack.run(cli, "create", "-v", "compat:/v", "busybox").stdout.strip()
    assert "volume is in use" in stack.run(cli, "volume", "rm", "compat", check=False).stderr
    assert name in stack.run(cli, "container", "prune", "-f").stdout
    assert stack.run(cli, "volume", "rm", "compat").stdout == "compat\n"


def test_errors_are_the_engines(stack: Stack, cli: str) -> None:
    done = stack.run(cli, "pull", "nosuch", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error response from daemon: ")
    done = stack.run(cli, "run", "--rm", "busybox", "/nosuch", check=False)
    assert done.returncode == 127
    assert 'exec: "/nosuch": stat /nosuch: no such file or directory' in done.stderr
