"""One upstream stack for the tests of a module that only look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def upstream() -> Iterator[PrivateStack]:
    stack = PrivateStack.start("upstream", directory=None, options=StackOptions())
    yield stack
    assert stack.close() == []
