"""What `docker run hello-world` costs on two stacks: `python -m benchmarks.run_path`.

- create, start, wait and remove of hello-world with NetworkMode none, over the engine's unix socket, on both stacks in
  turn, so that the machine's other work hits both alike: minimum, median and maximum of each step and of the whole, and the
  ratio of the medians
- proportional memory (PSS in smaps_rollup, which counts a page that processes share once in all) of all daemons: idle, the
  most that was seen while containers came and went, and the growth per running container (daemons and shims; the container's
  own process does not count)

Needs root. Stacks are named as for --target; the first is what the second is compared with.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import socket
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.sides import in_turn, with_sides

from sixhops.harness.cache import cache_folder
from sixhops.harness.images import build, load_recipe, push
from sixhops.harness.plugin.folders import installed_root
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.standing import StandingStack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sixhops.harness.target import Address

STEPS = ("create", "start", "wait", "remove")

# The ratio of the totals that the reference stack promises (docs/stacks.md).
PROMISE = 0.25

# Not part of a container engine: the stack's own first process and its forwarder, and what the registry holds.
NOT_DAEMONS = {"sixhops-init", "sixhops-forward", "docker-registry"}

WARM_UP = 3
PEAK_CYCLES = 5


class Engine:
    """A client on one kept connection; it costs little, so that the engine's time is what is seen."""

    def __init__(self, path: Path) -> None:
        self._connection = http.client.HTTPConnection("engine", timeout=60)
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.settimeout(60)
        self._connection.sock.connect(str(path))

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the parsed body of the answer; leaves with the engine's message for a status above 304."""
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status > 304:
            raise SystemExit(
                f"{method} {path} answered {answer.status}: {data.decode(errors='replace').strip()}"
            )
        with contextlib.suppress(ValueError):
            return json.loads(data)
        return None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass
class Side:
    """One stack and what was measured on it; times in seconds, memory in bytes by the process's name."""

    name: str
    stack: StandingStack
    engine: Engine
    times: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in (*STEPS, "total")})
    idle: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    running: Counter[str] = field(default_factory=Counter)
    per_container: int = 0

    def cycle(self) -> Iterator[str]:
        """Do the four steps; yield the name of each when it is done."""
        return cycle(self.engine, self.name)

    def timed_cycle(self) -> None:
        """Do the four steps and note how long each took."""
        timed_cycle(self.engine, self.name, self.times)

    def close(self) -> list[str]:
        """Stop the stack; return what it left behind."""
        self.engine.close()
        return self.stack.close()


def cycle(engine: Engine, stack: str) -> Iterator[str]:
    """Create, start, wait for and remove hello-world; yield the name of each step when it is done."""
    body = {"Image": "hello-world", "HostConfig": {"NetworkMode": "none"}}
    name = engine.ask("POST", "/containers/create", body)["Id"]
    yield "create"
    engine.ask("POST", f"/containers/{name}/start")
    yield "start"
    status = engine.ask("POST", f"/containers/{name}/wait")["StatusCode"]
    yield "wait"
    engine.ask("DELETE", f"/containers/{name}")
    if status != 0:
        raise SystemExit(f"{stack}: hello-world ended with status {status}")
    yield "remove"


def timed_cycle(engine: Engine, stack: str, times: dict[str, list[float]]) -> None:
    """Do the four steps and add to `times` how long each took, in seconds."""
    begun = last = time.perf_counter()
    for step in cycle(engine, stack):
        now = time.perf_counter()
        times[step].append(now - last)
        last = now
    times["total"].append(last - begun)


def open_side(name: str) -> Side:
    """Start stack `name` with hello-world and busybox in its image store."""
    stack = StandingStack.start(name, options=StackOptions(debug=False))
    try:
        engine = furnished(stack.registry, stack.directory)
    except BaseException:
        stack.abandon()
        raise
    print(f"{name}: engine {stack.facts.engine_version}", flush=True)
    return Side(name, stack, engine)


def furnished(registry: Address, directory: Path) -> Engine:
    """Put hello-world and busybox into a stack's registry and engine; return a client of the engine."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    for image in ("hello-world", "busybox"):
        push(build(load_recipe(installed_root() / "images" / f"{image}.yaml"), cache_folder()), registry)
    engine = Engine(directory / "engine.sock")
    for image in ("hello-world", "busybox"):
        engine.ask("POST", f"/images/create?fromImage={image}&tag=latest")
    return engine


def memory_of(stack: StandingStack) -> Counter[str]:
    """Return the proportional set size in bytes of the stack's daemons, by name.

    Containers are in pid namespaces of their own, so what is in the stack's own is daemons and shims.
    """
    wanted = Path(f"/proc/{stack.init}/ns/pid").readlink()
    found: Counter[str] = Counter()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if (entry / "ns/pid").readlink() != wanted:
                continue
            name = (entry / "comm").read_text().strip()
            rollup = (entry / "smaps_rollup").read_text()
            if name not in NOT_DAEMONS:
                found[name] += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return found


def measure_memory(side: Side, containers: int) -> None:
    """Fill in the peak over some cycles, and the memory with `containers` containers running."""
    for _ in range(PEAK_CYCLES):
        for _step in side.cycle():
            seen = memory_of(side.stack)
            side.peak = max(side.peak, seen, key=lambda sizes: sizes.total())
    names = []
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
    for _ in range(containers):
        name = side.engine.ask("POST", "/containers/create", body)["Id"]
        side.engine.ask("POST", f"/containers/{name}/start")
        names.append(name)
    before = side.idle.total()
    side.running = memory_of(side.stack)
    side.peak = max(side.peak, side.running, key=lambda sizes: sizes.total())
    side.per_container = (side.running.total() - before) // containers
    for name in names:
        side.engine.ask("DELETE", f"/containers/{name}?force=1")


def show(sides: Sequence[Side], containers: int) -> float:
    """Print both tables; return the ratio of the totals' medians, the last side's to the first's."""
    first = sides[0]
    width = max(len(side.name) for side in sides)
    print(f"\n{'ms':<{width}}  " + "".join(f"{step:>24}" for step in (*STEPS, "total")))
    for side in sides:
        cells = []
        for step in (*STEPS, "total"):
            times = [1000 * seconds for seconds in side.times[step]]
            cells.append(f"{min(times):7.1f}/{statistics.median(times):7.1f}/{max(times):7.1f}")
        print(f"{side.name:<{width}}  " + "".join(f"{cell:>24}" for cell in cells))
    ratio = 1.0
    for side in sides[1:]:
        ratios = [
            statistics.median(side.times[step]) / statistics.median(first.times[step])
            for step in (*STEPS, "total")
        ]
        ratio = ratios[-1]
        print(
            f"{'ratio of medians':<{width}}  "
            + "".join(f"{each:>24.2f}" for each in ratios)
            + f"  {side.name}"
        )
    print("(minimum/median/maximum)\n")
    for side in sides:
        print(f"{side.name}: PSS in MiB")
        for title, sizes in (("idle", side.idle), ("peak", side.peak), ("running", side.running)):
            parts = ", ".join(f"{name} {size / 2**20:.1f}" for name, size in sizes.most_common())
            print(f"  {title:<8}{sizes.total() / 2**20:7.1f}  ({parts})")
        print(f"  {side.per_container / 2**20:.1f} per running container ({containers} were running)")
    return ratio


def main() -> int:
    """Measure and print; the exit status is 1 when a `reference` last stack is slower than promised, 4 when a
    stack can't be started.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run_path", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--stacks",
        nargs="+",
        default=["upstream", "reference"],
        help="two stacks (default: upstream reference); `upstream,reference` is understood as well",
    )
    parser.add_argument("--cycles", type=int, default=50, help="timed cycles on each stack (default: 50)")
    parser.add_argument(
        "--containers", type=int, default=10, help="running at once, for memory (default: 10)"
    )
    options = parser.parse_args()
    if options.cycles < 1 or options.containers < 1:
        parser.error("--cycles and --containers are at least 1")
    names = options.stacks
    if len(names) == 1 and set(names[0].split(",")) <= {"upstream", "reference"}:
        names = names[0].split(",")

    def work(sides: list[Side]) -> float:
        for side in sides:
            side.idle = memory_of(side.stack)
            for _ in range(WARM_UP):
                list(side.cycle())
        for side in in_turn(sides, options.cycles):
            side.timed_cycle()
        for side in sides:
            measure_memory(side, options.containers)
        return show(sides, options.containers)

    ratio, status = with_sides(names, open_side, work)
    if ratio is None or status:
        return status
    if names[-1] == "reference" and len(names) > 1:
        kept = ratio <= PROMISE
        print(f"\ntotal at {ratio:.2f} x {names[0]}: {'within' if kept else 'ABOVE'} the promised {PROMISE}")
        return 0 if kept else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
