"""Saved transcripts, judged again without an engine: the same judge and the same words as in the live run.

A transcript has what was seen and the variables that the run began with; the scenario's file says what is
expected, as it stands now. So a changed expectation can be tried on runs of yesterday.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import Mark, ScenarioError, ScenarioErrors, UsageError
from sixhops.harness.judge import Status, Verdict, judge
from sixhops.harness.plugin.profile import rules_of
from sixhops.harness.plugin.results import outcome_data
from sixhops.harness.plugin.rules import stale_rules
from sixhops.harness.plugin.verdicts import assess
from sixhops.harness.run.result import ScenarioRun
from sixhops.harness.run.transcript import read_transcript
from sixhops.harness.scenario.model import Hop
from sixhops.harness.scenario.variables import make_scope
from sixhops.harness.target import TargetFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.exchange import Exchange
    from sixhops.harness.plugin.library import Library
    from sixhops.harness.plugin.outcome import Outcome
    from sixhops.harness.plugin.profile import Profile
    from sixhops.harness.scenario.model import Scenario
    from sixhops.harness.scenario.variables import Scope

__all__ = [
    "Recording",
    "judge_again",
    "load_recording",
    "newest_run",
    "stale_of",
    "transcript_files",
    "write_again",
]


@dataclass(frozen=True, slots=True)
class Recording:
    """One saved run of a scenario. `scope` is the one that it started with, None when it was not run.

    `verdict` is the word that was recorded, empty for a run that broke off; `skipped` why it was not run.
    """

    file: Path
    scenario: Scenario
    facts: TargetFacts
    scope: Scope | None
    exchanges: list[Exchange]
    verdict: str = ""
    skipped: str | None = None
    seconds: float = 0.0
    leftovers: tuple[str, ...] = ()
    logs: dict[str, str] | None = None


def newest_run(results: Path) -> Path:
    """Return the newest run below `results` that has transcripts. Raises UsageError when there is none."""
    runs = [path for path in results.glob("*") if (path / "transcripts").is_dir()]
    if not runs:
        raise UsageError(f"there is no run with transcripts in {results}")
    return max(runs, key=lambda path: path.name)


def transcript_files(names: Iterable[Path]) -> list[Path]:
    """Return the transcripts that `names` mean: files, or folders with files that end in .jsonl.

    Raises UsageError for a name that does not exist.
    """
    files: dict[Path, None] = {}
    for name in names:
        if not name.exists():
            raise UsageError(f"no such transcript or folder: {name}")
        files.update(dict.fromkeys(sorted(name.rglob("*.jsonl")) if name.is_dir() else [name]))
    return list(files)


def load_recording(file: Path, library: Library) -> Recording:
    """Return the run in `file`, with its scenario as `library` has it now.

    Raises ScenarioError when the file is no transcript, was written before variables were saved, or is of a
    scenario that is malformed or no longer there.
    """
    transcript = read_transcript(file)
    head, exchanges, outcome = transcript.header, transcript.exchanges, transcript.outcome
    at = Mark(str(file), 1, 1)
    try:
        scenario = _scenario(head, library, at)
        facts = _facts(head["target"], head["variables"])
        skips = tuple(outcome.get("skips", ()))
        verdict, seconds = str(outcome.get("verdict", "")), float(outcome.get("seconds", 0.0))
    except (KeyError, TypeError, ValueError) as error:
        raise ScenarioError(f"the transcript's header or outcome lacks something: {error!r}", at) from error
    skipped = "; ".join(skips) if verdict == "skipped" and not exchanges else None
    scope = None
    if skipped is None:
        saved = head["variables"]
        if not isinstance(saved, dict):
            raise ScenarioError(
                "the transcript has no variables: a sixhops that did not save them wrote it", at
            )
        scope = make_scope(scenario, saved["images"], saved["target"], saved["scenario"]["unique"])
    return Recording(
        file=file,
        scenario=scenario,
        facts=facts,
        scope=scope,
        exchanges=exchanges,
        verdict=verdict,
        skipped=skipped,
        seconds=seconds,
        leftovers=tuple(outcome.get("leftovers", ())),
        logs=outcome.get("logs"),
    )


def judge_again(recording: Recording, profiles: Iterable[Profile]) -> Outcome:
    """Return the outcome of a saved run by today's scenario and by the engine `profiles`.

    Raises ScenarioError when the scenario no longer fits (a step that it had, a variable that it used).
    """
    scope = recording.scope
    verdict = (
        Verdict(Status.SKIPPED) if scope is None else judge(recording.scenario, recording.exchanges, scope)
    )
    run = ScenarioRun(
        recording.exchanges,
        verdict,
        leftovers=list(recording.leftovers),
        skipped=recording.skipped,
        scope=scope,
    )
    return assess(
        recording.scenario,
        run,
        recording.facts,
        profiles,
        logs=recording.logs or {},
        seconds=recording.seconds,
    )


def stale_of(judged: Iterable[tuple[Recording, Outcome]], library: Library) -> list[str]:
    """Return a sentence for each rule of a profile that occurred in no scenario of a run on the engine that it is for.

    Only where the recordings have all that the rule means.
    """
    runs: dict[str, list[tuple[Recording, Outcome]]] = {}
    for recording, outcome in judged:
        runs.setdefault(recording.facts.name, []).append((recording, outcome))
    stale = []
    for pairs in runs.values():
        rules = rules_of(library.profiles, pairs[0][0].facts)
        used = {known.rule for _recording, outcome in pairs for known in outcome.known}
        reported = {outcome.id for _recording, outcome in pairs}
        if rules:
            stale += stale_rules(rules, used, reported, library.everything())
    return stale


def write_again(recording: Recording, outcome: Outcome) -> None:
    """Put what `judge_again` said into the transcript, as its last line. Raises OSError."""
    lines = recording.file.read_text(encoding="utf-8").splitlines()
    saved = json.loads(lines.pop())["outcome"] if recording.verdict else {}
    data = {"outcome": {**outcome_data(outcome, {}), "logs": saved.get("logs", {})}}
    text = "\n".join([*lines, json.dumps(data, ensure_ascii=False)]) + "\n"
    temporary = recording.file.with_name(f".{recording.file.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(recording.file)


def _scenario(head: dict[str, Any], library: Library, at: Mark) -> Scenario:
    name = str(head["scenario"])
    file = library.root / f"{name.partition('[')[0]}.yaml"
    if not file.is_file():
        # A user's own scenario outside the root has only its file name as its id.
        file = Path(str(head["path"]).rpartition(":")[0])
    before = len(library.errors)
    found = library.file(file) if file.is_file() else []
    if len(library.errors) > before:
        raise ScenarioErrors(library.errors[before:])
    scenario = next((scenario for scenario in found if scenario.id == name), None)
    if scenario is None:
        raise ScenarioError(f"it is a run of {name}, and there is no such scenario", at)
    return scenario


def _facts(data: dict[str, Any], variables: dict[str, Any] | None) -> TargetFacts:
    low, high = (tuple(map(int, text.split("."))) for text in data["api"])
    return TargetFacts(
        name=data["name"],
        engine_version=data["engine_version"],
        api_minimum=(low[0], low[1]),
        api_maximum=(high[0], high[1]),
        root=data["root"],
        cgroup_version=data["cgroup_version"],
        operating_system=data["operating_system"],
        architecture=data["architecture"],
        programs=data["programs"],
        hops={Hop(hop): reason for hop, reason in data["hops"].items()},
        variables=(variables or {}).get("target", {}),
    )
