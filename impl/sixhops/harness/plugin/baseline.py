"""A run against a baseline: what an earlier run failed at does not fail this one, and anything new does (`--baseline`).

The baseline is an earlier run's results.json, or a recorded one of an engine by its name. A scenario's failures are
compared by step and by what was looked at, not by texts, which hold ids and times; so one that fails at a further place is
new, and one that fails at the same place with another value is not. What is wrong with a scenario, with sixhops, or with the
target as a whole is never covered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sixhops.harness.baselines import find_baseline
from sixhops.harness.errors import UsageError
from sixhops.harness.plugin.outcome import KnownDifference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from sixhops.harness.plugin.outcome import Outcome

__all__ = ["Baseline", "read_baseline"]

_MOST = 5


@dataclass(frozen=True, slots=True)
class Baseline:
    """An earlier run: for each scenario the verdict, and where it failed (`Outcome.failures`).

    `is_of_another`: it is a recorded run of an engine, perhaps of another suite on another machine, so that scenarios that
    are not there, or can't be seen there, say nothing.
    """

    name: str
    verdicts: Mapping[str, str]
    failures: Mapping[str, frozenset[str]]
    is_of_another: bool = False

    def apply(self, outcome: Outcome) -> Outcome:
        """Return the outcome as a known difference when the baseline failed at all the same places, else as it is."""
        old = self.failures.get(outcome.id, frozenset())
        if (
            outcome.verdict != "failed"
            or outcome.fault
            or not outcome.failures
            or not old.issuperset(outcome.failures)
        ):
            return outcome
        reason = f"failed in the baseline as well ({self.name}): {outcome.brief}"
        known = (*outcome.known, KnownDifference("", reason, ""))
        return replace(outcome, verdict="known", brief=reason, known=known, text="")

    def problems(self, outcomes: Collection[Outcome], *, is_full: bool) -> list[str]:
        """Return what makes the run as a whole worse than the baseline; `is_full`: nothing narrowed the run down."""
        if self.is_of_another:
            return []
        problems = []
        hidden = [
            outcome.id
            for outcome in outcomes
            if outcome.verdict == "skipped" and self.verdicts.get(outcome.id) == "passed"
        ]
        if hidden:
            problems.append(
                f"{len(hidden)} scenarios passed in the baseline and were skipped now: {_few(hidden)}"
            )
        gone = sorted(self.verdicts.keys() - {outcome.id for outcome in outcomes})
        if is_full and gone:
            problems.append(f"{len(gone)} scenarios of the baseline did not run: {_few(gone)}")
        return problems

    def notes(self, outcomes: Collection[Outcome]) -> list[str]:
        """Return what is worth telling and no problem: what failed in the baseline and passes now."""
        better = [
            outcome.id
            for outcome in outcomes
            if outcome.verdict == "passed" and self.failures.get(outcome.id)
        ]
        if self.is_of_another:
            new = [outcome.id for outcome in outcomes if outcome.id not in self.verdicts]
            return [f"{len(new)} scenarios are newer than {self.name}: {_few(new)}"] if new else []
        if not better:
            return []
        return [
            f"{len(better)} scenarios failed in the baseline and pass now, so keep this run as the baseline: {_few(better)}"
        ]


def read_baseline(path: Path) -> Baseline:
    """Return the baseline in a results.json, in the folder of a run, or the recorded one of this name.

    Raises UsageError when it is none.
    """
    if not path.exists() and len(path.parts) == 1 and path.suffix != ".json":
        return _recorded(str(path))
    file = path / "results.json" if path.is_dir() else path
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
        entries: list[dict[str, Any]] = data["scenarios"]
        return Baseline(
            str(data["run"]),
            {str(entry["id"]): str(entry["verdict"]) for entry in entries},
            {str(entry["id"]): frozenset(entry["failures"]) for entry in entries},
        )
    except OSError as error:
        raise UsageError(f"--baseline: {file} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--baseline: {file} is no results.json of this version of sixhops: {error!r}"
        ) from error


def _recorded(name: str) -> Baseline:
    try:
        recorded = find_baseline(name).recorded
    except UsageError as error:
        raise UsageError(f"--baseline: {name} is no file or folder, and {error}") from error
    return Baseline(
        f"the baseline {recorded.name}",
        {scenario: entry.verdict for scenario, entry in recorded.scenarios.items()},
        {scenario: frozenset(entry.places) for scenario, entry in recorded.scenarios.items()},
        is_of_another=True,
    )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MOST} more" if len(listed) > _MOST else ""
    return f"{', '.join(listed[:_MOST])}{more}"
