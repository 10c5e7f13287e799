"""`sixhops up`, `down` and `ps` as a person uses them, on real Docker in a private machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.programs import ROLES, find_upstream
from sixhops.harness.stack.remains import find_cgroups
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND = 180.0
_MISSING = [role.upstream for role in ROLES.values() if find_upstream(role) is None]
NEEDS_UPSTREAM = pytest.mark.skipif(
    os.geteuid() != 0 or bool(_MISSING),
    reason=f"needs {', '.join(_MISSING)} (make upstream)"
    if _MISSING
    else "needs root: a stack is made of namespaces",
)
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


@dataclass(frozen=True)
class Home:
    """A state folder of the test's own, short enough for sockets."""

    path: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "SIXHOPS_STATE": str(self.path), "PYTHONWARNINGS": "error"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sixhops", *arguments],
            capture_output=True, text=True, timeout=BOUND, check=False, env=self.environment(),
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sixhops", "up", "--stack", "upstream", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment(),
        )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.run("ps", "--json").stdout)
        return rows

    def left(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if path.name != ".lock")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, because a socket's is limited, and not on the tmpfs that /tmp may be."""
    with tempfile.TemporaryDirectory(prefix="six-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture
def home(short: Path) -> Iterator[Home]:
    home = Home(short / "s")
    yield home
    home.run("down", "--all")
    assert not home.path.exists() or home.left() == []


@contextlib.contextmanager
def ready(process: subprocess.Popen[str]) -> Iterator[dict[str, str]]:
    """Wait for what a foreground `up` tells, as a mapping; kill it at the end if it still runs."""
    assert process.stdout is not None
    told = {}
    try:
        for line in process.stdout:
            key, _, value = (
                line.strip().removeprefix("# ").replace("export DOCKER_HOST=", "host: ").partition(": ")
            )
            told[key] = value
            if key == "stop it":
                break
        else:
            assert process.stderr is not None
            pytest.fail(process.stderr.read())
        yield told
    finally:
        process.kill()
        process.communicate(timeout=BOUND)


def ask(host: str, path: str) -> Any:
    scheme, _, rest = host.partition("://")
    if scheme == "unix":
        address = Address(host, unix=Path(rest))
    else:
        name, _, port = rest.partition(":")
        address = Address(host, host=name, port=int(port))
    with engine_client(address, BOUND) as client:
        return client.get(path).json()


def await_that(condition: Callable[[], bool]) -> None:
    """Wait for the end of what nobody tells us of; bounded."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@NEEDS_UPSTREAM
def test_a_detached_stack_is_used_listed_and_stopped(home: Home) -> None:
    started = home.run("up", "--stack", "upstream", "--detach")
    assert (started.returncode, started.stderr) == (0, "")
    host = started.stdout.splitlines()[0].removeprefix("export DOCKER_HOST=")
    (row,) = home.rows()
    assert (row["stack"], row["owner"], row["state"], row["docker_host"]) == (
        "upstream",
        "detached",
        "up",
        host,
    )
    client = ["/usr/bin/docker", "--config", str(home.path), "-H", host]

    hello = subprocess.run(
        [*client, "run", "hello-world"], capture_output=True, text=True, timeout=BOUND, check=False
    )
    unknown = subprocess.run(
        [*client, "run", "nobody-knows"], capture_output=True, text=True, timeout=BOUND, check=False
    )

    assert "Hello from Docker!" in hello.stdout, hello.stderr
    assert unknown.returncode == 125
    assert "192.0.2.53" in unknown.stderr
    stopped = home.run("down", row["id"][:4])
    assert (stopped.returncode, stopped.stderr) == (0, f"stack {row['id']} has stopped, nothing is left\n")
    assert home.left() == []
    assert find_cgroups(row["id"]) == []
    assert home.run("ps").stderr == "no stack runs\n"


@NEEDS_UPSTREAM
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_foreground_stack_at_a_place_of_ones_own(
    home: Home, short: Path, number: int
) -> None:
    where = short / "d"
    process = home.start("--dir", str(where), "-H", f"unix://{short}/e.sock", "--images", "")
    with ready(process) as told:
        assert told["host"] == f"unix://{short}/e.sock"
        assert told["logs"] == f"{where}/logs"
        assert ask(told["host"], "/containers/json") == []
        second = home.run("up", "--stack", "upstream", "--dir", str(where))
        third = home.run("up", "--stack", "upstream", "-H", f"unix://{short}/e.sock")
        (row,) = home.rows()
        process.send_signal(number)
        _, errors = process.communicate(timeout=BOUND)

    assert (second.returncode, second.stderr.count("\n")) == (4, 1)
    assert f"{where} is in use by stack {row['id']}" in second.stderr
    assert (third.returncode, third.stderr.count("\n")) == (4, 1)
    assert "e.sock: it exists already" in third.stderr
    assert row["owner"] == f"up, process {process.pid}"
    assert (process.returncode, errors.splitlines()[-1]) == (
        0,
        f"stack {row['id']} has stopped, nothing is left",
    )
    assert [path.name for path in short.iterdir()] == ["s"]


@NEEDS_UPSTREAM
def test_a_killed_owner_leaves_nothing(home: Home, short: Path) -> None:
    where = short / "d"
    with ready(home.start("--dir", str(where), "-H", f"unix://{short}/e.sock", "--images", "")):
        (row,) = home.rows()

    await_that(lambda: home.rows() == [])
    # Whoever removes it does so one by one.
    await_that(lambda: (home.left(), [path.name for path in short.iterdir()]) == ([], ["s"]))
    assert find_cgroups(row["id"]) == []
    assert not Path(f"/proc/{row['init']}").exists()
    assert str(where) not in Path("/proc/self/mountinfo").read_text()


@NEEDS_UPSTREAM
def test_down_stops_what_somebody_else_has_in_the_foreground(home: Home) -> None:
    process = home.start("-H", "tcp://127.0.0.1:0")
    with ready(process) as told:
        assert ask(told["host"], "/info")["ServerVersion"] == ask(told["host"], "/version")["Version"]
        assert home.run("down").returncode == 0
        _, errors = process.communicate(timeout=BOUND)

    assert process.returncode == 0
    assert errors.endswith("has stopped, nothing is left\n")


@NEEDS_UPSTREAM
def test_a_daemon_that_dies_ends_the_stack_with_its_log(home: Home) -> None:
    process = home.start("--images", "")
    with ready(process):
        (row,) = home.rows()
        pid = (Path(row["directory"]) / "dockerd.pid").read_text()
        subprocess.run(
            ["nsenter", f"--target={row['init']}", "--pid", "--mount", "kill", "-KILL", pid],
            check=True,
            timeout=BOUND,
        )
        _, errors = process.communicate(timeout=BOUND)

    assert process.returncode == 1
    assert errors.startswith("stack upstream: dockerd was killed by SIGKILL; its log ends with:\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the command itself does")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "--stack", "upstrem"], "did you mean 'upstream'"),
        (["up", "--stack", "upstream", "-H", "tcp://0.0.0.0:1"], "only an address of the loopback"),
        (["up", "--stack", "upstream", "--images", "hello-wold"], "did you mean 'hello-world'"),
        (["down"], "no stack runs"),
        (["down", "nobody"], "no such stack: 'nobody'"),
        (["down", "--all", "x"], "can't go together"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line_and_4(home: Home, arguments: list[str], message: str) -> None:
    done = home.run(*arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert message in done.stderr


@NEEDS_ROOT
@pytest.mark.parametrize("command", ["up", "down", "ps"])
def test_without_root_it_is_one_line_and_4(command: str) -> None:
    # In this interpreter's child, since others may not be able to read where it is installed.
    script = (
        "import os, sys\nfrom sixhops.harness.cli import main\n"
        "from sixhops.harness.cli import up\n"
        "import sixhops.harness.plugin, sixhops.harness.images, sixhops.harness.stack.standing\n"
        f"os.setuid(65534)\nsys.argv = ['sixhops', {command!r}]\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=BOUND, check=False
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert f"`sixhops {command}` needs root" in done.stderr
