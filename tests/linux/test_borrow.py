import os
import signal
from pathlib import Path

import pytest

from sixhops.linux.borrow import can_borrow, run_borrowed
from sixhops.linux.clone import fork_plainly

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not can_borrow(), reason="this interpreter checks on which stack it runs"),
]


def test_child_works_in_our_memory_and_has_all_else_of_its_own() -> None:
    seen: list[int] = []
    before = Path.cwd()
    reader, writer = os.pipe()

    def work() -> int:
        seen.append(os.getpid())
        os.chdir("/")
        os.umask(0o77)
        os.close(reader)
        return 7

    assert run_borrowed(work) == 7
    assert seen != [os.getpid()]
    assert Path.cwd() == before
    os.fstat(reader)
    assert os.umask(0o22) == 0o22
    os.close(reader)
    os.close(writer)


def test_exception_is_shown_and_goes_no_further(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise ValueError("no such thing")

    assert run_borrowed(work) == 1
    assert "ValueError: no such thing" in capfd.readouterr().err


def test_exit_is_the_childs_alone() -> None:
    def work() -> int:
        raise SystemExit(9)

    assert run_borrowed(work) == 9


def test_interpreter_is_as_it_was_after_many_and_after_deep_calls() -> None:
    def deep(rest: int) -> int:
        return deep(rest - 1) if rest else 3

    for _ in range(100):
        assert run_borrowed(lambda: deep(200)) == 3
    assert deep(200) == 3


def test_signal_meets_us_once_the_child_has_gone() -> None:
    # in a process with one thread: any other would take the signal
    pid = fork_plainly()
    if pid == 0:
        os._exit(_meet_signal())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _meet_signal() -> int:
    caught: list[bool] = []
    done = False
    signal.signal(signal.SIGUSR1, lambda _number, _frame: caught.append(done))

    def work() -> int:
        nonlocal done
        os.kill(os.getppid(), signal.SIGUSR1)
        done = True
        return 0

    run_borrowed(work)
    return int(caught != [True])


def test_no_end_of_a_child_is_told() -> None:
    told: list[int] = []
    previous = signal.signal(signal.SIGCHLD, lambda number, _frame: told.append(number))
    try:
        run_borrowed(lambda: 0)
        assert not told
    finally:
        signal.signal(signal.SIGCHLD, previous)
