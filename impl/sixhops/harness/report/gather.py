"""From transcripts on disk to a report: which runs there are, what came of each scenario, and the page's documents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import ScenarioError, UsageError
from sixhops.harness.parallel import each
from sixhops.harness.replay import transcript_files
from sixhops.harness.report.compare import compare
from sixhops.harness.report.document import document_of, picture_of
from sixhops.harness.report.model import Cell, Column, Report, ScenarioRow
from sixhops.harness.run.transcript import read_header, read_transcript

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sixhops.harness.diff.accepted import Accepted
    from sixhops.harness.run.transcript import Transcript

__all__ = ["gather"]

#: Fewer transcripts than this are read faster than processes start.
_WORTH_PROCESSES = 40


@dataclass(frozen=True, slots=True)
class _Found:
    """A transcript's place, and what its first line says."""

    path: Path
    run: Path
    header: dict[str, Any]


def gather(
    names: Iterable[Path],
    accepted: Sequence[Accepted] = (),
    *,
    with_differences: bool = True,
    called: Mapping[Path, str] | None = None,
) -> Report:
    """Return the report of the transcripts that `names` mean (files or folders).

    Those of one run on one target are a column, in the order in which they are named; the others are compared with the first
    one, and `accepted` says which differences are known. A column has its target's name, or, for a run's folder in `called`,
    that one. A file that can't be read is one of the report's problems. Raises
    UsageError for a name that does not exist, and when there is no transcript.
    """
    problems: list[str] = []
    columns: dict[tuple[Path, str], Column] = {}
    rows: dict[str, dict[int, _Found]] = {}
    for file in transcript_files(names):
        try:
            header = read_header(file)
            found = _Found(file, (file.parent / header["bodies"]).resolve().parent, header)
            key = (found.run, str(header["target"]["name"]))
            if key not in columns:
                columns[key] = _column(found, (called or {}).get(found.run))
            # Of repetitions, the first.
            rows.setdefault(str(header["scenario"]), {}).setdefault(list(columns).index(key), found)
        except (ScenarioError, KeyError) as error:
            problems.append(
                str(error) if isinstance(error, ScenarioError) else f"{file}: the header lacks {error}"
            )
    if not rows and not problems:
        raise UsageError("there is no transcript here")
    work = partial(_row, width=len(columns), accepted=accepted, with_differences=with_differences)
    ordered = [rows[name] for name in sorted(rows)]
    done = list(each(work, ordered, worth=len(rows) * len(columns) >= _WORTH_PROCESSES))
    for row, wrong in done:
        problems += wrong
        for number, column in enumerate(columns.values()):
            for hop, reason in row.document["unseen"].get(number, {}).items():
                column.unseen[hop] = reason
                column.unseen_in[hop] = column.unseen_in.get(hop, 0) + 1
    return Report(_told_apart(list(columns.values())), [row for row, _ in done], problems)


def _column(found: _Found, name: str | None) -> Column:
    target = found.header["target"]
    return Column(
        name=name or str(target["name"]),
        target=str(target["name"]),
        engine=str(target["engine_version"]),
        run=found.run.name,
        began=str(found.header["clock"]["wall"]),
        programs=dict(target.get("programs", {})),
        unseen={},
        unseen_in={},
    )


def _told_apart(columns: list[Column]) -> list[Column]:
    """Return the columns with names that differ: the target's, with the run where several have it."""
    names = [column.name for column in columns]
    found: list[Column] = []
    for column in columns:
        name = column.name if names.count(column.name) == 1 else f"{column.name} {column.run}"
        taken = [other.name for other in found]
        while name in taken:
            name += "'"
        parts = {key: getattr(column, key) for key in Column.__slots__}
        found.append(Column(**{**parts, "name": name}))
    return found


def _row(
    files: dict[int, _Found], *, width: int, accepted: Sequence[Accepted], with_differences: bool
) -> tuple[ScenarioRow, list[str]]:
    head = next(iter(files.values())).header
    name = str(head["scenario"])
    row = ScenarioRow(name, str(head["title"]), str(head["hop"]), str(head["path"]), [None] * width)
    row.differences = [None] * width
    row.document = {"id": name, "runs": [None] * width, "diffs": [None] * width, "unseen": {}}
    problems: list[str] = []
    pictures = {}
    for number, found in sorted(files.items()):
        try:
            transcript = read_transcript(found.path)
        except ScenarioError as error:
            problems.append(str(error))
            continue
        pictures[number] = picture_of(transcript)
        row.cells[number] = _cell(transcript)
        document = document_of(transcript, pictures[number])
        row.document["runs"][number] = document
        row.document["unseen"][number] = document["unseen"]
        if with_differences and number and 0 in pictures and _is_another(files[0].header, found.header):
            row.changed.append(number)
        elif with_differences and number and 0 in pictures:
            found_diff = compare(pictures[0], pictures[number], accepted)
            row.document["diffs"][number] = found_diff
            known = sum(item["accepted"] is not None for item in found_diff["differences"])
            row.differences[number] = (len(found_diff["differences"]) - known, known)
    return row, problems


def _is_another(first: dict[str, Any], header: dict[str, Any]) -> bool:
    """Say whether a scenario did something else in the one run than in the other; an old header doesn't tell."""
    digests = {first.get("digest"), header.get("digest")} - {None}
    return len(digests) > 1


def _cell(transcript: Transcript) -> Cell:
    outcome = transcript.outcome
    hops: dict[str, int] = {}
    for exchange, messages in transcript.by_step():
        for message in messages:
            hops[str(message.hop)] = hops.get(str(message.hop), 0) + 1
        own = {"request": "engine", "processes": "process", "registry": "registry"}.get(exchange.kind)
        if own is not None:
            hops[own] = hops.get(own, 0) + 1
    names = {exchange.step: exchange.name for exchange in transcript.exchanges}
    return Cell(
        verdict=str(outcome.get("verdict", "broken off")),
        seconds=float(outcome.get("seconds", 0.0)),
        hops=hops,
        brief=str(outcome.get("brief", "")) if outcome else "the run broke off",
        path=transcript.path,
        fault=str(outcome.get("fault", "")),
        skips=tuple(outcome.get("skips", ())),
        leftovers=tuple(outcome.get("leftovers", ())),
        failures=tuple(
            (step, names.get(step, ""), failure["facet"], failure["text"])
            for step, judgement in sorted(transcript.judgements.items())
            for failure in judgement.failures
        ),
    )
