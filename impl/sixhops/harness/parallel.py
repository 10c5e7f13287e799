"""Work on many things in as many processes as there are processors: `each`."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["each"]

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 8


def each(work: Callable[[T], R], things: Sequence[T], *, worth: bool) -> Iterator[R]:
    """Yield what `work` returns for each thing, in their order; `worth` says whether processes are worth their start.

    `work`, the things and what is returned must be picklable, and exceptions of `work` as well, which are raised here.
    """
    processes = min(os.cpu_count() or 1, len(things))
    if processes < 2 or not worth:
        yield from map(work, things)
        return
    # Forked processes would inherit locks of threads, which a pytest run with workers has.
    with ProcessPoolExecutor(processes, get_context("forkserver")) as pool:
        yield from pool.map(work, things, chunksize=_AT_ONCE)
