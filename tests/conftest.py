"""What all unit tests need. That this file is here makes the modules beside it (certificates) importable by them, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# What a shell has put in the background ignores interrupts, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_IN_ITS_OWN = "SIXHOPS_TESTS_ALONE"
_OUTCOMES = pytest.StashKey[dict[Path, dict[str, tuple[str, str]]]]()
_BOUND = 180.0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "alone: forks as our programs do, so the module's tests have a process with one thread"
    )
    config.stash[_OUTCOMES] = {}


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Perform the tests of a module marked `alone` in a process of their own.

    Other tests leave threads (gRPC's, for one). A child that is cloned without the C library's knowledge, as the shim
    and the runtime do it, may then wait for ever for a lock that a thread had, which the child has not.
    """
    if item.get_closest_marker("alone") is None or os.environ.get(_IN_ITS_OWN):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    _report(item, "setup", lambda: None)
    _report(item, "call", lambda: _judge(item))
    _report(item, "teardown", lambda: item.session._setupstate.teardown_exact(nextitem))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _report(item: pytest.Item, when: str, act: Callable[[], None]) -> None:
    call = pytest.CallInfo.from_call(act, when=when)  # type: ignore[arg-type] # a literal
    item.ihook.pytest_runtest_logreport(report=pytest.TestReport.from_item_and_call(item, call))


def _judge(item: pytest.Item) -> None:
    outcomes = item.config.stash[_OUTCOMES]
    if item.path not in outcomes:
        outcomes[item.path] = _perform(item.path)
    outcome, text = outcomes[item.path].get(item.name, ("failure", "the test did not run in its own process"))
    if outcome == "skipped":
        pytest.skip(text)
    if outcome:
        pytest.fail(text, pytrace=False)


def _perform(module: Path) -> dict[str, tuple[str, str]]:
    """Run a module's tests; return by name what became of each ("" for passed, failure, error, skipped) and why."""
    with tempfile.TemporaryDirectory() as directory:
        written = Path(directory, "outcomes.xml")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", module,
             f"--junitxml={written}"],
            env=os.environ | {_IN_ITS_OWN: "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_BOUND,
        )  # fmt: skip
        if not written.exists():
            pytest.fail(f"the module's own process ended with {done.returncode}: {done.stdout}{done.stderr}")
        cases = ET.parse(written).getroot().iter("testcase")
        return {case.attrib["name"]: _outcome(case) for case in cases}


def _outcome(case: ET.Element) -> tuple[str, str]:
    for part in case:
        if part.tag in {"failure", "error", "skipped"}:
            return part.tag, part.text or part.attrib.get("message", "")
    return "", ""
