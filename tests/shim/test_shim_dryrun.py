"""What a shim in reserve goes through: it leaves nothing, and the memory that it takes is what comes later."""

import contextlib
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from sixhops.linux import passing
from sixhops.linux.clone import fork_plainly
from sixhops.linux.fds import keep_only
from sixhops.shim import standin
from sixhops.shim.dryrun import DryRun
from sixhops.shim.standby import stand_by

pytestmark = pytest.mark.alone

MODULE = standin.__name__


def in_child(work: Callable[[], None]) -> None:
    """Call `work` in a fork, since it changes the process; its failure is ours."""
    pid = fork_plainly()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001  the process ends here either way
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def prepare(directory: Path) -> tuple[DryRun, int]:
    """Return a dry run and the pid of who asks in it."""
    dry_run = DryRun(str(directory))
    asking = fork_plainly()
    if asking == 0:
        try:
            keep_only(frozenset({0, 1, 2, *dry_run.descriptors()}))
            dry_run.ask()
        finally:
            os._exit(0)
    return dry_run, asking


def go_through(directory: Path) -> None:
    dry_run, asking = prepare(directory)
    dry_run.go_through(MODULE)
    os.waitpid(asking, 0)


def descriptors() -> dict[str, str]:
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one by which they are listed
            found[path.name] = str(path.readlink())
    return found


def faults() -> int:
    """Return how many pages this process has had to get so far."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[7])


def test_it_leaves_the_process_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        before = descriptors()
        go_through(tmp_path / "dry")
        after = descriptors()
        assert len(after) == len(before), (before, after)
        assert signal.set_wakeup_fd(-1) == -1
        assert signal.SIGCHLD not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        status = Path("/proc/self/status").read_text()
        assert int(status.partition("SigCgt:")[2].split()[0], 16) & (1 << signal.SIGTERM - 1) == 0

    in_child(work)

    assert capfd.readouterr().err == ""
    assert (tmp_path / "dry").is_dir()


def test_the_second_time_there_is_little_left_to_write_to(tmp_path: Path) -> None:
    def work() -> None:
        # all that is forked is there before the first one, for it is forks that memory is shared with
        prepared = [prepare(tmp_path / "dry") for _ in range(2)]
        counts = [faults()]
        for dry_run, _ in prepared:
            dry_run.go_through(MODULE)
            counts.append(faults())
        first, second = (after - before for before, after in itertools.pairwise(counts))
        assert second * 3 < first, counts
        for _, asking in prepared:
            os.waitpid(asking, 0)

    in_child(work)


def test_children_that_end_meanwhile_are_still_there_to_be_waited_for(tmp_path: Path) -> None:
    def work() -> None:
        child = fork_plainly()
        if child == 0:
            os._exit(7)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        go_through(tmp_path / "dry")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    in_child(work)


def test_one_that_fails_ends_at_once(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "dry" / "options.json").mkdir(parents=True)
        signal.alarm(20)
        go_through(tmp_path / "dry")
        signal.alarm(0)

    in_child(work)


def test_one_that_nobody_asks_ends_as_well(tmp_path: Path) -> None:
    def work() -> None:
        dry_run = DryRun(str(tmp_path / "dry"))
        held = os.dup(dry_run.descriptors()[-1])  # as if somebody were about to
        signal.alarm(20)
        dry_run.go_through(MODULE)
        signal.alarm(0)
        os.close(held)

    in_child(work)


def test_a_shim_without_a_place_for_it_waits_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def work() -> None:
        ours, theirs = passing.pair()
        ours.close()
        assert stand_by({"module": MODULE, "directory": str(tmp_path / "file")}, [theirs.detach()]) == 0

    in_child(work)
