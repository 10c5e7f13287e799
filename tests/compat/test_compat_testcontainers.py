"""testcontainers (PyPI) against the reference engine: a container with a wait for its log, exec, files and clean-up."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Stack

core = pytest.importorskip(
    "testcontainers.core.container",
    reason="needs the package testcontainers (pip install 'testcontainers>=4.9,<5')",
)
# the packages below leave the sockets of streams that they have read to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)


@pytest.fixture
def environment(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from testcontainers.core.config import testcontainers_config

    monkeypatch.setenv("DOCKER_HOST", stack.engine)
    # its reaper is an image of its own; here the stack is taken down with all that is in it
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    yield
    gc.collect()


def test_container_is_awaited_used_and_removed(environment: None) -> None:
    from testcontainers.core.waiting_utils import wait_for_logs

    script = "echo ready; exec sleep 1000"
    with core.DockerContainer("busybox").with_command(["sh", "-c", script]).with_env("A", "b") as container:
        wait_for_logs(container, "ready", timeout=20)
        assert container.exec(["sh", "-c", "echo $A; exit 3"]) == (3, b"b\n")
        assert container.get_logs()[0] == b"ready\n"
        wrapped: Any = container.get_wrapped_container()
        labels = wrapped.labels
        assert labels["org.testcontainers.lang"] == "python"
        client: Any = container.get_docker_client().client
        name = wrapped.name

    assert name not in {found.name for found in client.containers.list(all=True)}
    client.close()
