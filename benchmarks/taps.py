"""What the taps cost: `python -m benchmarks.taps`.

create, start, wait and remove of hello-world with NetworkMode none on two stacks of the same programs in turn: with taps
on all hops, and without those on the inner ones (containerd, shim, runtime). Prints minimum, median and maximum of each step
and the ratio of the medians. Then what the tap on the runtime hop adds to one call: a program that does nothing, started as
`runc create` with a bundle, directly and through the tap in turn.

The exit status is 1 when the whole takes more than 1.25 times as long with taps on `upstream`, or a call 10 ms longer. Needs
root.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.run_path import STEPS, WARM_UP, cycle, furnished, timed_cycle

from sixhops.harness.errors import SixhopsError, UsageError
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack
from sixhops.harness.tap.exec.tap import ExecTap
from sixhops.harness.tap.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping

# What all taps together may cost on real Docker.
PROMISE = 1.25
# Seconds that the tap on the runtime hop may add to a call, and how often that is measured.
CALL_PROMISE = 0.010
CALLS = 300

TITLES = {False: "outer taps", True: "all taps"}


def measure(stack: str, cycles: int) -> tuple[dict[bool, dict[str, list[float]]], list[str]]:
    """Return seconds by whether the inner hops were tapped and by step, and what the stacks left behind."""
    stacks: dict[bool, PrivateStack] = {}
    times: dict[bool, dict[str, list[float]]] = {
        inner: {step: [] for step in (*STEPS, "total")} for inner in TITLES
    }
    left: list[str] = []
    try:
        engines = {}
        for inner in TITLES:
            options = StackOptions(debug=False, inner_taps=inner)
            stacks[inner] = opened = PrivateStack.start(stack, directory=None, options=options)
            assert opened.registry is not None
            engines[inner] = furnished(opened.registry.direct, opened.sandbox.directory)
            for _ in range(WARM_UP):
                list(cycle(engines[inner], stack))
        for number in range(cycles):
            for inner in (False, True) if number % 2 == 0 else (True, False):
                timed_cycle(engines[inner], stack, times[inner])
                stacks[inner].recorder.forget(stacks[inner].recorder.mark())
        for engine in engines.values():
            engine.close()
    finally:
        for opened in stacks.values():
            left += opened.close()
    return times, left


def show(times: Mapping[bool, Mapping[str, list[float]]]) -> float:
    """Print the table; return the ratio of the totals' medians."""
    steps = (*STEPS, "total")
    print(f"{'ms (min/median/max)':<20}" + "".join(f"{step:>24}" for step in steps))
    for inner, title in TITLES.items():
        cells = []
        for step in steps:
            each = [1000 * seconds for seconds in times[inner][step]]
            cells.append(f"{min(each):7.1f}/{statistics.median(each):7.1f}/{max(each):7.1f}")
        print(f"{title:<20}" + "".join(f"{cell:>24}" for cell in cells))
    ratios = [statistics.median(times[True][step]) / statistics.median(times[False][step]) for step in steps]
    print(f"{'ratio of medians':<20}" + "".join(f"{each:>24.2f}" for each in ratios))
    return ratios[-1]


def measure_calls(count: int) -> tuple[list[float], list[float]]:
    """Return the seconds that `count` calls take each: of the program itself, and through the tap."""
    times: tuple[list[float], list[float]] = [], []
    with tempfile.TemporaryDirectory(prefix="taps-") as name:
        home = Path(name)
        (home / "bin/real").mkdir(parents=True)
        (home / "bin/real/runc").symlink_to(shutil.which("true") or "/bin/true")
        bundle = home / "bundle"
        bundle.mkdir()
        # As long as Docker's.
        document = {
            "ociVersion": "1.0.2",
            "process": {"args": ["/hello"]},
            "mounts": [{"destination": "/proc"}] * 200,
        }
        (bundle / "config.json").write_text(json.dumps(document))
        recorder = Recorder()
        tap = ExecTap(home, recorder, root=lambda: Path("/"), containerd_ttrpc=home / "none")
        tap.install(home / "bin", {"shim": [], "runc": ["runc"]})
        tap.start()
        words = ["--root", "/r", "--log", str(bundle / "log.json"), "create", "--bundle", str(bundle), "c"]
        try:
            for _ in range(count):
                for each, program in zip(times, ("bin/real/runc", "bin/runc"), strict=True):
                    started = time.perf_counter()
                    subprocess.run([home / program, *words], check=True)
                    each.append(time.perf_counter() - started)
                recorder.forget(recorder.mark())
        finally:
            tap.close()
    return times


def judge_calls() -> bool:
    """Measure and print what a call costs; say whether the promise is kept."""
    direct, tapped = (1000 * statistics.median(each) for each in measure_calls(CALLS))
    added = tapped - direct
    kept = added <= 1000 * CALL_PROMISE
    print(
        f"a call of the runtime: {direct:.2f} ms directly, {tapped:.2f} ms through the tap (medians of {CALLS})"
    )
    print(
        f"the tap adds {added:.2f} ms, {'within' if kept else 'ABOVE'} the promised {1000 * CALL_PROMISE:g}"
    )
    return kept


def main() -> int:
    """Measure and print; 1 when the promise is not kept or something was left behind, 4 when a stack can't start."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.taps", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--stack", default="upstream", help="the programs (default: upstream)")
    parser.add_argument("--cycles", type=int, default=50, help="timed cycles on each (default: 50)")
    options = parser.parse_args()
    if options.cycles < 1:
        parser.error("--cycles is at least 1")
    try:
        times, left = measure(options.stack, options.cycles)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 4
    except SixhopsError as error:
        print(error, file=sys.stderr)
        return 1
    ratio = show(times)
    for line in left:
        print(f"left behind: {line}", file=sys.stderr)
    kept = judge_calls() and not left
    if options.stack == "upstream":
        within = ratio <= PROMISE
        kept = kept and within
        print(
            f"all taps: {ratio:.2f} x the time without, {'within' if within else 'ABOVE'} the promised {PROMISE}"
        )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
