"""Many containers, several at a time: `python -m benchmarks.many_containers`.

Creates, starts, waits for and removes so many containers of hello-world with so many clients at once, on each stack;
says how many went wrong and how many were done in a second. The exit status is 1 when one went wrong.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.run_path import Engine, cycle, open_side

from sixhops.harness.errors import SixhopsError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Clients:
    """One kept connection for each thread."""

    def __init__(self, socket: Path, stack: str) -> None:
        self._socket = socket
        self._stack = stack
        self._mine = threading.local()

    def run(self, _number: int) -> str:
        """Run one container; return what went wrong, "" for nothing."""
        if not hasattr(self._mine, "engine"):
            self._mine.engine = Engine(self._socket)
        try:
            list(cycle(self._mine.engine, self._stack))
        except (SystemExit, OSError) as error:
            del self._mine.engine
            return str(error)
        return ""


def measure(name: str, count: int, clients: int) -> list[str]:
    """Run `count` containers on stack `name`; print how long it took and return what went wrong."""
    side = open_side(name)
    try:
        one = Clients(side.stack.directory / "engine.sock", name)
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            problems = [problem for problem in pool.map(one.run, range(count)) if problem]
        took = time.perf_counter() - begun
    finally:
        side.engine.close()
        left = side.stack.close()
    print(
        f"{name}: {count} containers, {clients} at a time: {took:.1f} s, {count / took:.1f} a second, "
        f"{len(problems)} went wrong",
        flush=True,
    )
    return problems + left


def main() -> int:
    """Measure and print; the exit status is 1 when something went wrong, 4 when a stack can't be started."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_containers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--stacks", nargs="+", default=["upstream", "reference"])
    parser.add_argument("--containers", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--clients", type=int, default=8, help="how many at a time (default: 8)")
    options = parser.parse_args()
    if options.containers < 1 or options.clients < 1:
        parser.error("--containers and --clients are at least 1")
    problems: list[str] = []
    try:
        for name in options.stacks:
            problems += measure(name, options.containers, options.clients)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 4
    except SixhopsError as error:
        print(error, file=sys.stderr)
        return 1
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
