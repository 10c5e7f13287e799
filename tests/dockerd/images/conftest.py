"""What the tests of images share: the process that unpacks layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sixhops.linux import forkserver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def forks() -> Iterator[forkserver.ForkServer]:
    """A fork server as dockerd has it; a program of its own, since whoever runs tests has threads (of other tests, too)."""
    server = forkserver.spawn(["sixhops.dockerd.images.unpacking.unpack"], "unpacker")
    yield server
    server.close()
