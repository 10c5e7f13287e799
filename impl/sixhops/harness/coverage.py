"""The registry of requirements, and which of them the scenarios cover.

A requirement is one thing that a specification or an observed engine promises, with an id such as
`engine-api/ContainerCreate/404`. Scenarios name ids in `refs`; a name that is not registered is an error,
because a typing mistake would otherwise look like coverage. What has children (`engine-api/ContainerCreate`)
is a group: a scenario may name it, which covers the operation as a whole and none of its children.
docs/requirements.md is the manual.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.harness.documents import Node, nearest, read_document, shown_path
from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario.model import Hop, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Covered",
    "Level",
    "Registry",
    "Requirement",
    "check_refs",
    "cover",
    "load_requirements",
    "normalise",
    "operations_of",
    "read_seen",
]

_FILE_KEYS = ("prefix", "hop", "source", "version", "requirements", "operations")
_REQUIREMENT_KEYS = ("level", "text", "source", "version")
_OPERATION_KEYS = ("method", "path", "statuses")
_METHODS = ("get", "head", "post", "put", "patch", "delete")


class Level(StrEnum):
    """How binding a requirement is: its source demands it, recommends it, or an engine merely does it."""

    MUST = "must"
    SHOULD = "should"
    OBSERVED = "observed"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a scenario can show. `hop` is a hop's name, or `walkthrough` for the path as a whole."""

    id: str
    hop: str
    level: Level
    source: str
    version: str
    text: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Registry:
    """All requirements by id, and the ids that only group others."""

    requirements: dict[str, Requirement] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()

    def __contains__(self, reference: str) -> bool:
        return reference in self.requirements or reference in self.groups


@dataclass(frozen=True, slots=True)
class Covered:
    """A requirement, the scenarios that name it, and the engines on which one of them has passed."""

    requirement: Requirement
    scenarios: tuple[str, ...]
    engines: tuple[str, ...]


def normalise(reference: str) -> str:
    """Return a reference as it is registered: the shorthand `engine-api:X` stands for `engine-api/X`."""
    return reference.replace(":", "/", 1)


def load_requirements(folder: Path) -> tuple[Registry, list[ScenarioError]]:
    """Read every `*.yaml` in `folder`; return the registry and all errors, each with its place."""
    requirements: dict[str, Requirement] = {}
    errors: list[ScenarioError] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found = list(_requirements_of(read_document(path)))
        except ScenarioError as error:
            errors.append(error)
            continue
        for requirement in found:
            other = requirements.setdefault(requirement.id, requirement)
            if other is not requirement:
                message = f"requirement {requirement.id!r} is already defined at {other.mark}"
                errors.append(ScenarioError(message, requirement.mark))
    parents = {identifier.rsplit("/", 1)[0] for identifier in requirements}
    groups = frozenset(parent for parent in parents if "/" in parent and parent not in requirements)
    return Registry(requirements, groups), errors


def _requirements_of(document: Node) -> Iterable[Requirement]:
    fields = document.mapping(_FILE_KEYS, what="a requirement file")
    for key in ("prefix", "hop", "source", "version"):
        if key not in fields:
            raise ScenarioError(f"a requirement file needs {key!r}", document.mark)
    hop = fields["hop"].filled_text("hop")
    known_hops = (*map(str, Hop), "walkthrough")
    if hop not in known_hops:
        raise ScenarioError(f"no such hop: {hop!r}{nearest(hop, known_hops)}", fields["hop"].mark)
    prefix, source, version = (fields[key].filled_text(key) for key in ("prefix", "source", "version"))
    if "requirements" in fields:
        for name, node in fields["requirements"].mapping(what="requirements").items():
            yield _requirement(f"{prefix}/{name}", node, hop, source, version)
    if "operations" in fields:
        for name, node in fields["operations"].mapping(what="operations").items():
            yield from _operation(f"{prefix}/{name}", node, hop, source, version)


def _requirement(identifier: str, node: Node, hop: str, source: str, version: str) -> Requirement:
    fields = node.mapping(_REQUIREMENT_KEYS, what=f"requirement {identifier}")
    if "level" not in fields or "text" not in fields:
        raise ScenarioError(f"requirement {identifier} needs level and text", node.mark)
    level = fields["level"].filled_text("level")
    if level not in tuple(Level):
        raise ScenarioError(f"level must be one of {', '.join(Level)}, not {level!r}", fields["level"].mark)
    return Requirement(
        identifier,
        hop,
        Level(level),
        fields["source"].filled_text("source") if "source" in fields else source,
        fields["version"].filled_text("version") if "version" in fields else version,
        fields["text"].filled_text("text"),
        node.mark,
    )


def _operation(identifier: str, node: Node, hop: str, source: str, version: str) -> Iterable[Requirement]:
    fields = node.mapping(_OPERATION_KEYS, what=f"operation {identifier}")
    missing = [key for key in _OPERATION_KEYS if key not in fields]
    if missing:
        raise ScenarioError(f"operation {identifier} needs {', '.join(missing)}", node.mark)
    line = f"{fields['method'].filled_text('method')} {fields['path'].filled_text('path')}"
    seen: set[int] = set()
    for status_node in fields["statuses"].items(what="statuses"):
        status = status_node.number(what="a status")
        if status in seen:
            raise ScenarioError(f"status {status} stands twice in {identifier}", status_node.mark)
        seen.add(status)
        phrase = (
            HTTPStatus(status).phrase if status in {code.value for code in HTTPStatus} else "its own status"
        )
        # A server error is documented for every operation, yet nobody promises to fail.
        level = Level.SHOULD if status >= 500 else Level.MUST
        text = f"{line} answers {status} ({phrase})"
        yield Requirement(f"{identifier}/{status}", hop, level, source, version, text, status_node.mark)


def check_refs(scenarios: Iterable[Scenario], registry: Registry) -> list[ScenarioError]:
    """Return an error for each reference of `scenarios` that is unknown, or named twice by one scenario.

    A scenario's rows share their file's refs; each file is looked at once.
    """
    errors: list[ScenarioError] = []
    files: set[str] = set()
    for scenario in scenarios:
        if scenario.path in files:
            continue
        files.add(scenario.path)
        named: set[str] = set()
        for reference in scenario.refs:
            identifier = normalise(reference)
            if identifier not in registry:
                hint = nearest(identifier, (*registry.requirements, *registry.groups))
                message = f"refs: unknown requirement {reference!r}{hint}"
                errors.append(ScenarioError(message, _place(scenario, reference)))
            elif identifier in named:
                errors.append(ScenarioError(f"refs: {reference!r} stands twice", _place(scenario, reference)))
            named.add(identifier)
    return errors


def _place(scenario: Scenario, reference: str) -> Mark:
    # The model keeps no place for each reference, and only an error needs it: look for the last one in the
    # file.
    try:
        lines = Path(scenario.mark.path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return scenario.mark
    places = [
        Mark(scenario.mark.path, number, line.index(reference) + 1)
        for number, line in enumerate(lines, 1)
        if reference in line and not line.lstrip().startswith("#")
    ]
    return places[-1] if places else scenario.mark


def cover(
    registry: Registry, scenarios: Iterable[Scenario], seen: Mapping[str, Iterable[str]]
) -> list[Covered]:
    """Return every requirement in order of id with what covers it.

    `seen` maps a scenario id to the engines on which it has passed (see `read_seen`).
    """
    naming: dict[str, list[str]] = {}
    for scenario in scenarios:
        for reference in scenario.refs:
            naming.setdefault(normalise(reference), []).append(scenario.id)
    covered = []
    for identifier, requirement in sorted(registry.requirements.items()):
        by = naming.get(identifier, [])
        engines = sorted({engine for scenario in by for engine in seen.get(scenario, ())})
        covered.append(Covered(requirement, tuple(by), tuple(engines)))
    return covered


def read_seen(paths: Sequence[Path]) -> dict[str, set[str]]:
    """Return the engines on which each scenario has passed, by scenario id, from result files
    (`results.json`).

    Raises ScenarioError naming a file that is not a result file of a known format: a damaged file must not
    look like an engine that was never tried.
    """
    seen: dict[str, set[str]] = {}
    for path in paths:
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            if results["format"] != 1:
                raise ValueError(f"format {results['format']!r}")
            for entry in results["scenarios"]:
                if entry["verdict"] == "passed":
                    seen.setdefault(entry["id"], set()).add(entry["engine"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            mark = Mark(shown_path(path), 1, 1)
            raise ScenarioError(f"not a result file of format 1: {error!r}", mark) from error
    return seen


def operations_of(swagger: Any) -> dict[str, dict[str, Any]]:
    """Return the facts of an OpenAPI 2 document: by operationId its method, path and documented status codes.

    These are the `operations` of a requirement file. Raises ScenarioError when `swagger` is no such document.
    """
    paths = swagger.get("paths") if isinstance(swagger, dict) else None
    if not isinstance(paths, dict) or "swagger" not in swagger:
        raise ScenarioError("not an OpenAPI 2 document: it has no `swagger` and `paths`")
    operations: dict[str, dict[str, Any]] = {}
    for path, methods in paths.items():
        for method in _METHODS:
            operation = methods.get(method)
            if operation is None:
                continue
            statuses = sorted(int(status) for status in operation["responses"] if str(status).isdigit())
            name = operation["operationId"]
            if name in operations:
                raise ScenarioError(f"operation {name!r} stands twice in the document")
            operations[name] = {"method": method.upper(), "path": path, "statuses": statuses}
    return dict(sorted(operations.items()))
