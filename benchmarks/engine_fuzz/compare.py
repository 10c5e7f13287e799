"""The comparison: each mutant to both engines, the answers side by side."""

from __future__ import annotations

import concurrent.futures
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.engine_fuzz.corpus import REQUESTS
from benchmarks.engine_fuzz.mutate import mutate

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.engine_fuzz.engine import Answer, Engine
    from benchmarks.engine_fuzz.mutate import Mutant

__all__ = ["Outcome", "compare"]

_HEX = re.compile(r"(?<=/sixhops/)[0-9a-f]{8}(?=/)|[0-9a-f]{12,}")
_SERVER_ERROR = 500
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Outcome:
    """What came of it: differences by operation and the two answers, each with its examples.

    `unanswered`: what upstream has no answer to, as it panics or waits, while the reference has one. `used`: what each
    engine used before and after, in words.
    """

    count: int = 0
    same: int = 0
    broken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    differences: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unanswered: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)


def compare(
    upstream: Engine,
    reference: Engine,
    *,
    count: int,
    seed: int,
    seconds: float = float("inf"),
    only: str = "",
    kind: str | None = None,
    messages: bool = False,
) -> Outcome:
    """Send `count` mutants of the requests whose operation has `only` in it to both; same `seed`, same mutants.

    After `seconds` no more are sent.
    """
    deadline = time.monotonic() + seconds
    chance = random.Random(seed)
    requests = [request for request in REQUESTS if only in request.operation]
    outcome = Outcome()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:

        def both(action: Callable[[Engine], object]) -> list[object]:
            return list(pool.map(action, (upstream, reference)))

        both(lambda engine: engine.prepare())
        before = [engine.usage() for engine in (upstream, reference)]
        for _ in range(count):
            if time.monotonic() >= deadline:
                break
            mutant = mutate(chance.choice(requests), chance, kind)
            first, second = pool.map(
                lambda engine, mutant=mutant: engine.exchange(mutant.data, mutant.method),
                (upstream, reference),
            )
            outcome.count += 1
            _note(outcome, mutant, first, second, messages=messages)
            if mutant.method not in _HARMLESS and not (_refused(first) and _refused(second)):
                both(lambda engine: engine.restore())
        both(lambda engine: engine.restore())
        for engine, name, earlier in (
            (upstream, "upstream", before[0]),
            (reference, "reference", before[1]),
        ):
            after, lines = engine.grown(earlier)
            outcome.used += [f"{name}: {earlier.shown()}", f"{name}: {after.shown()}"]
            # what upstream leaks is its own affair, and shown beside
            (outcome.used if name == "upstream" else outcome.left).extend(f"{name}: {line}" for line in lines)
            outcome.left += [f"{name}: {line}" for line in engine.remove()]
    return outcome


def _refused(answer: Answer) -> bool:
    return 400 <= answer.status < _SERVER_ERROR


def _note(outcome: Outcome, mutant: Mutant, first: Answer, second: Answer, *, messages: bool) -> None:
    same_text = _plain(first.message) == _plain(second.message) and first.kind == second.kind
    if first.status == second.status and (same_text or not messages):
        outcome.same += 1
        return
    key = f"{mutant.operation}: upstream {_shown(first)} | reference {_shown(second)}"
    broken = second.status <= 0 < first.status or second.status >= _SERVER_ERROR > first.status > 0
    if broken:
        outcome.broken[key].append(mutant.change)
    elif first.status <= 0:
        outcome.unanswered[key].append(mutant.change)
    else:
        outcome.differences[key].append(mutant.change)


def _plain(text: str) -> str:
    return _HEX.sub("ID", text)


def _shown(answer: Answer) -> str:
    kind = "" if answer.kind in {"application/json", ""} else f" ({answer.kind})"
    return f"{answer.status}{kind} {_plain(answer.message)[:160]!r}"
