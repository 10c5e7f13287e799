"""A baseline made of a run's folders: `record`. What `sixhops dev baseline` does."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.baselines.archive import BASELINES, SUFFIX, Entry, Recorded, counts_of, write_archive
from sixhops.harness.baselines.reduce import is_faithful, reduce, without_search_path
from sixhops.harness.diff.archives import is_archive, without_contents
from sixhops.harness.errors import UsageError
from sixhops.harness.judge import judge
from sixhops.harness.plugin.results import transcript_name
from sixhops.harness.replay import transcript_files
from sixhops.harness.run.transcript import Bodies, read_header, read_transcript, transcript_of
from sixhops.harness.scenario.digest import digests
from sixhops.harness.scenario.variables import make_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sixhops.harness.baselines.archive import Baseline
    from sixhops.harness.judge import Status
    from sixhops.harness.run.transcript import Transcript
    from sixhops.harness.scenario.model import Scenario

__all__ = ["Made", "record"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.+-]*")
#: What is in front of a tree's name where a transcript speaks of files in it (`upstream@NAME`), and what stands for it.
_TREE: Final = (r"/(?:[\w.+@-]+/)+", "/trees/")
_BODY: Final = re.compile(r'"\$body": \{"sha256": "([0-9a-f]{64})"')
#: Bytes from which on the contents of files in archives are left out: of each only a digest is compared.
_CONTENT: Final = 4096
#: Fewer transcripts than this are read faster than processes start.
_WORTH_PROCESSES: Final = 16
#: Later than a run by this at most: the time that stands for all times must lie within the run of every scenario.
_LONGEST: Final = timedelta(hours=20)


@dataclass(frozen=True, slots=True)
class Made:
    """A baseline that was written.

    `kept`: scenarios in which nothing could be replaced without another comparison or verdict. Left out are `gone`, which
    the suite does not have, `changed`, which do something else now than when they were run, and `undated`, whose transcripts
    don't say which version was run.
    """

    path: Path
    recorded: Recorded
    kept: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    undated: tuple[str, ...]


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


@dataclass(frozen=True, slots=True)
class _File:
    """A transcript that goes into a baseline. `moment` stands for its times; None: it is from a baseline, and stays."""

    path: Path
    header: dict[str, Any]
    moment: datetime | None


def record(
    name: str,
    runs: Sequence[Path],
    scenarios: Sequence[Scenario],
    folder: Path = BASELINES,
    *,
    update: Baseline | None = None,
) -> Made:
    """Write the baseline `name` of saved runs (folders or transcripts; several make up one) of one engine.

    What a later run has replaces what an earlier one, or the baseline to `update`, has of a scenario; of repetitions in one
    run the first counts. Scenarios that are not as they are among `scenarios` are left out. Raises UsageError for a bad
    name, for runs of several engines or that took longer than 20 hours in all, and for one that broke off; ScenarioError for
    a file that is no transcript.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a baseline's name has small letters, digits, '.', '+' and '-', not {name!r}")
    new: dict[str, _File] = {}
    moments: list[datetime] = []
    for run in runs:
        found: dict[str, _File] = {}
        for path in transcript_files([run]):
            header = read_header(path)
            moments.append(datetime.fromisoformat(header["clock"]["wall"]).astimezone(UTC))
            found.setdefault(str(header["scenario"]), _File(path, header, moments[-1]))
        new.update(found)
    if not new:
        raise UsageError("there is no transcript here")
    if max(moments) - min(moments) > _LONGEST:
        raise UsageError("these runs are too far apart to be one: more than 20 hours")
    # The last scenario may have taken a while.
    moment = max(moments).replace(microsecond=0) + timedelta(hours=1)
    with TemporaryDirectory(prefix="sixhops-baseline-") as unpacked:
        files: dict[str, _File] = {}
        if update is not None:
            for path in transcript_files([update.unpack(Path(unpacked))]):
                header = read_header(path)
                files[str(header["scenario"])] = _File(path, header, None)
        files |= {scenario: replace(file, moment=moment) for scenario, file in new.items()}
        with TemporaryDirectory(prefix="sixhops-baseline-") as scratch:
            return _record(name, files, scenarios, folder, min(moments), Path(scratch))


def _record(
    name: str,
    files: dict[str, _File],
    scenarios: Sequence[Scenario],
    folder: Path,
    began: datetime,
    scratch: Path,
) -> Made:
    known, by_id = digests(scenarios), {scenario.id: scenario for scenario in scenarios}
    engines = {str(file.header["target"]["engine_version"]) for file in files.values()}
    if len(engines) > 1:
        raise UsageError(f"a baseline is of one engine, and these are runs of {', '.join(sorted(engines))}")
    versions = {scenario: file.header.get("digest") for scenario, file in files.items()}
    chosen = {name: file for name, file in sorted(files.items()) if versions[name] == known.get(name, "")}
    if not chosen:
        raise UsageError("there is no transcript of a scenario of this suite, as it is now, here")
    work = partial(_reduced, scratch=scratch)
    # What is from a baseline is not judged: to send its scenario to another process would be in vain.
    runs = [by_id[scenario] if file.moment is not None else None for scenario, file in chosen.items()]
    if len(chosen) < _WORTH_PROCESSES:
        reduced = list(map(work, chosen.values(), runs))
    else:
        with ProcessPoolExecutor(min(os.cpu_count() or 1, len(chosen))) as pool:
            reduced = list(pool.map(work, chosen.values(), runs, chunksize=8))
    entries = {item.scenario: Entry(known[item.scenario], item.verdict, item.places) for item in reduced}
    recorded = Recorded(
        name=name,
        engine=engines.pop(),
        recorded=began.isoformat(timespec="seconds"),
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
        [scratch / "bodies" / body for body in set().union(*(item.bodies for item in reduced))],
    )
    left = sorted((scenario, versions[scenario]) for scenario in files.keys() - chosen.keys())
    return Made(
        path,
        recorded,
        kept=tuple(item.scenario for item in reduced if not item.is_reduced),
        gone=tuple(scenario for scenario, _ in left if scenario not in known),
        changed=tuple(scenario for scenario, digest in left if scenario in known and digest is not None),
        undated=tuple(scenario for scenario, digest in left if scenario in known and digest is None),
    )


def _reduced(file: _File, scenario: Scenario | None, scratch: Path) -> _Reduced:
    """Return a transcript as it goes into the archive; its bodies are in the folder `bodies` of `scratch` then.

    `scenario` is what it is judged by, None for one that is from a baseline.
    """
    transcript = read_transcript(file.path)
    if not transcript.outcome:
        raise UsageError(f"{file.path} broke off: a baseline is made of whole runs")
    text = file.path.read_text(encoding="utf-8")
    if file.moment is not None:
        text = _without_place(text, str(transcript.header["target"]["name"]))
        transcript = transcript_of(text.split("\n"), file.path)
    large = file.path.parent / str(file.header["bodies"])
    lines = _with_bodies(text, large, scratch / "bodies", whole=False).split("\n")
    place = scratch / "transcripts" / transcript_name(transcript.scenario)
    place.parent.mkdir(parents=True, exist_ok=True)
    if file.moment is not None:
        lines = reduce(lines, transcript, file.moment)
    is_reduced = _joined(lines) == text or _is_alike(transcript, transcript_of(lines, place), scenario)
    if not is_reduced:
        lines = without_search_path(_with_bodies(text, large, scratch / "bodies", whole=True).split("\n"))
    text = _joined(lines)
    return _Reduced(
        scenario=transcript.scenario,
        data=text.encode(),
        bodies=frozenset(_BODY.findall(text)),
        verdict=str(transcript.outcome.get("verdict", "")),
        places=_places(transcript),
        target=json.loads(text.partition("\n")[0])["target"],
        is_reduced=is_reduced,
    )


def _is_alike(transcript: Transcript, reduced: Transcript, scenario: Scenario | None) -> bool:
    """Say whether a comparison sees the same in both transcripts, and the judge too: `sixhops matrix` judges baselines."""
    return is_faithful(transcript, reduced) and (
        scenario is None
        or not transcript.exchanges
        or _judged(scenario, transcript) == _judged(scenario, reduced)
    )


def _judged(scenario: Scenario, transcript: Transcript) -> tuple[Status, list[tuple[int, str]]]:
    """Return the verdict, and the step and facet of each failure."""
    saved = transcript.header["variables"]
    scope = make_scope(scenario, saved["images"], saved["target"], saved["scenario"]["unique"])
    verdict = judge(scenario, transcript.exchanges, scope)
    return verdict.status, [(failure.step, failure.facet) for failure in verdict.mismatches]


def _joined(lines: Iterable[str]) -> str:
    return "\n".join([*(line for line in lines if line), ""])


def _without_place(text: str, target: str) -> str:
    """Return a transcript's text without the place on the recording machine where the target's tree is."""
    _, _, tree = target.partition("@")
    name = tree.rstrip("/").rpartition("/")[2]
    before, stands = _TREE
    return re.sub(rf"{before}{re.escape(name)}(?![\w.+-])", stands + name, text) if name else text


def _with_bodies(text: str, source: Path, target: Path, *, whole: bool) -> str:
    """Put a transcript's bodies from `source` into `target`, archives only `whole` with what is in them; return its text."""
    bodies = Bodies(target)
    for digest in sorted(set(_BODY.findall(text))):
        data = (source / digest).read_bytes()
        less = without_contents(data, _CONTENT) if is_archive(data) and not whole else None
        placed = bodies.put(data if less is None else less)
        before, after = (
            json.dumps({"sha256": name, "length": length})[:-1]
            for name, length in ((digest, len(data)), (placed["sha256"], placed["length"]))
        )
        text = text.replace(before, after)
    return text


def _places(transcript: Transcript) -> tuple[str, ...]:
    """Return where it failed, foreseen by a profile or not, in the words of results.json."""
    places = [
        f"step {step + 1} {failure['facet']}".rstrip()
        for step, judgement in sorted(transcript.judgements.items())
        for failure in judgement.failures
    ]
    places += ["left behind"] if transcript.outcome.get("leftovers") else []
    return tuple(dict.fromkeys(places))
