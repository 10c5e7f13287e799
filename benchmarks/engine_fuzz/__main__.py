"""`python -m benchmarks.engine_fuzz`: mutants of valid requests to upstream and to the reference side by side.

Starts both stacks, sends COUNT mutants, and tells where the reference's answer differs from upstream's. The exit status is 1
when the reference breaks: a 500 where upstream gives none, no answer where upstream gives one, a daemon that has ended,
or something that is left behind or
leaks (descriptors, tasks, memory of the daemon; processes, mounts, interfaces, control groups).
`--differences` also counts other differences of the status.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.engine_fuzz.compare import Outcome, compare
from benchmarks.engine_fuzz.engine import Engine
from benchmarks.engine_fuzz.stacks import engine_of

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many examples of one difference are shown.
_SHOWN = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds",
        type=float,
        default=float("inf"),
        help="stop after so long, with what was sent until then",
    )
    parser.add_argument(
        "--only", default="", help="only operations in which this text is, such as /containers/create"
    )
    parser.add_argument(
        "--kind", default=None, help="only this kind of change: value, member, query, path, raw, framing"
    )
    parser.add_argument("--messages", action="store_true", help="compare the messages of errors as well")
    parser.add_argument(
        "--differences", action="store_true", help="fail for every difference, not only for what breaks"
    )
    parser.add_argument(
        "--sockets", nargs=2, metavar=("UPSTREAM", "REFERENCE"), help="of engines that run already"
    )
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        if options.sockets:
            upstream, reference = (Engine(Path(path)) for path in options.sockets)
        else:
            upstream, reference = (stack.enter_context(engine_of(name)) for name in ("upstream", "reference"))
        began = time.monotonic()
        outcome = compare(
            upstream,
            reference,
            count=options.count,
            seed=options.seed,
            seconds=options.seconds,
            only=options.only,
            kind=options.kind,
            messages=options.messages,
        )
        _report(outcome, time.monotonic() - began)
    return int(bool(outcome.broken or outcome.left or (options.differences and outcome.differences)))


def _report(outcome: Outcome, seconds: float) -> None:
    for title, found in (
        ("broken", outcome.broken),
        ("different", outcome.differences),
        ("unanswered by upstream", outcome.unanswered),
    ):
        for key, examples in sorted(found.items(), key=lambda item: (item[0], -len(item[1]))):
            print(f"{title}: {len(examples)} x {key}")
            for example in examples[:_SHOWN]:
                print(f"    {example}")
    for line in outcome.used:
        print(f"used: {line}")
    for line in outcome.left:
        print(f"left: {line}")
    print(
        f"{outcome.count} mutants in {seconds:.0f} s: the same status {outcome.same}, "
        f"broken {sum(map(len, outcome.broken.values()))}, different {sum(map(len, outcome.differences.values()))}, "
        f"unanswered by upstream {sum(map(len, outcome.unanswered.values()))}, "
        f"left behind {len(outcome.left)}"
    )


sys.exit(main())
