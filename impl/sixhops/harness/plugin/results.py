"""What a run leaves on disk: one transcript for each scenario, and results.json that says what came of them.

    results/<run>/results.json
    results/<run>/transcripts/engine/containers/create-conflict.jsonl

A transcript is JSON lines, so that it can be read while it grows: first a header with the format's version,
the scenario and the target; then an exchange a line, bytes as `{"$bytes": base64}`; last the verdict.
docs/results.md has the fields.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.exchange import from_json, to_json
from sixhops.harness.run.transcript import dump, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sixhops.harness.exchange import Exchange
    from sixhops.harness.plugin.outcome import Outcome
    from sixhops.harness.scenario.variables import Scope
    from sixhops.harness.target import TargetFacts

__all__ = ["FORMAT", "read_transcript", "write_results", "write_transcript"]

FORMAT = 1
"""Version of both formats; it changes when a reader of the old one would misread the new."""

# What a replay can't know by itself; rows and `vars` are the scenario file's.
_SAVED_ROOTS = ("images", "target", "scenario")


def write_transcript(
    folder: Path,
    name: str,
    outcome: Outcome,
    facts: TargetFacts,
    exchanges: Iterable[Exchange],
    *,
    scope: Scope | None = None,
    logs: Mapping[str, str] | None = None,
) -> Path:
    """Write the transcript of one scenario below `folder` and return its path.

    `name` is the scenario's id (or that of one of its repetitions); what a file name can't hold is
    percent-encoded. `scope` is the one that the scenario started with (None: it was not run); `logs` what each
    program logged while the first failed step ran.
    """
    path = folder / "transcripts" / f"{quote(name, safe='/[]=,+@')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "sixhops-transcript": FORMAT,
        "scenario": outcome.id,
        "path": outcome.path,
        "title": outcome.title,
        "target": _facts(facts),
        "variables": None if scope is None else to_json({name: scope.values[name] for name in _SAVED_ROOTS}),
    }
    footer = {key: value for key, value in outcome.to_data().items() if key not in ("text", "transcript")}
    footer["logs"] = dict(logs or {})
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(header, ensure_ascii=False) + "\n")
        file.write(dump(exchanges))
        file.write(json.dumps({"outcome": footer}, ensure_ascii=False) + "\n")
    return path


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


def read_transcript(path: Path) -> tuple[dict[str, Any], list[Exchange], dict[str, Any]]:
    """Return a transcript's header, its exchanges, and the outcome's data (empty when the run broke off).

    Raises ScenarioError when the file is not a transcript of this format.
    """
    try:
        # Not splitlines: a log line may hold one of the other characters that it takes for the end of a line.
        header, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        head = json.loads(header)
        if head["sixhops-transcript"] != FORMAT:
            raise ValueError(f"format {head['sixhops-transcript']!r}")
        outcome: dict[str, Any] = {}
        if lines and lines[-1].startswith('{"outcome"'):
            outcome = json.loads(lines.pop())["outcome"]
        head["variables"] = from_json(head.get("variables"))
        return head, load("\n".join(lines)), outcome
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"not a transcript of format {FORMAT}: {error}", Mark(str(path), 1, 1)) from error


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
