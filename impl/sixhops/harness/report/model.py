"""What a report is made of: plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VERDICTS", "Cell", "Column", "Report", "ScenarioRow"]

VERDICTS = ("passed", "failed", "skipped", "known", "broken off")
"""The words for how a scenario came out, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Column:
    """One run on one target. `name` tells it from the other columns; `unseen`: hop to the reason.

    Scenarios may have had stacks of their own: `unseen_in` has in how many of them a hop could not be seen.
    """

    name: str
    target: str
    engine: str
    run: str
    began: str
    programs: dict[str, str]
    unseen: dict[str, str]
    unseen_in: dict[str, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """How one scenario came out in one column. `hops`: the number of messages on each hop that has any.

    `failures`: (step from 0, step name, facet, text) of each expectation that did not hold.
    """

    verdict: str
    seconds: float
    hops: dict[str, int]
    brief: str
    path: Path
    fault: str = ""
    skips: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    failures: tuple[tuple[int, str, str, str], ...] = ()


@dataclass(slots=True)
class ScenarioRow:
    """One scenario in all columns. `differences`: for each column but the first, how many are (news, accepted), None
    where nothing was compared. `changed`: columns in which the scenario did something else than in the first, and so could
    not be. `data` is the gzipped JSON document of the page, see `document`.
    """

    id: str
    title: str
    hop: str
    path: str
    cells: list[Cell | None]
    differences: list[tuple[int, int] | None] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """A whole report. `rows` are in order of id, `problems` are files that could not be read."""

    columns: list[Column]
    rows: list[ScenarioRow]
    problems: list[str] = field(default_factory=list)

    def counts(self, column: int) -> dict[str, int]:
        """Return how many scenarios of a column came out how; every verdict is there."""
        seen = Counter(cell.verdict for row in self.rows if (cell := row.cells[column]) is not None)
        return {word: seen.get(word, 0) for word in VERDICTS}

    def counts_by_folder(self, column: int) -> dict[str, dict[str, int]]:
        """Return the same for each folder of scenarios that the column has."""
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            cell = row.cells[column]
            if cell is not None:
                found.setdefault(row.id.split("/", 1)[0], Counter())[cell.verdict] += 1
        return {folder: {word: seen.get(word, 0) for word in VERDICTS} for folder, seen in found.items()}

    def changed(self, column: int) -> list[str]:
        """Return the scenarios that did something else in a column than in the first, by id."""
        return [row.id for row in self.rows if column in row.changed]

    def hops(self, column: int) -> dict[str, int]:
        """Return how many messages a column saw on each hop."""
        total: Counter[str] = Counter()
        for row in self.rows:
            cell = row.cells[column]
            total.update(cell.hops if cell is not None else {})
        return dict(total)
