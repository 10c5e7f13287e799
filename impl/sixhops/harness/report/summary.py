"""A report as JSON for other programs, and as Markdown for the job pages of CI systems. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.report.model import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.report.model import Cell, Report, ScenarioRow

__all__ = ["FORMAT", "markdown", "summary_data"]

FORMAT: Final = 1
"""Version of the JSON; it changes when a reader of the old one would misread the new."""

_MOST: Final = 50
"""Scenarios that a list in Markdown names: job pages have limits (GitHub: 1 MiB)."""

_LONGEST: Final = 300


def summary_data(report: Report) -> dict[str, Any]:
    """Return the whole report but for messages as JSON data; docs/report.md has the fields."""
    return {
        "format": FORMAT,
        "columns": [
            {
                "name": column.name,
                "target": column.target,
                "engine": column.engine,
                "run": column.run,
                "began": column.began,
                "programs": column.programs,
                "unseen": column.unseen,
                "unseen_in": column.unseen_in,
                "counts": report.counts(number),
                "folders": report.counts_by_folder(number),
                "messages": report.hops(number),
            }
            for number, column in enumerate(report.columns)
        ],
        "scenarios": [
            {
                "id": row.id,
                "title": row.title,
                "hop": row.hop,
                "path": row.path,
                "results": [None if cell is None else _cell(cell) for cell in row.cells],
                "differences": [
                    None if item is None else {"news": item[0], "accepted": item[1]}
                    for item in row.differences
                ],
            }
            for row in report.rows
        ],
        "problems": report.problems,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "verdict": cell.verdict,
        "seconds": round(cell.seconds, 3),
        "messages": cell.hops,
        "brief": cell.brief,
        "fault": cell.fault,
        "skips": list(cell.skips),
        "leftovers": list(cell.leftovers),
        "failures": [
            {"step": step, "step_name": name, "facet": facet, "text": text}
            for step, name, facet, text in cell.failures
        ],
    }


def markdown(report: Report, title: str) -> str:
    """Return the summary: counts by folder and target, then what failed, then what differs."""
    return "\n".join(_lines(report, title)) + "\n"


def _lines(report: Report, title: str) -> Iterator[str]:
    yield f"## {_plain(title)}"
    yield ""
    yield "| target | engine | scenarios | " + " | ".join(VERDICTS[:4]) + " |"
    yield "| --- | --- | ---: | " + " | ".join("---:" for _ in VERDICTS[:4]) + " |"
    for number, column in enumerate(report.columns):
        counts = report.counts(number)
        shown = {**counts, "failed": counts["failed"] + counts["broken off"]}
        cells = " | ".join(str(shown[word]) for word in VERDICTS[:4])
        total = sum(counts.values())
        yield f"| {_plain(column.name)} | {_plain(column.engine)} | {total} | {cells} |"
    for number, column in enumerate(report.columns):
        failed = [row for row in report.rows if _is_failed(row.cells[number])]
        yield from _listed(f"Failed on {_plain(column.name)}", failed, number)
    for number, column in enumerate(report.columns[1:], start=1):
        differing = [row for row in report.rows if (row.differences[number] or (0, 0))[0]]
        if differing:
            yield ""
            yield f"### {_plain(column.name)} differs from {_plain(report.columns[0].name)}"
            yield ""
            for row in differing[:_MOST]:
                item = row.differences[number]
                assert item is not None
                yield f"- `{row.id}`: {item[0]} differences, {item[1]} more are accepted"
            yield from _more(differing)
    for column in report.columns:
        for hop, reason in column.unseen.items():
            yield ""
            where = _scenarios(column.unseen_in[hop])
            yield f"On {_plain(column.name)} the {hop} hop was not seen in {where}: {_plain(reason)}."
    for problem in report.problems:
        yield ""
        yield f"**Not in this report:** {_plain(problem)}"


def _is_failed(cell: Cell | None) -> bool:
    return cell is not None and cell.verdict in {"failed", "broken off"}


def _listed(heading: str, rows: list[ScenarioRow], number: int) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield f"### {heading}"
    yield ""
    for row in rows[:_MOST]:
        cell = row.cells[number]
        assert cell is not None
        yield f"- `{row.id}`: {_plain(cell.brief)}"
    yield from _more(rows)


def _more(rows: list[ScenarioRow]) -> Iterator[str]:
    if len(rows) > _MOST:
        yield f"- and {len(rows) - _MOST} more"


def _scenarios(count: int) -> str:
    return f"{count} scenario{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    """Return `text` on one line, with what Markdown or HTML would take for marks written as themselves."""
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#~" else letter for letter in line)
