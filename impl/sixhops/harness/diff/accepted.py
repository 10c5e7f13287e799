"""Differences that are accepted, each with a reason: the files in scenarios/diff/. docs/diff.md is the manual.

Two kinds. `differences` hold between two kinds of targets and are strict: one that no longer occurs is an error, so the list
stays true. `varies` is what one and the same target does now this way, now that: it may occur between any two runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sixhops.harness.documents import Node, concerns, finder, nearest, read_document
from sixhops.harness.errors import Mark, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sixhops.harness.diff.model import Difference
    from sixhops.harness.scenario.model import Scenario

__all__ = ["Accepted", "Comparison", "Entry", "Sorted", "check_accepted", "load_accepted", "sort_out"]

_ROLES = ("docker", "dockerd", "registry", "containerd", "shim", "runc")
_ENTRY_KEYS = ("scenario", "step", "hop", "message", "field", "kind", "reason", "ref")
_KINDS = ("changed", "missing", "added", "order", "identity", "moved")


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted difference: globs for where it is. `scenarios` and `fields` are several, each of which must occur.

    `kinds` are those that it may be of; none: any.
    """

    scenarios: tuple[str, ...]
    step: str
    hops: tuple[str, ...]
    messages: tuple[str, ...]
    fields: tuple[str, ...]
    kinds: tuple[str, ...]
    reason: str
    ref: str
    mark: Mark

    def covers(self, difference: Difference) -> list[tuple[str, str]]:
        """Return which pairs of its scenario and field patterns mean the difference; none when it is another one."""
        fits = (
            (self.step == str(difference.step + 1) or concerns(self.step, difference.step_name))
            and any(fnmatchcase(difference.hop, hop) for hop in self.hops)
            and any(concerns(message, difference.message) for message in self.messages)
            and (not self.kinds or difference.kind in self.kinds)
        )
        if not fits:
            return []
        return [
            (scenario, path)
            for scenario in self.scenarios
            if concerns(scenario, difference.scenario)
            for path in self.fields
            if fnmatchcase(difference.path, path)
        ]


@dataclass(frozen=True, slots=True)
class Accepted:
    """One file. `a` and `b` say for which targets its differences hold, in either order: makers by role, and `engine`."""

    a: dict[str, str]
    b: dict[str, str]
    differences: tuple[Entry, ...]
    varies: tuple[Entry, ...]
    mark: Mark

    def applies(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
        """Say whether two targets are meant; each as a transcript's header describes it."""
        return bool(self.differences) and (
            (_fits(self.a, a) and _fits(self.b, b)) or (_fits(self.a, b) and _fits(self.b, a))
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario's comparison: the targets, the hops that both could see, and the differences."""

    scenario: str
    a: dict[str, Any]
    b: dict[str, Any]
    unseen: dict[str, str]
    differences: tuple[Difference, ...]


@dataclass(slots=True)
class Sorted:
    """Differences sorted out: `news`, and what is accepted with the entry that says so; `stale` are errors as text."""

    news: list[Difference] = field(default_factory=list)
    accepted: list[tuple[Difference, Entry]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


def sort_out(
    comparisons: Sequence[Comparison], files: Iterable[Accepted], all_scenarios: Iterable[str]
) -> Sorted:
    """Return the differences by whether they are accepted, and the entries that no longer occur.

    An entry is judged only when all scenarios that it means, out of `all_scenarios`, were compared with its hops
    observed: with all of them, if it says none.
    """
    listed, known = list(files), list(all_scenarios)
    result = Sorted()
    occurred: set[tuple[int, str, str]] = set()
    strict: dict[int, Entry] = {}
    may_occur: dict[int, set[str]] = {}
    for comparison in comparisons:
        holding = [e for file in listed if file.applies(comparison.a, comparison.b) for e in file.differences]
        for entry in holding:
            strict[id(entry)] = entry
            if not any(fnmatchcase(hop, glob) for hop in comparison.unseen for glob in entry.hops):
                may_occur.setdefault(id(entry), set()).add(comparison.scenario)
        entries = [*holding, *(entry for file in listed for entry in file.varies)]
        for difference in comparison.differences:
            covering = [(entry, entry.covers(difference)) for entry in entries]
            covering = [(entry, places) for entry, places in covering if places]
            occurred.update((id(entry), *place) for entry, places in covering for place in places)
            if covering:
                result.accepted.append((difference, covering[0][0]))
            else:
                result.news.append(difference)
    for number, entry in strict.items():
        result.stale += _stale(
            entry, known, may_occur.get(number, set()), {o[1:] for o in occurred if o[0] == number}
        )
    return result


def _stale(entry: Entry, known: list[str], compared: set[str], occurred: set[tuple[str, str]]) -> list[str]:
    meant = {
        scenario for scenario in known if any(concerns(pattern, scenario) for pattern in entry.scenarios)
    }
    if not meant or not meant <= compared:
        return []
    parts = [
        *(f"in {pattern}" for pattern in entry.scenarios if all(seen != pattern for seen, _ in occurred)),
        *(f"at {path}" for path in entry.fields if all(seen != path for _, seen in occurred)),
    ]
    if not parts:
        return []
    where = f" {', '.join(parts)}" if occurred else ""
    return [f"{entry.mark}: an accepted difference did not occur{where}: {entry.reason}"]


def _fits(wanted: Mapping[str, str], target: Mapping[str, Any]) -> bool:
    version = str(target["engine_version"])
    for key, value in wanted.items():
        if key == "engine":
            if not (version == value or version.startswith(f"{value}.") or fnmatchcase(version, value)):
                return False
        elif target["programs"].get(key) != value:
            return False
    return True


def load_accepted(folder: Path) -> tuple[list[Accepted], list[ScenarioError]]:
    """Read every `*.yaml` in `folder`; return the files and all errors, each with its place."""
    files: list[Accepted] = []
    errors: list[ScenarioError] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            files.append(_file(read_document(path)))
        except ScenarioError as error:
            errors.append(error)
    return files, errors


def _file(document: Node) -> Accepted:
    fields = document.mapping(("a", "b", "differences", "varies"), what="a file of accepted differences")
    sides = [_side(fields[name]) if name in fields else {} for name in ("a", "b")]
    entries = [
        tuple(map(_entry, fields[name].items(what=name))) if name in fields else ()
        for name in ("differences", "varies")
    ]
    if entries[0] and not all(sides):
        raise ScenarioError(
            "differences hold between two kinds of targets: say which in 'a' and 'b'", document.mark
        )
    return Accepted(sides[0], sides[1], entries[0], entries[1], document.mark)


def _side(node: Node) -> dict[str, str]:
    side = {}
    for key, item in node.mapping(("engine", *_ROLES), what="a side").items():
        side[key] = item.filled_text(key)
        if key != "engine" and side[key] not in {"upstream", "reference"}:
            raise ScenarioError(f"{key} must be upstream or reference, not {side[key]!r}", item.mark)
    if not side:
        raise ScenarioError("a side needs a role or 'engine'", node.mark)
    return side


def _entry(node: Node) -> Entry:
    fields = node.mapping(_ENTRY_KEYS, what="an accepted difference")
    if "reason" not in fields:
        raise ScenarioError("an accepted difference needs 'reason'", node.mark)
    if not {"scenario", "message", "field"} & fields.keys():
        raise ScenarioError("an accepted difference needs one of scenario, message, field", node.mark)

    def text(name: str) -> str:
        return fields[name].filled_text(name) if name in fields else "*"

    step = str(fields["step"].value) if "step" in fields and fields["step"].is_a(int) else text("step")
    kinds = _texts(fields, "kind") if "kind" in fields else ()
    for kind in kinds:
        if kind not in _KINDS:
            raise ScenarioError(f"{kind!r} is no kind; kinds are {', '.join(_KINDS)}", fields["kind"].mark)
    return Entry(
        scenarios=_texts(fields, "scenario"),
        step=step,
        hops=_texts(fields, "hop"),
        messages=_texts(fields, "message"),
        fields=_texts(fields, "field"),
        kinds=kinds,
        reason=fields["reason"].filled_text("reason"),
        ref=fields["ref"].filled_text("ref") if "ref" in fields else "",
        mark=node.mark,
    )


def _texts(fields: dict[str, Node], name: str) -> tuple[str, ...]:
    if name not in fields:
        return ("*",)
    node = fields[name]
    if not node.is_a(list):
        return (node.filled_text(name),)
    found = tuple(item.filled_text(name) for item in node.items())
    if not found:
        raise ScenarioError(f"{name} has no element", node.mark)
    return found


def check_accepted(files: Iterable[Accepted], scenarios: Sequence[Scenario]) -> list[ScenarioError]:
    """Return an error for each entry that speaks of no scenario, or of none of its steps."""
    errors = []
    find = finder(scenarios, attrgetter("id"))
    for entry in (entry for file in files for entry in (*file.differences, *file.varies)):
        concerned: list[Scenario] = []
        for pattern in entry.scenarios:
            meant = find(pattern)
            if not meant:
                hint = nearest(pattern, (scenario.id for scenario in scenarios))
                errors.append(ScenarioError(f"no scenario is called {pattern!r}{hint}", entry.mark))
            concerned += meant
        steps = [step for scenario in concerned for step in (*scenario.steps, *scenario.cleanup)]
        named = any(concerns(entry.step, step.name) or str(step.index + 1) == entry.step for step in steps)
        if steps and not named:
            hint = nearest(entry.step, (step.name for step in steps))
            errors.append(ScenarioError(f"no step is called {entry.step!r}{hint}", entry.mark))
    return errors
