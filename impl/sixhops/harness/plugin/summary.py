"""What the terminal shows: a word for each verdict, failures in the judge's words, and tables at the end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from _pytest._code.code import ReprFileLocation, TerminalRepr

from sixhops.harness.plugin import HOPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pytest
    from _pytest._io import TerminalWriter

    from sixhops.harness.plugin.outcome import Outcome
    from sixhops.harness.plugin.session import SessionReport

__all__ = ["ScenarioRepr", "is_watched", "status_of", "write_summary"]

_SLOWEST = 5
_VERDICTS = ("passed", "failed", "skipped", "known")
_STATUS = {
    "passed": ("passed", ".", {"green": True}),
    "failed": ("failed", "F", {"red": True}),
    "skipped": ("skipped", "s", {"yellow": True}),
    "known": ("known", "k", {"yellow": True}),
}


class ScenarioRepr(TerminalRepr):
    """A failure as pytest keeps it: the outcome's text, and its one line for pytest's own short summary."""

    def __init__(self, outcome: Outcome) -> None:
        self.text = outcome.text or outcome.brief
        path, _, line = outcome.path.partition(":")
        self.reprcrash = ReprFileLocation(path, int(line or 1), outcome.brief)

    def __str__(self) -> str:
        return self.text

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write the text; the lines that say what is wrong are red."""
        for line in self.text.splitlines():
            tw.line(line)


def is_watched(config: pytest.Config) -> bool:
    """Return whether somebody reads along: standard output is a terminal, or CI keeps it."""
    return config.get_terminal_writer().hasmarkup or sys.stdout.isatty() or bool(os.environ.get("CI"))


def status_of(data: dict[str, Any]) -> tuple[str, str, Any]:
    """Return pytest's category, letter and word for an outcome; of an unreachable target, none."""
    if data["verdict"] == "unreachable":
        return "", "", ""
    category, letter, markup = _STATUS[data["verdict"]]
    return category, letter, (f"{category.upper()} ({data['seconds']:.2f} s)", markup)


def write_summary(reporter: pytest.TerminalReporter, session: SessionReport) -> None:
    """Write the sections that a run with scenarios ends with; a run without any writes nothing."""
    if session.errors:
        reporter.section("malformed scenarios", sep="=", red=True)
        for line in session.errors:
            reporter.line(line)
    if session.unreachable:
        reporter.line(f"no target: {session.unreachable}", red=True)
    ran = [outcome for outcome in session.outcomes if outcome.verdict != "unreachable"]
    if ran:
        reporter.section(f"sixhops on {ran[0].target} (engine {ran[0].engine})", sep="=")
        _write_hops(reporter, ran)
        _write_slowest(reporter, ran)
        _write_skips(reporter, ran)
        _write_known(reporter, ran)
    for problem in session.problems:
        reporter.line(f"the run as a whole failed: {problem}", red=True)
    for note in session.notes:
        reporter.line(note)
    if session.results is not None:
        reporter.line(f"transcripts and results.json: {session.results.parent}")


def _write_hops(reporter: pytest.TerminalReporter, outcomes: Sequence[Outcome]) -> None:
    folders = [*HOPS, *sorted({outcome.id.split("/", 1)[0] for outcome in outcomes} - HOPS.keys())]
    counts: dict[str, list[int]] = {}
    for folder in folders:
        verdicts = [outcome.verdict for outcome in outcomes if outcome.id.split("/", 1)[0] == folder]
        if verdicts:
            counts[folder] = [verdicts.count(verdict) for verdict in _VERDICTS]
    counts["all"] = [sum(column) for column in zip(*counts.values(), strict=True)]
    width = max(map(len, counts))
    reporter.line(f"{'':{width}}" + "".join(f"{verdict:>9}" for verdict in _VERDICTS))
    for name, row in counts.items():
        cells = "".join(f"{count or '-':>9}" for count in row)
        reporter.line(f"{name:{width}}{cells}", red=bool(row[1]))


def _write_slowest(reporter: pytest.TerminalReporter, outcomes: Sequence[Outcome]) -> None:
    slowest = sorted(outcomes, key=lambda outcome: -outcome.seconds)[:_SLOWEST]
    reporter.line("slowest: " + ", ".join(f"{outcome.id} {outcome.seconds:.2f} s" for outcome in slowest))


def _write_skips(reporter: pytest.TerminalReporter, outcomes: Sequence[Outcome]) -> None:
    whole = _tally(reason for outcome in outcomes if outcome.verdict == "skipped" for reason in outcome.skips)
    part = _tally(reason for outcome in outcomes if outcome.verdict != "skipped" for reason in outcome.skips)
    for reason, count in whole:
        reporter.line(f"skipped {count} scenarios: {reason}", yellow=True)
    for reason, count in part:
        reporter.line(f"not judged in {count} expectations: {reason}", yellow=True)


def _write_known(reporter: pytest.TerminalReporter, outcomes: Sequence[Outcome]) -> None:
    known = _tally(
        f"{item.reason} ({item.ref})" if item.ref else item.reason
        for outcome in outcomes
        for item in outcome.known
    )
    for reason, count in known:
        reporter.line(f"known difference, {count} times: {reason}", yellow=True)


def _tally(reasons: Iterable[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
