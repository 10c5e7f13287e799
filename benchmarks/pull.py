"""A cold pull of a large image on two stacks, in turn: `python -m benchmarks.pull`.

- an image of 300 MiB in eight layers, each of files that can't be compressed, in each stack's own registry on the loopback
- before every pull the image is removed and the kernel told to write what is dirty, so that neither pays for the other
- what is timed is POST /images/create from its first byte to its last: minimum, median and maximum, and the ratio of medians

Needs root. Stacks are named as for --target; the first is what the second is compared with.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.run_path import Engine
from benchmarks.sides import in_turn, with_sides

from sixhops.harness.cache import cache_folder
from sixhops.harness.images import build, load_recipe, push
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.standing import StandingStack

#: The ratio of the medians that the reference stack promises.
PROMISE = 1.0

LAYERS = 8
FILES = 4


@dataclass
class Side:
    """One stack, a client of its engine, and how long its pulls took in seconds."""

    name: str
    stack: StandingStack
    engine: Engine
    times: list[float] = field(default_factory=list)

    def pull(self, image: str) -> float:
        """Pull an image that is not there; return how long it took."""
        begun = time.perf_counter()
        self.engine.ask("POST", f"/images/create?fromImage={image}&tag=latest")
        took = time.perf_counter() - begun
        self.engine.ask("GET", f"/images/{image}/json")  # leaves when the pull has failed
        self.engine.ask("DELETE", f"/images/{image}?force=1")
        os.sync()
        return took

    def close(self) -> list[str]:
        """Stop the stack; return what it left behind."""
        self.engine.close()
        return self.stack.close()


def write_recipe(directory: Path, mebibytes: int) -> Path:
    """Write the recipe of an image of so many MiB; return its path."""
    size = mebibytes * 1024 // LAYERS // FILES
    lines = ["layers:"]
    for layer in range(LAYERS):
        for number in range(FILES):
            head = "  - - " if number == 0 else "    - "
            seed = layer * FILES + number + 1
            lines.append(f"{head}{{file: /data/{layer}-{number}, random: {{size: {size}KiB, seed: {seed}}}}}")
    lines.append("config: {Cmd: [/none]}")
    path = directory / "large.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def open_side(name: str, recipe: Path) -> Side:
    """Start stack `name` with the image in its registry."""
    stack = StandingStack.start(name, options=StackOptions(debug=False))
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        push(build(load_recipe(recipe), cache_folder()), stack.registry)
        print(f"{name}: engine {stack.facts.engine_version}", flush=True)
        return Side(name, stack, Engine(stack.directory / "engine.sock"))
    except BaseException:
        stack.abandon()
        raise


def main() -> int:
    """Measure and print; the exit status is 1 when a `reference` last stack is slower than promised."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pull", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--stacks", nargs="+", default=["upstream", "reference"], help="two stacks")
    parser.add_argument("--pulls", type=int, default=5, help="timed pulls on each stack (default: 5)")
    parser.add_argument("--size", type=int, default=300, help="the image's size in MiB (default: 300)")
    options = parser.parse_args()

    def work(sides: list[Side]) -> float:
        for side in sides:
            side.pull("large")  # warm: the registry's files are in memory now, for both
        for side in in_turn(sides, options.pulls):
            side.times.append(side.pull("large"))
        for side in sides:
            times = side.times
            print(
                f"{side.name:<10} {min(times):6.2f} / {statistics.median(times):6.2f} / {max(times):6.2f} s "
                f"({options.size / statistics.median(times):.0f} MiB/s)"
            )
        ratio = statistics.median(sides[-1].times) / statistics.median(sides[0].times)
        print(f"{sides[-1].name} at {ratio:.2f} x {sides[0].name} (minimum/median/maximum above)")
        return ratio

    with tempfile.TemporaryDirectory() as directory:
        recipe = write_recipe(Path(directory), options.size)
        ratio, status = with_sides(options.stacks, partial(open_side, recipe=recipe), work)
    return 1 if ratio is not None and options.stacks[-1] == "reference" and ratio > PROMISE else status


if __name__ == "__main__":
    sys.exit(main())
