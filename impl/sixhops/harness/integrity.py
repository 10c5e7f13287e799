"""What makes a green run mean something: nothing planned goes unreported, nothing shrinks unnoticed, one exit
code.

A run can only get worse: each problem adds an exit code, and the worst one wins (`worst_exit`).
docs/exit-codes.md explains the codes to users; the pytest plugin and the command line both take them from
here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import yaml

from sixhops.harness.documents import read_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "Counts",
    "Exit",
    "compare_counts",
    "read_counts",
    "target_kind",
    "unreported",
    "worst_exit",
    "write_counts",
]

_HEADER = """\
# How many scenarios a full run has on each kind of target, and how often it may skip for which reason.
# Fewer scenarios or more skips than this make the run fail; --accept-counts on a full run rewrites the entry.
"""


class Exit(IntEnum):
    """The exit code of every command of ours; the numbers are pytest's."""

    OK = 0
    FAILED = 1
    INTERRUPTED = 2
    INTERNAL = 3
    USAGE = 4
    NOTHING = 5


_FROM_WORST = (Exit.INTERNAL, Exit.INTERRUPTED, Exit.USAGE, Exit.FAILED, Exit.NOTHING, Exit.OK)


def worst_exit(codes: Iterable[int]) -> Exit:
    """Return the worst of `codes`: 3 before 2, 4, 1, 5 and 0; none at all are 0, a foreign code is 3."""
    known = {Exit(code) if code in tuple(Exit) else Exit.INTERNAL for code in codes}
    return next((code for code in _FROM_WORST if code in known), Exit.OK)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a full run has on one kind of target: scenarios, and skips by reason (scenarios, expectations)."""

    scenarios: int
    skips: dict[str, int] = field(default_factory=dict)


def target_kind(target: str) -> str:
    """Return under which name counts are recorded: a stack's own, or `endpoint` for what has an address."""
    return "endpoint" if ":" in target else target


def unreported(planned: Iterable[str], reported: Iterable[str]) -> list[str]:
    """Return what was planned and has no verdict, in the order of the plan."""
    done = set(reported)
    return [name for name in planned if name not in done]


def read_counts(path: Path) -> dict[str, Counts]:
    """Return the recorded counts by kind of target; none when the file does not exist.

    Raises ScenarioError with the place of whatever is malformed.
    """
    if not path.exists():
        return {}
    counts = {}
    for kind, node in read_document(path).mapping(what="the counts file").items():
        fields = node.mapping(("scenarios", "skips"), what=f"counts of {kind}")
        scenarios = fields["scenarios"].number(what="scenarios") if "scenarios" in fields else 0
        skips = fields["skips"].mapping(what="skips") if "skips" in fields else {}
        counts[kind] = Counts(scenarios, {reason: item.number(what=reason) for reason, item in skips.items()})
    return counts


def write_counts(path: Path, kind: str, counts: Counts) -> None:
    """Record `counts` as what is expected of `kind` from now on; other kinds stay as they are."""
    recorded = {**read_counts(path), kind: counts}
    data = {
        name: {
            "scenarios": entry.scenarios,
            **({"skips": dict(sorted(entry.skips.items()))} if entry.skips else {}),
        }
        for name, entry in sorted(recorded.items())
    }
    text = _HEADER + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def compare_counts(recorded: Mapping[str, Counts], kind: str, seen: Counts) -> list[str]:
    """Return what is worse than recorded, one sentence each; an endpoint without a record is not judged."""
    expected = recorded.get(kind)
    if expected is None:
        if kind == "endpoint" or not recorded:
            return []
        return [
            f"no counts are recorded for the target {kind!r}; a full run with --accept-counts records them"
        ]
    problems = []
    if seen.scenarios < expected.scenarios:
        problems.append(f"{seen.scenarios} scenarios, but {expected.scenarios} are recorded for {kind}")
    for reason, count in sorted(seen.skips.items()):
        allowed = expected.skips.get(reason, 0)
        if count > allowed:
            problems.append(f"{count} skips, but {allowed} are recorded for {kind}: {reason}")
    return problems
