"""Many containers, several at a time: `python -m benchmarks.many_containers`.

Creates, starts, waits for and removes so many containers of hello-world with so many clients at once, on each stack;
says how many went wrong and how many were done in a second. The exit status is 1 when one went wrong.

With `--running N` instead: N containers of busybox that sleep, one after the other and all running at once; how long
create and start take by how many run already, and the proportional memory of the daemons on the way and when all are
removed again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.run_path import Engine, cycle, memory_of, open_side
from benchmarks.tasks import quarters

from sixhops.harness.errors import SixhopsError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.run_path import Side


WARM_UP = 3
PARTS = 4
SLEEPER = {"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "none"}}


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


def hold(name: str, count: int) -> list[str]:
    """Have `count` containers running at once on stack `name`; print times and memory, return what went wrong."""
    side = open_side(name)
    problems: list[str] = []
    try:
        for _ in range(WARM_UP):
            list(side.cycle())
        show_memory(side, 0)
        names: list[str] = []
        times: list[float] = []
        for _ in range(count):
            begun = time.perf_counter()
            names.append(side.engine.ask("POST", "/containers/create", SLEEPER)["Id"])
            side.engine.ask("POST", f"/containers/{names[-1]}/start")
            times.append(time.perf_counter() - begun)
            if len(names) * PARTS % count < PARTS:
                show_memory(side, len(names))
        parts = quarters(times)
        print(
            "  create and start, median of each quarter in ms: "
            + " ".join(f"{1000 * part:.1f}" for part in parts)
            + f"   last to first {parts[-1] / parts[0]:.2f}   median {1000 * statistics.median(times):.1f}"
        )
        for each in names:
            side.engine.ask("DELETE", f"/containers/{each}?force=1")
        show_memory(side, 0)
    except (SystemExit, OSError) as error:
        problems.append(str(error))
    finally:
        side.engine.close()
        left = side.stack.close()
    return problems + left


def show_memory(side: Side, running: int) -> None:
    """Print the daemons' proportional memory with so many containers running."""
    sizes = memory_of(side.stack)
    parts = ", ".join(f"{program} {size / 2**20:.1f}" for program, size in sizes.most_common())
    print(f"  {running:4} running: {sizes.total() / 2**20:7.1f} MiB  ({parts})", flush=True)


def main() -> int:
    """Measure and print; the exit status is 1 when something went wrong, 4 when a stack can't be started."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_containers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--stacks", nargs="+", default=["upstream", "reference"])
    parser.add_argument("--containers", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--clients", type=int, default=8, help="how many at a time (default: 8)")
    parser.add_argument("--running", type=int, help="so many that run at once, in place of the above")
    options = parser.parse_args()
    if options.containers < 1 or options.clients < 1:
        parser.error("--containers and --clients are at least 1")
    if options.running is not None and options.running < PARTS:
        parser.error(f"--running is at least {PARTS}")
    problems: list[str] = []
    try:
        for name in options.stacks:
            if options.running:
                problems += hold(name, options.running)
            else:
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
