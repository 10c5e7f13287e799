"""The proxy that the tests of the HTTP tap share."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tapped_http import Handler, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def proxy() -> Iterator[Callable[[Handler], Proxy]]:
    with ExitStack() as stack:
        yield lambda handler: Proxy(stack, handler)
