"""Which version of a scenario a run was made with: `digest_of` what it does.

Recorded runs can be compared when their scenarios did the same. So what one does counts (its steps, what they send and save,
its images, registry faults, and the variables and members of its row that these speak of), and not how it is written,
judged or how long it is waited for: comments, layout, titles, requirements, expectations, timeouts, the bounds of
`eventually`. What image recipes say does not count either, since images are told apart by their digests. Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.scenario.model import Template
from sixhops.harness.scenario.variables import parse_template

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.scenario.model import Scenario
    from sixhops.harness.scenario.paths import Segments

__all__ = ["digest_of", "digests"]

#: Members of steps, repetitions, rules and uses of images that change nothing of what is done.
_WORDS: Final = frozenset({"mark", "expect", "fail_if", "timeout"})


def digest_of(scenario: Scenario) -> str:
    """Return the digest (16 hexadecimal digits) of what a scenario, or this row of one, does."""
    paths: list[Segments] = []
    done = _plain([scenario.images, scenario.registry_faults, scenario.steps, scenario.cleanup], paths)
    given: dict[str, Any] = {}
    for path in paths:  # grows: a variable may speak of others and of the row
        name = str(path[0])
        if name in scenario.vars and name not in given:
            given[name] = _plain(scenario.vars[name], paths)
    of_row = {str(path[1]) if len(path) > 1 else "" for path in paths if path[0] == "row"}
    row = {key: _plain(value, []) for key, value in scenario.row.items() if not of_row.isdisjoint({key, ""})}
    data = json.dumps([done, given, row], sort_keys=True)
    return hashlib.sha256(data.encode()).hexdigest()[:16]


def digests(scenarios: Iterable[Scenario]) -> dict[str, str]:
    """Return the digest of each scenario by its id."""
    return {scenario.id: digest_of(scenario) for scenario in scenarios}


def _plain(value: Any, paths: list[Segments]) -> Any:
    """Return a part of a scenario as JSON data, and add to `paths` what its templates speak of.

    A member that has its default is left out, so that a new one changes no digest.
    """
    if isinstance(value, Template):
        paths.extend(part for part in parse_template(value.text) if not isinstance(part, str))
        return {"template": value.text}
    if is_dataclass(value) and not isinstance(value, type):
        members = {
            item.name: _plain(getattr(value, item.name), paths)
            for item in _members(type(value))
            if getattr(value, item.name) != _default(item)
        }
        return {type(value).__name__: members}
    if isinstance(value, dict):
        return {str(key): _plain(item, paths) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, paths) for item in value]
    return value


@lru_cache(maxsize=256)
def _members(kind: type[Any]) -> tuple[Field[Any], ...]:
    return tuple(item for item in fields(kind) if item.name not in _WORDS)


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default
