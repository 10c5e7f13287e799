"""The script of the mixed stacks: all are run, so many at once, and one that fails is told. A script stands for pytest."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "ci" / "mixes.sh"
#: Each run notes when it begins and ends, and does `then` in between.
RUN = """#!/bin/bash
cd {folder}
while [ "$1" != --target ]; do shift; done
echo "begin $2" >> order
echo "said by $2: ${{*:3}}"
{then}
echo "end $2" >> order
"""


def start(folder: Path, then: str, *words: str, workers: int = 2) -> subprocess.Popen[str]:
    program = folder / "python"
    program.write_text(RUN.format(folder=folder, then=then))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return subprocess.Popen(
        [SCRIPT, *words],
        env={**os.environ, "PYTHON": str(program), "WORKERS": str(workers)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def order(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "order").read_text().splitlines()
    return [(line.split()[0], line.split()[1]) for line in lines]


def test_all_stacks_are_run_and_no_more_at_once_than_workers(tmp_path: Path) -> None:
    process = start(tmp_path, "", "--x")
    said, _ = process.communicate(timeout=60)

    targets = [target for what, target in order(tmp_path) if what == "begin"]
    assert (process.returncode, len(targets), len(set(targets))) == (0, 12, 12)
    assert set(targets) == {target for what, target in order(tmp_path) if what == "end"}
    at_once = [0]
    for what, _ in order(tmp_path):
        at_once.append(at_once[-1] + (1 if what == "begin" else -1))
    assert max(at_once) <= 2
    for target in targets:
        assert f"\nsaid by {target}: -m walkthrough" in said
    assert said.count(" --x\n") == said.count(" took ") == 12


def test_as_many_as_there_are_workers_run_side_by_side(tmp_path: Path) -> None:
    both = "while [ $(grep -c begin order) -lt 2 ]; do sleep 0.05; done"

    process = start(tmp_path, both)
    process.communicate(timeout=60)

    assert process.returncode == 0


def test_full_runs_everything(tmp_path: Path) -> None:
    said, _ = start(tmp_path, "", "full").communicate(timeout=60)

    assert said.count(": everything\n") == 12
    assert " -m " not in said


def test_one_that_fails_is_told_at_the_end_and_the_others_are_run(tmp_path: Path) -> None:
    process = start(tmp_path, "case $2 in *,shim=upstream|*docker=reference) exit 1;; esac", workers=3)
    said, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert len([what for what, _ in order(tmp_path) if what == "begin"]) == 12
    assert sorted(said[said.rindex(" took ") :].splitlines()[1:]) == [
        "failed: reference,shim=upstream",
        "failed: upstream,docker=reference",
    ]


def test_an_interrupt_ends_what_runs(tmp_path: Path) -> None:
    process = start(tmp_path, "echo $$ >> pids; exec sleep 1000")
    deadline = time.monotonic() + 60
    while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)

    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not any(Path("/proc", pid).exists() for pid in (tmp_path / "pids").read_text().split())
