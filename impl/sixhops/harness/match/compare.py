"""`match(expected, seen, path)`: every way in which a value is not what was expected. Pure.

The rules, before the matchers change them:

1. Types count: `1` is not `true`, not `"1"` and not `1.0`.
2. A mapping holds when the keys that it names hold; other keys may stand beside them. An empty mapping holds
   for an empty one only, since it would say nothing otherwise.
3. A list holds when it has the same elements in the same order; `!some` stands for any number of elements.
4. The messages of a hop hold when the listed ones are among them in that order; others may stand between.
   An empty list means that there are none. What stands for a message on the inner hops is in `calls`.
5. Text is compared with bytes as UTF-8.
6. `!exact` forbids unnamed keys and unlisted messages, all the way down until another matcher takes over.
"""

from __future__ import annotations

import json
from typing import Any

from sixhops.harness.errors import InternalError, ScenarioError
from sixhops.harness.exchange import HopMessage
from sixhops.harness.match.calls import names_call, stands_for, succeeded
from sixhops.harness.match.matchers import MATCHERS
from sixhops.harness.match.sequences import compare_messages, compare_sequence
from sixhops.harness.match.values import MISSING, Context, Messages, Mismatch, Missing, type_name
from sixhops.harness.scenario.model import Matcher, Template
from sixhops.harness.scenario.paths import format_path

__all__ = ["match", "message_fields"]


def match(expected: Any, seen: Any, path: str = "$") -> list[Mismatch]:
    """Return all that does not hold of `seen`; an empty list means that it is as expected.

    `expected` is a Value without templates; `seen` a Facet, a HopMessage, Messages or MISSING; `path` is what
    the value is called in the mismatches. Raises ScenarioError for a matcher whose argument a
    variable has made senseless, InternalError for an unresolved template.
    """
    return _compare(expected, seen, path)


def message_fields(message: HopMessage) -> dict[str, Any]:
    """Return what a mapping is compared with: the message's fields, its summary, and bodies as JSON where
    they are JSON.
    """
    fields: dict[str, Any] = {"summary": message.summary, **message.fields}
    for side in ("request", "response"):
        body = fields.get(f"{side}_body")
        if f"{side}_json" not in fields and isinstance(body, str | bytes) and body:
            try:
                fields[f"{side}_json"] = json.loads(body)
            except ValueError:
                continue
    return fields


def _compare(expected: Any, seen: Any, path: str, *, exact: bool = False) -> list[Mismatch]:
    if isinstance(expected, Matcher):
        kind = MATCHERS.get(expected.name)
        if kind is None:
            raise InternalError(f"there is no matcher !{expected.name}")
        # Checked when the scenario was read, but for what variables have brought since.
        problem = kind.check(expected.argument) if kind.check else None
        if problem is not None:
            raise ScenarioError(f"bad matcher !{expected.name}: {problem}", expected.mark)
        return kind.handler(expected.argument, seen, path, Context(_compare, exact, expected))
    if isinstance(expected, Template):
        raise InternalError(f"{expected.text!r} at {expected.mark} was not resolved")
    if isinstance(seen, Missing):
        return [Mismatch(path, "is not there", expected, MISSING)]
    if isinstance(seen, HopMessage):
        return _compare_message(expected, seen, path, exact)
    if isinstance(seen, Messages):
        return _compare_hop(expected, seen, path, exact)
    if isinstance(expected, dict):
        return _compare_mapping(expected, seen, path, exact)
    if isinstance(expected, list):
        if not isinstance(seen, list):
            return [Mismatch(path, "is of another type", expected, seen)]
        return compare_sequence(expected, seen, path, lambda e, s, p: _compare(e, s, p, exact=exact))
    return _compare_scalar(expected, seen, path)


def _compare_scalar(expected: Any, seen: Any, path: str) -> list[Mismatch]:
    if isinstance(seen, bytes) and isinstance(expected, str):
        return (
            []
            if expected.encode("utf-8", "surrogateescape") == seen
            else [Mismatch(path, "differs", expected, seen)]
        )
    if type_name(expected) != type_name(seen):
        return [Mismatch(path, "is of another type", expected, seen)]
    return [] if expected == seen else [Mismatch(path, "differs", expected, seen)]


def _compare_mapping(expected: dict[str, Any], seen: Any, path: str, exact: bool) -> list[Mismatch]:
    if not isinstance(seen, dict):
        return [Mismatch(path, "is of another type", expected, seen)]
    if not expected and seen:
        return [Mismatch(path, "is not empty", expected, seen)]
    found: list[Mismatch] = []
    for key, item in expected.items():
        there = seen.get(key, MISSING)
        parts = _compare(item, there, format_path(path, (key,)), exact=exact)
        if parts and there is MISSING and not found:
            parts[0] = _with_note(parts[0], f"the keys that are there: {', '.join(map(str, seen)) or 'none'}")
        found.extend(parts)
    if exact:
        found.extend(
            Mismatch(format_path(path, (key,)), "is not expected (!exact)", MISSING, item)
            for key, item in seen.items()
            if key not in expected
        )
    return found


def _compare_message(expected: Any, seen: HopMessage, path: str, exact: bool) -> list[Mismatch]:
    if isinstance(expected, str):
        return [] if stands_for(expected, seen) else [Mismatch(path, "differs", expected, seen.summary)]
    if not isinstance(expected, dict):
        return _compare(expected, seen.summary, path, exact=exact)
    fields = message_fields(seen)
    wanted = {key: _lower_keys(item) if key.endswith("_headers") else item for key, item in expected.items()}
    # A message always has more fields than an author cares to write, so !exact does not reach its own level.
    found: list[Mismatch] = []
    for key, item in wanted.items():
        found.extend(_compare(item, fields.get(key, MISSING), format_path(path, (key,)), exact=exact))
    if names_call(expected, seen) and not succeeded(seen):
        note = (
            "a mapping that names a call stands for one that succeeds; write its status, or exit, for another"
        )
        found.append(Mismatch(path, "did not succeed", expected, seen.summary, (note,)))
    return found


def _compare_hop(expected: Any, seen: Messages, path: str, exact: bool) -> list[Mismatch]:
    if not isinstance(expected, list):
        return [Mismatch(path, "is a list of messages; write a list", expected, seen)]
    if exact or not expected:
        return compare_sequence(expected, list(seen.items), path, _compare)
    return compare_messages(expected, list(seen.items), path, _compare)


def _lower_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): item for key, item in value.items()}
    if isinstance(value, Matcher):
        return Matcher(value.name, _lower_keys(value.argument), value.mark)
    return value


def _with_note(mismatch: Mismatch, note: str) -> Mismatch:
    return Mismatch(
        mismatch.path, mismatch.problem, mismatch.expected, mismatch.seen, (*mismatch.notes, note)
    )
