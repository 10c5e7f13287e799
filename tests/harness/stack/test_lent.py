"""A registry lent to an engine that runs already: which port it would look at, and the registry that is put there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest
from stack_needs import await_end

from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.lent import LentRegistry, mirror_port
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
