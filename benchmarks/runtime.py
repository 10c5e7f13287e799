"""What `run` of a static program costs on three runtimes: `python -m benchmarks.runtime`.

- as a process: `run` of a bundle whose program writes one line, by runc, crun (where installed) and sixhops-runc in turn,
  so that the machine's other work hits all alike: minimum and median of the time from the start to the end, and the most
  memory that the runtime's processes had at once (PSS in smaps_rollup: a page that several share counts once; looked at
  over and over while the runtime runs, in rounds of their own)
- forked from a loaded parent: the same by the functions of `sixhops.runc.api`, in a process forked from one that has them
  loaded, as the shim does it

Needs root. On a machine with both versions of control groups all of them see version 1 only, because crun refuses such a
machine. The exit status is 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from sixhops.harness.cache import cache_folder
from sixhops.harness.images import build, load_recipe, unpack_image
from sixhops.harness.plugin.folders import installed_root
from sixhops.linux.mounts import MNT_DETACH, MS_PRIVATE, MS_REC, mount, unmount
from sixhops.linux.namespaces import CLONE_NEWNS, unshare

#: How much longer than runc ours may take: as a process, and forked from a loaded parent.
PROCESS_LIMIT, FORKED_LIMIT = 4.0, 1.0
WARM_UP = 3
MEMORY_ROUNDS = 5

OURS = "sixhops-runc"
FORKED = "sixhops-runc, forked"

# What the parent of forked runs is: loaded and sealed before it is asked, one line a run on its standard input.
PARENT = """
import os, sys, time
from sixhops.runc import api
api.reexecute()
bundle, root = sys.argv[1:]

def run(name):
    container = api.create(api.CreateRequest(root=root, identifier=name, bundle=bundle))
    api.start(root, name)
    os.waitpid(container.pid, 0)
    api.delete(root, name, force=True)

for line in sys.stdin:
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            run(line.strip())
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    print(time.perf_counter() - started, status, flush=True)
"""


@dataclass
class Figures:
    """What was measured of one runtime: seconds of each run, most memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    memory: int = 0


def hide_unified() -> None:
    """Take the unified hierarchy out of a mount namespace of this process's own, if there is version 1 beside it."""
    unshare(CLONE_NEWNS)
    mount("", "/", flags=MS_PRIVATE | MS_REC)
    if Path("/sys/fs/cgroup/memory").exists() and Path("/sys/fs/cgroup/unified/cgroup.procs").exists():
        unmount("/sys/fs/cgroup/unified", MNT_DETACH)


def make_bundle(directory: Path) -> None:
    """Make a bundle of the image hello-world."""
    image = build(load_recipe(installed_root() / "images/hello-world.yaml"), cache_folder())
    rootfs = directory / "rootfs"
    rootfs.mkdir()
    unpack_image(image, rootfs)
    subprocess.run(["runc", "spec", "--bundle", str(directory)], check=True)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["process"] |= {"terminal": False, "args": ["/hello"]}
    path.write_text(json.dumps(config))


def run_process(program: str, bundle: Path, root: Path, name: str) -> float:
    """Run once; return the seconds."""
    line = [program, "--root", str(root), "run", "--bundle", str(bundle), name]
    started = time.perf_counter()
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode or b"ello" not in done.stdout:
        raise SystemExit(f"{program} failed ({done.returncode}): {done.stderr.decode(errors='replace')}")
    return seconds


def family(pid: int) -> list[int]:
    """Return a process and all below it that are still there."""
    found, asked = [], [pid]
    while asked:
        one = asked.pop()
        found.append(one)
        try:
            asked += [int(word) for word in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:
            continue
    return found


def memory_of(pids: list[int]) -> int:
    """Return the PSS of processes together, in bytes; those that have gone count nothing."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


def most_memory(program: str, bundle: Path, root: Path, name: str) -> int:
    """Run once; return the most memory that was seen of the runtime's processes, in bytes."""
    line = [program, "--root", str(root), "run", "--bundle", str(bundle), name]
    most = 0
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, memory_of(family(process.pid)))
    return most


def measure(rounds: int) -> dict[str, Figures]:
    """Return the figures of each runtime that is here."""
    programs = {name: shutil.which(name) for name in ("runc", "crun")}
    programs[OURS] = str(Path(sys.executable).with_name(OURS))
    figures = {name: Figures() for name, path in programs.items() if path} | {FORKED: Figures()}
    with tempfile.TemporaryDirectory(prefix="sixhops-bench-") as text:
        directory = Path(text)
        bundle, root = directory / "bundle", directory / "state"
        bundle.mkdir()
        root.mkdir()
        make_bundle(bundle)
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(bundle), str(root / "forked")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdin is not None
        assert parent.stdout is not None
        for number in range(rounds + WARM_UP):
            for name, path in programs.items():
                if path:
                    seconds = run_process(path, bundle, root / name, f"b{os.getpid()}-{number}")
                    figures[name].seconds.append(seconds)
            parent.stdin.write(f"f{os.getpid()}-{number}\n")
            parent.stdin.flush()
            answer, status = parent.stdout.readline().split()
            if int(status):
                raise SystemExit("a forked run failed")
            figures[FORKED].seconds.append(float(answer))
        parent.stdin.close()
        parent.wait()
        for name, path in programs.items():
            for number in range(MEMORY_ROUNDS if path else 0):
                memory = most_memory(str(path), bundle, root / name, f"m{os.getpid()}-{number}")
                figures[name].memory = max(figures[name].memory, memory)
    for one in figures.values():
        one.seconds = one.seconds[WARM_UP:]
    return figures


def main() -> int:
    """Measure, print a table, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runtime", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=30, help="runs to time of each runtime (default: 30)")
    options = parser.parse_args()
    hide_unified()
    figures = measure(options.rounds)
    base = statistics.median(figures["runc"].seconds)
    exceeded = False
    print(f"{'`run` of a static program':<28}{'minimum':>10}{'median':>10}{'of runc':>9}{'memory':>10}")
    for name, one in figures.items():
        median = statistics.median(one.seconds)
        limit = {OURS: PROCESS_LIMIT, FORKED: FORKED_LIMIT}.get(name)
        word = ""
        if limit is not None:
            word = f"  {'within' if median <= limit * base else 'ABOVE'} the limit of {limit}"
            exceeded = exceeded or median > limit * base
        memory = f"{one.memory / 2**20:.1f} MiB" if one.memory else "-"
        print(
            f"{name:<28}{min(one.seconds) * 1000:>7.1f} ms{median * 1000:>7.1f} ms{median / base:>9.2f}{memory:>10}{word}"
        )
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
