"""What a run leaves on disk: one transcript for each scenario, and results.json that says what came of them.

    results/<run>/results.json
    results/<run>/transcripts/engine/containers/create-conflict.jsonl

How a transcript is written is `run.transcript`'s; here is what goes into it besides exchanges. docs/results.md has the
fields.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sixhops.harness.run.transcript import TranscriptWriter
from sixhops.harness.scenario.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sixhops.harness.plugin.outcome import Outcome
    from sixhops.harness.scenario.model import Scenario
    from sixhops.harness.scenario.variables import Scope
    from sixhops.harness.target import TargetFacts

__all__ = ["FORMAT", "open_transcript", "outcome_data", "saved_variables", "transcript_name", "write_results"]

FORMAT = 1
"""Version of results.json; it changes when a reader of the old one would misread the new."""

# What a replay can't know by itself; rows and `vars` are the scenario file's.
_SAVED_ROOTS = ("images", "target", "scenario")


def transcript_name(name: str) -> str:
    """Return a scenario's (or repetition's) file below `transcripts`: what a file name can't hold is percent-encoded."""
    return f"{quote(name, safe='/[]=,+@')}.jsonl"


def open_transcript(folder: Path, name: str, scenario: Scenario, facts: TargetFacts) -> TranscriptWriter:
    """Return the writer of one scenario's transcript below `folder`; nothing is written yet.

    `name` is the scenario's id (or that of one of its repetitions).
    """
    path = folder / "transcripts" / transcript_name(name)
    header = {
        "scenario": scenario.id,
        "path": f"{scenario.mark.path}:{scenario.mark.line}",
        "title": scenario.title,
        "digest": digest_of(scenario),
        "hop": scenario.hop,
        "target": _facts(facts),
    }
    return TranscriptWriter(path, folder / "bodies", header)


def saved_variables(scope: Scope) -> dict[str, Any]:
    """Return what of a scenario's first scope a replay can't know by itself."""
    return {name: scope.values[name] for name in _SAVED_ROOTS}


def outcome_data(outcome: Outcome, logs: Mapping[str, str]) -> dict[str, Any]:
    """Return a transcript's last line; `logs` is what each program logged while the first failed step ran."""
    data = {key: value for key, value in outcome.to_data().items() if key not in ("text", "transcript")}
    return {**data, "logs": dict(logs)}


def _facts(facts: TargetFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "engine_version": facts.engine_version,
        "api": [".".join(map(str, facts.api_minimum)), ".".join(map(str, facts.api_maximum))],
        "root": facts.root,
        "cgroup_version": facts.cgroup_version,
        "operating_system": facts.operating_system,
        "architecture": facts.architecture,
        "programs": facts.programs,
        "hops": {str(hop): reason for hop, reason in facts.hops.items()},
    }


def write_results(
    folder: Path,
    *,
    target: str,
    code: int,
    started: float,
    outcomes: Sequence[Outcome],
    problems: Sequence[str],
) -> Path:
    """Write results.json and return its path.

    `code` is the exit code, `started` seconds since the epoch; `problems` are what made the run as a whole
    fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.verdict] = counts.get(outcome.verdict, 0) + 1
    results = {
        "format": FORMAT,
        "run": folder.name,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "target": target,
        "exit": int(code),
        "counts": counts,
        "problems": list(problems),
        "scenarios": [
            {key: value for key, value in outcome.to_data().items() if key != "text"}
            for outcome in sorted(outcomes, key=lambda item: item.id)
        ],
    }
    path = folder / "results.json"
    path.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path
