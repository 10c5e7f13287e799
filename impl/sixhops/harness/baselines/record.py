"""A baseline made of a run's folders: `record`. What `sixhops dev baseline` does."""

from __future__ import annotations

import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.baselines.archive import BASELINES, SUFFIX, Entry, Recorded, counts_of, write_archive
from sixhops.harness.baselines.reduce import is_faithful, reduce
from sixhops.harness.baselines.suite import digests
from sixhops.harness.errors import UsageError
from sixhops.harness.plugin.results import transcript_name
from sixhops.harness.replay import transcript_files
from sixhops.harness.run.transcript import read_header, read_transcript, transcript_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sixhops.harness.run.transcript import Transcript
    from sixhops.harness.scenario.model import Scenario

__all__ = ["Made", "record"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_BODY: Final = re.compile(r'"\$body": \{"sha256": "([0-9a-f]{64})"')
#: Fewer transcripts than this are read faster than processes start.
_WORTH_PROCESSES: Final = 16
#: Later than a run by this at most: the time that stands for all times must lie within the run of every scenario.
_LONGEST: Final = timedelta(hours=20)


@dataclass(frozen=True, slots=True)
class Made:
    """A baseline that was written. `kept`: scenarios in which nothing could be replaced; `outdated`: those left out, since
    they are no longer what they were when the run was made.
    """

    path: Path
    recorded: Recorded
    kept: tuple[str, ...]
    outdated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A transcript as it goes into the archive, with the bodies that it needs by name."""

    scenario: str
    data: bytes
    bodies: frozenset[str]
    verdict: str
    places: tuple[str, ...]
    target: dict[str, Any]
    is_reduced: bool


def record(name: str, runs: Sequence[Path], scenarios: Sequence[Scenario], folder: Path = BASELINES) -> Made:
    """Write the baseline `name` of saved runs (folders or transcripts; several make up one) of one engine.

    Of repetitions the first counts; scenarios that are not among `scenarios` are left out. Raises UsageError for a bad name,
    for runs of several engines or that took longer than 20 hours in all, and for one that broke off; ScenarioError for a
    file that is no transcript.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a baseline's name has small letters, digits, '.', '+' and '-', not {name!r}")
    files: dict[str, Path] = {}
    engines: dict[str, Path] = {}
    moments: list[datetime] = []
    for file in transcript_files(runs):
        header = read_header(file)
        files.setdefault(str(header["scenario"]), file)
        engines.setdefault(str(header["target"]["engine_version"]), file)
        moments.append(datetime.fromisoformat(header["clock"]["wall"]).astimezone(UTC))
    known = digests(scenarios)
    outdated = tuple(sorted(files.keys() - known.keys()))
    chosen = {scenario: file for scenario, file in sorted(files.items()) if scenario in known}
    if not chosen:
        raise UsageError("there is no transcript of a scenario of this suite here")
    if len(engines) > 1:
        raise UsageError(f"a baseline is of one engine, and these are runs of {', '.join(engines)}")
    if max(moments) - min(moments) > _LONGEST:
        raise UsageError("these runs are too far apart to be one: more than 20 hours")
    # The last scenario may have taken a while.
    moment = max(moments).replace(microsecond=0) + timedelta(hours=1)
    work = partial(_reduced, moment=moment)
    if len(chosen) < _WORTH_PROCESSES:
        reduced = list(map(work, chosen.values()))
    else:
        with ProcessPoolExecutor(min(os.cpu_count() or 1, len(chosen))) as pool:
            reduced = list(pool.map(work, chosen.values(), chunksize=8))
    entries = {item.scenario: Entry(known[item.scenario], item.verdict, item.places) for item in reduced}
    recorded = Recorded(
        name=name,
        engine=next(iter(engines)),
        recorded=min(moments).isoformat(timespec="seconds"),
        suite=version("sixhops"),
        target=reduced[0].target,
        counts=counts_of(entries.values()),
        scenarios=entries,
    )
    path = folder / f"{name}{SUFFIX}"
    write_archive(
        path,
        recorded,
        {transcript_name(item.scenario): item.data for item in reduced},
        _bodies(chosen, reduced),
    )
    return Made(path, recorded, tuple(item.scenario for item in reduced if not item.is_reduced), outdated)


def _reduced(file: Path, *, moment: datetime) -> _Reduced:
    transcript = read_transcript(file)
    if not transcript.outcome:
        raise UsageError(f"{file} broke off: a baseline is made of whole runs")
    text = file.read_text(encoding="utf-8")
    lines = reduce(text.split("\n"), transcript, moment)
    is_reduced = is_faithful(transcript, transcript_of(lines, file))
    if is_reduced:
        text = "\n".join([*lines, ""])
    return _Reduced(
        scenario=transcript.scenario,
        data=text.encode(),
        bodies=frozenset(_BODY.findall(text)),
        verdict=str(transcript.outcome.get("verdict", "")),
        places=_places(transcript),
        target=transcript.header["target"],
        is_reduced=is_reduced,
    )


def _places(transcript: Transcript) -> tuple[str, ...]:
    """Return where it failed, foreseen by a profile or not, in the words of results.json."""
    places = [
        f"step {step + 1} {failure['facet']}".rstrip()
        for step, judgement in sorted(transcript.judgements.items())
        for failure in judgement.failures
    ]
    places += ["left behind"] if transcript.outcome.get("leftovers") else []
    return tuple(dict.fromkeys(places))


def _bodies(chosen: dict[str, Path], reduced: Sequence[_Reduced]) -> list[Path]:
    found: dict[str, Path] = {}
    for file, item in zip(chosen.values(), reduced, strict=True):
        if item.bodies:
            folder = file.parent / str(read_header(file)["bodies"])
            found.update((name, folder / name) for name in sorted(item.bodies))
    return list(found.values())
