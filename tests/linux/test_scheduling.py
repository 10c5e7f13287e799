"""Scheduling of a process: lists of processors, and what the kernel reports after the calls."""

import os
import subprocess
import sys

import pytest

from sixhops.linux.scheduling import parse_processors


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", {0}), ("0-3,7", {0, 1, 2, 3, 7}), (" 1 , 2", {1, 2}), ("5-5", {5})]
)
def test_lists_of_processors(text, numbers):
    assert parse_processors(text) == numbers


@pytest.mark.parametrize("text", ["", "x", "3-1", "-1", "1,"])
def test_what_is_no_list(text):
    with pytest.raises(ValueError):
        parse_processors(text)


def _in_a_child(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"from sixhops.linux import scheduling as s; import os; {code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def test_policy_and_niceness():
    code = "s.set_scheduler('SCHED_BATCH', 7, 0, (), (0, 0, 0)); print(os.sched_getscheduler(0), os.nice(0))"

    assert _in_a_child(code) == f"{os.SCHED_BATCH} 7"


def test_disk_priority_that_anybody_may_have():
    assert _in_a_child("s.set_io_priority('IOPRIO_CLASS_IDLE', 0); print('set')") == "set"


def test_affinity():
    first = min(os.sched_getaffinity(0))

    assert (
        _in_a_child(f"s.set_affinity(frozenset({{{first}}})); print(os.sched_getaffinity(0))")
        == f"{{{first}}}"
    )
