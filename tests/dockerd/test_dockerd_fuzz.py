"""A bounded part of `benchmarks.engine_fuzz`: mutants of valid requests to real dockerd and the reference, side by side."""

from __future__ import annotations

import contextlib
import os
import random
import shutil

import pytest
from benchmarks.engine_fuzz.compare import compare
from benchmarks.engine_fuzz.corpus import REQUESTS
from benchmarks.engine_fuzz.mutate import mutate
from benchmarks.engine_fuzz.stacks import engine_of

#: So many of each kind: seconds, where the command takes minutes.
COUNT = 12


def test_mutants_follow_from_the_seed() -> None:
    def mutants(seed: int) -> list[bytes]:
        chance = random.Random(seed)
        return [mutate(request, chance).data for request in REQUESTS]

    assert mutants(1) == mutants(1)
    assert mutants(1) != mutants(2)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and real Docker (make upstream)"
)
def test_reference_breaks_nowhere_where_upstream_does_not() -> None:
    broken: dict[str, list[str]] = {}
    left: list[str] = []
    with contextlib.ExitStack() as stack:
        upstream, reference = (stack.enter_context(engine_of(name)) for name in ("upstream", "reference"))
        for kind in ("value", "query", "raw", "path"):
            outcome = compare(upstream, reference, count=COUNT, seed=1, kind=kind)
            broken |= outcome.broken
            left += outcome.left

    # what the reference refuses as not implemented it says so of; that is no break
    assert {key: found for key, found in broken.items() if "| reference 501" not in key} == {}
    assert left == []
