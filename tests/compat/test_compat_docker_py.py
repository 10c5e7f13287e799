"""The `docker` package (PyPI) against the reference engine."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Stack

docker = pytest.importorskip("docker", reason="needs the package docker (pip install 'docker>=7,<8')")
# the package leaves the sockets of streams that it has read to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(stack: Stack) -> Iterator[Any]:
    found = docker.DockerClient(base_url=stack.engine, timeout=30)
    yield found
    found.close()
    # here, where it is known to happen, and not in the middle of another test
    gc.collect()


def test_hello_world(client: Any) -> None:
    assert b"Hello from Docker!" in client.containers.run("hello-world", remove=True)


def test_exec_logs_and_stats(client: Any) -> None:
    container = client.containers.run("busybox", ["sh", "-c", "echo one; exec sleep 1000"], detach=True)
    try:
        assert next(iter(container.logs(stream=True, follow=True))) == b"one\n"
        code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
        assert (code, output) == (4, (b"out\n", b"err\n"))
        assert container.stats(stream=False)["pids_stats"]["current"] == 1
        assert container.diff() is None
        container.update(cpu_shares=512)
        container.reload()
        assert container.attrs["HostConfig"]["CpuShares"] == 512
        pieces, facts = container.get_archive("/etc/passwd")
        assert facts["name"] == "passwd"
        assert b"root:" in b"".join(pieces)
    finally:
        container.remove(force=True)
