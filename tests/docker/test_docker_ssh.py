"""Both clients reach an engine through a real ssh and a real sshd, whichever of the two answers on the other side."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from docker_canned import canned_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REAL = "/usr/bin/docker"
_SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
_MISSING = [
    name
    for name, path in (("sshd", _SSHD), ("ssh", shutil.which("ssh")), (REAL, shutil.which(REAL)))
    if not path
]
pytestmark = [
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="an sshd in its own mounts needs root"),
]

_CLIENTS = {"docker": [REAL], "ours": [sys.executable, "-m", "sixhops.docker"]}
_BOUND = 30.0
#: An address of the loopback at which nobody else listens or connects: its ports stay free until sshd takes one.
_HOST = "127.77.0.22"
_HELLO = b"hello through ssh\n"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run an sshd on the loopback; yield the directory with its keys, its `port` and its log."""
    directory = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user", "other"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(words, check=True, timeout=_BOUND)
    shutil.copy(directory / "user.pub", directory / "authorized")
    with socket.create_server((_HOST, 0)) as free:
        port = free.getsockname()[1]
    (directory / "port").write_text(str(port))
    (directory / "sshd_config").write_text(
        f"ListenAddress {_HOST}:{port}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized\n"
        f"PidFile none\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"SetEnv PATH={directory}/bin:{os.environ['PATH']} DOCKER_HOST=unix://{directory}/engine.sock HOME={directory}\n"
    )
    # sshd wants an empty /run/sshd of its own; it gets one that nobody else sees
    script = 'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$0" -D -e -f "$1"'
    with (directory / "log").open("wb") as log:
        program = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, str(_SSHD), str(directory / "sshd_config")], stderr=log
        )
    try:
        end = time.monotonic() + _BOUND
        while b"Server listening" not in (directory / "log").read_bytes():
            assert program.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < end, f"sshd does not listen after {_BOUND} s"
            time.sleep(0.02)
        yield directory
    finally:
        program.terminate()
        program.wait(_BOUND)


def _environment(directory: Path, key: str) -> dict[str, str]:
    """Return the environment of a client whose ssh knows the key `key` and the host's, and no other configuration."""
    tools = directory / f"tools-{key}"
    tools.mkdir(exist_ok=True)
    (tools / "ssh").write_text(
        f"#!/bin/sh\nexec {shutil.which('ssh')} -F none -i {directory}/{key} -o IdentitiesOnly=yes -o BatchMode=yes "
        f'-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"\n'
    )
    (tools / "ssh").chmod(0o755)
    port = (directory / "port").read_text()
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(directory),
        "DOCKER_HOST": f"ssh://root@{_HOST}:{port}",
    }


def _on_the_other_side(directory: Path, client: str) -> None:
    (directory / "bin").mkdir(exist_ok=True)
    (directory / "bin" / "docker").write_text(f'#!/bin/sh\nexec {" ".join(_CLIENTS[client])} "$@"\n')
    (directory / "bin" / "docker").chmod(0o755)


def _ask(
    client: str, line: list[str], environment: dict[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*_CLIENTS[client], *line],
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=_BOUND,
        check=False,
    )


@pytest.mark.parametrize("there", _CLIENTS)
@pytest.mark.parametrize("here", _CLIENTS)
def test_questions_and_streams_go_through(sshd: Path, here: str, there: str) -> None:
    _on_the_other_side(sshd, there)
    progress = [{"status": "one"}, {"status": "two"}]
    answers = {"/containers/json": (200, []), "/images/create": progress, "/info": (200, {"ID": "behind"})}

    with canned_engine(sshd / "engine.sock", answers):
        found = [
            _ask(here, line, _environment(sshd, "user"))
            for line in (["ps", "-q"], ["info", "-f", "{{.ID}}"], ["pull", "-q", "x"], ["pull", "x"])
        ]
    (sshd / "engine.sock").unlink()

    assert [(done.returncode, done.stdout, done.stderr) for done in found] == [
        (0, b"", b""),
        (0, b"behind\n", b""),
        (0, b"docker.io/library/x:latest\n", b""),
        (0, b"Using default tag: latest\none\ntwo\ndocker.io/library/x:latest\n", b""),
    ]


def test_who_is_not_let_in_is_told_as_docker_tells_it(sshd: Path) -> None:
    real, ours = (_ask(client, ["ps"], _environment(sshd, "other")) for client in _CLIENTS)

    assert b"Permission denied (publickey)" in ours.stderr
    assert (ours.returncode, ours.stdout, ours.stderr) == (real.returncode, real.stdout, real.stderr)


def test_no_engine_on_the_other_side(sshd: Path) -> None:
    _on_the_other_side(sshd, "docker")

    real, ours = (_ask(client, ["ps"], _environment(sshd, "user")) for client in _CLIENTS)

    assert b"Cannot connect to the Docker daemon" in ours.stderr
    assert (ours.returncode, ours.stdout, ours.stderr) == (real.returncode, real.stdout, real.stderr)
