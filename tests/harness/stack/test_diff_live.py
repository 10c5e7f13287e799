"""The comparison on a real engine: two runs do not differ, and one lie is the only difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stack_needs import NEEDS_UPSTREAM
from test_broken_engine import ROOT, Lie, run_with, walkthrough

from sixhops.harness.diff.accepted import Comparison, load_accepted, sort_out
from sixhops.harness.diff.compare import diff
from sixhops.harness.diff.normalise import normalise
from sixhops.harness.plugin.results import open_transcript, saved_variables
from sixhops.harness.run.transcript import read_transcript

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.diff.model import Difference, Normal
    from sixhops.harness.stack.private import PrivateStack

pytestmark = NEEDS_UPSTREAM

#: Both sides are one engine, so nothing is accepted but what varies with itself.
FACTS = {"name": "upstream", "engine_version": "one", "programs": {}}
HONEST = Lie(b"no request has this")


def recorded(lie: Lie, stack: PrivateStack, folder: Path) -> Normal:
    """Run the walkthrough through the proxy, save it, and return what it did."""
    folder.mkdir()
    scenario = walkthrough("hello-world")
    run = run_with(lie, stack, scenario, folder)
    writer = open_transcript(folder, scenario.id, scenario, stack.facts)
    assert run.scope is not None
    writer.begin(saved_variables(run.scope))
    writer.finish({"verdict": str(run.verdict.status)}, run.exchanges, run.late)
    return normalise(read_transcript(writer.path))


def judged(a: Normal, b: Normal) -> list[Difference]:
    """Return what differs in the steps beyond what the engine itself does now this way, now that."""
    accepted, errors = load_accepted(ROOT / "diff")
    assert accepted, errors
    assert not errors, errors
    found = [item for item in diff(a, b) if item.step >= 0]
    return sort_out([Comparison(a.scenario, FACTS, FACTS, {}, tuple(found))], accepted, [a.scenario]).news


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        (HONEST, []),
        # Nothing in the scenario asks for these three.
        (
            Lie(b"/json ", b'"CpuShares":0', b'"CpuShares":5'),
            [(8, "json.HostConfig.CpuShares", "changed")],
        ),
        (
            Lie(b"/json ", b'"IpcMode":"private"', b'"IpcMode":"Private"'),
            [(8, "json.HostConfig.IpcMode", "changed")],
        ),
        (Lie(b"/logs", b"Ostype: linux", b"Ostype: Linux"), [(9, "headers.ostype", "changed")]),
    ],
    ids=["none", "number", "text", "header"],
)
def test_one_lie_is_the_only_difference(
    upstream: PrivateStack, tmp_path: Path, lie: Lie, expected: list[tuple[int, str, str]]
) -> None:
    a = recorded(HONEST, upstream, tmp_path / "a")
    b = recorded(lie, upstream, tmp_path / "b")

    found = judged(a, b)
    assert [(item.step + 1, item.path, item.kind) for item in found] == expected, found
