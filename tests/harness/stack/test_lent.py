"""A registry lent to an engine that runs already: which port it would look at, and the registry that is put there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from stack_needs import NEEDS_ROOT, await_end

from sixhops.harness.errors import UsageError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.lent import LentRegistry, chosen_port, listen_beside, mirror_port
from sixhops.harness.tap.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("mirrors", "port"),
    [
        (["http://127.0.0.1:5000/"], 5000),
        (["https://mirror.example/", "http://localhost:81"], 81),
        (["http://127.0.0.1/"], 80),
        (["https://127.0.0.1:5000/"], None),
        (["http://127.0.0.1:5000/below/"], None),
        (["http://10.0.0.1:5000/"], None),
        ([], None),
        (None, None),
    ],
)
def test_the_port_that_an_engine_takes_for_a_mirror(mirrors: list[str] | None, port: int | None) -> None:
    assert mirror_port({"RegistryConfig": {"Mirrors": mirrors}}) == port  # type: ignore[dict-item]


def test_an_answer_without_settings_of_registries() -> None:
    assert mirror_port({"RegistryConfig": None}) is None
    assert mirror_port({}) is None


def test_what_is_lent_is_recorded_and_ends(tmp_path: Path) -> None:
    recorder = Recorder()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    registry = LentRegistry.start(tmp_path / "registry")
    try:
        registry.serve(listener, recorder)
        access = registry.access(port)
        answer = httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False)
        process = registry._process
        assert process is not None
    finally:
        registry.close()
        registry.close()

    assert answer.status_code == 200
    assert (access.prefix, access.mirrored) == (f"127.0.0.1:{port}", True)
    assert [message.summary for message in recorder.since(0) if message.hop is Hop.REGISTRY] == [
        "GET /v2/ -> 200"
    ]
    await_end(process.pid)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False)
    assert access.storage == tmp_path / "registry/storage"


def test_the_port_that_the_user_says() -> None:
    assert chosen_port({}) is None
    assert chosen_port({"SIXHOPS_MIRROR": "5000"}) == 5000
    for wrong in ("0", "65536", "x", "-1"):
        with pytest.raises(UsageError, match=f"SIXHOPS_MIRROR={wrong}: not a port"):
            chosen_port({"SIXHOPS_MIRROR": wrong})


def test_a_socket_beside_a_process_of_our_network() -> None:
    with listen_beside(os.getpid(), 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
        with pytest.raises(OSError, match="in use"):
            listen_beside(os.getpid(), port)


@NEEDS_ROOT
def test_a_socket_beside_a_process_of_another_network() -> None:
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with listen_beside(other.pid, 0) as listener:
            port = listener.getsockname()[1]
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", port), timeout=20)
            probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=20)"
            inside = ["nsenter", f"--target={other.pid}", "--net", sys.executable, "-c", probe]
            assert subprocess.run(inside, check=False, timeout=30).returncode == 0
        other.communicate(timeout=10)
