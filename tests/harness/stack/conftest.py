"""One upstream stack for the tests of a module that only look at it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def upstream() -> Iterator[PrivateStack]:
    stack = PrivateStack.start("upstream", directory=None, options=StackOptions())
    yield stack
    assert stack.close() == []


@pytest.fixture(scope="module")
def busybox(upstream: PrivateStack) -> str:
    """An image with busybox in it, imported into the module's stack; skips without a static busybox."""
    program = Path("/bin/busybox")
    if not program.exists():
        pytest.skip("needs /bin/busybox (apt-get install busybox-static)")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(program, "bin/busybox")
    with engine_client(upstream.engine, 30) as client:
        answer = client.post("/images/create?fromSrc=-&repo=busybox", content=archive.getvalue())
    assert answer.status_code == 200, answer.text
    return "busybox"
