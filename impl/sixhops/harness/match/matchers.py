"""The matchers: name, argument, what they accept. The loader checks arguments with this table, the docs are
made from it.

A handler gets (argument, seen, path, context) and returns mismatches. A checker gets an argument, perhaps
with templates in it, and returns what is wrong with it, or None. A new matcher is one handler, one checker
and one row of the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from sixhops.harness.exchange import HopMessage
from sixhops.harness.match.arguments import (
    TYPE_WORDS,
    bounds_of,
    check_approx,
    check_each,
    check_id,
    check_length,
    check_list,
    check_pattern,
    check_range,
    check_text,
    check_time,
    check_type,
)
from sixhops.harness.match.sequences import compare_sequence, compare_unordered
from sixhops.harness.match.times import ZERO, parse_time
from sixhops.harness.match.values import MISSING, Context, Messages, Mismatch, Missing, type_name
from sixhops.harness.scenario.model import Matcher

__all__ = ["MATCHERS", "MatcherKind"]

Handler: TypeAlias = Callable[[Any, Any, str, Context], list[Mismatch]]

# A longer text is not searched: a bad pattern could take minutes on it.
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class MatcherKind:
    """One row of the table. `argument`: whether there must be one; `nested`: it is itself an expectation."""

    name: str
    argument: Literal["none", "optional", "required"]
    takes: str
    doc: str
    handler: Handler
    check: Callable[[Any], str | None] | None = None
    nested: bool = False


@lru_cache(maxsize=2048)
def _compiled(pattern: str | bytes) -> re.Pattern[Any]:
    return re.compile(pattern)


def _wrong(context: Context, path: str, seen: Any, problem: str) -> list[Mismatch]:
    return [Mismatch(path, problem, context.matcher, seen)]


def _any(_argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    return _wrong(context, path, seen, "is not there") if isinstance(seen, Missing) else []


def _absent(_argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    return [] if isinstance(seen, Missing) else _wrong(context, path, seen, "is there and must not be")


def _regular(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    seen = seen.summary if isinstance(seen, HopMessage) else seen
    if not isinstance(seen, str | bytes):
        return _wrong(context, path, seen, "is not text")
    if len(seen) > _LONGEST:
        return _wrong(
            context, path, seen, f"is {len(seen)} characters long; !re looks at no more than {_LONGEST}"
        )
    pattern = argument.encode() if isinstance(seen, bytes) else argument
    return [] if _compiled(pattern).search(seen) else _wrong(context, path, seen, "does not match")


def _contains(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    seen = seen.summary if isinstance(seen, HopMessage) else seen
    if isinstance(seen, str | bytes):
        if not isinstance(argument, str):
            return _wrong(context, path, seen, "is text, and !contains looks for something else")
        needle: Any = argument.encode() if isinstance(seen, bytes) else argument
        return [] if needle in seen else _wrong(context, path, seen, "does not contain it")
    if isinstance(seen, list | Messages):
        items = list(seen.items) if isinstance(seen, Messages) else seen
        wanted = argument if isinstance(argument, list) else [argument]
        return compare_unordered(wanted, items, path, context.compare, others=True)
    if isinstance(seen, dict) and isinstance(argument, dict):
        return context.compare(argument, seen, path)
    if isinstance(seen, dict) and isinstance(argument, str):
        return [] if argument in seen else _wrong(context, path, seen, "has no such key")
    return _wrong(context, path, seen, "contains nothing")


def _prefix(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    seen = seen.summary if isinstance(seen, HopMessage) else seen
    if isinstance(argument, list):
        if not isinstance(seen, list):
            return _wrong(context, path, seen, "is not a list")
        return compare_sequence(argument, seen[: len(argument)], path, context.inside)
    if not isinstance(seen, str | bytes):
        return _wrong(context, path, seen, "is not text")
    start: Any = argument.encode() if isinstance(seen, bytes) else argument
    return [] if seen.startswith(start) else _wrong(context, path, seen, "does not begin so")


def _type(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    words = argument if isinstance(argument, list) else [argument]
    word = type_name(seen)
    word = "string" if word == "bytes" else word
    if word in words or (seen is None and None in words) or (word == "integer" and "number" in words):
        return []
    return _wrong(context, path, seen, "is of another type")


def _len(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    items = seen.items if isinstance(seen, Messages) else seen
    if not isinstance(items, str | bytes | list | tuple | dict):
        return _wrong(context, path, seen, "has no length")
    length = len(items)
    if isinstance(argument, dict | list):
        low, high = bounds_of(argument)
        good = (low is None or length >= low) and (high is None or length <= high)
    else:
        good = not context.compare(argument, length, path)
    return [] if good else _wrong(context, path, seen, f"has the length {length}")


def _range(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    if isinstance(seen, bool) or not isinstance(seen, int | float):
        return _wrong(context, path, seen, "is not a number")
    low, high = bounds_of(argument)
    good = (low is None or seen >= low) and (high is None or seen <= high)
    return [] if good else _wrong(context, path, seen, "is outside the range")


def _time(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    moment = parse_time(seen) if isinstance(seen, str) else None
    if moment is None:
        return _wrong(context, path, seen, "is not an RFC 3339 time")
    if argument == "zero":
        return [] if seen == ZERO else _wrong(context, path, seen, "is not the zero time")
    if moment == parse_time(ZERO):
        return _wrong(context, path, seen, "is the zero time, which means never")
    for word, limit in (argument or {}).items():
        bound = parse_time(limit)
        assert bound is not None, "checked before"
        if (moment < bound) if word == "after" else (moment > bound):
            return _wrong(context, path, seen, f"is not {word} {limit}")
    return []


def _digest(_argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    good = isinstance(seen, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", seen)
    return [] if good else _wrong(context, path, seen, "is not sha256: and 64 hex digits")


def _id(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    digits = 64 if argument is None else argument
    good = isinstance(seen, str) and len(seen) == digits and re.fullmatch(r"[0-9a-f]+", seen)
    return [] if good else _wrong(context, path, seen, f"is not {digits} hex digits")


def _unordered(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    if isinstance(seen, Messages):
        return compare_unordered(argument, list(seen.items), path, context.compare, others=not context.exact)
    if not isinstance(seen, list):
        return _wrong(context, path, seen, "is not a list")
    return compare_unordered(argument, seen, path, context.inside, others=False)


def _exact(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    return context.compare(argument, seen, path, exact=True)


def _some(_argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    return _wrong(
        context, path, seen, "is compared with !some, which only stands among the elements of a list"
    )


def _not(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    if context.inside(argument, seen, path) and (seen is not MISSING or _speaks_of_absence(argument)):
        return []
    return _wrong(context, path, seen, "is not there" if seen is MISSING else "is what it must not be")


def _one_of(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    results = [context.inside(option, seen, path) for option in argument]
    if not all(results):
        return []
    closest = min(results, key=len)
    notes = tuple(f"nearest choice: {m.path} {m.problem}" for m in closest[:3])
    return [Mismatch(path, "is none of these", context.matcher, seen, notes)]


def _each(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    items = list(seen.items) if isinstance(seen, Messages) else seen
    if isinstance(items, dict):
        pairs = [(f"{path}.{key}", item) for key, item in items.items()]
    elif isinstance(items, list):
        pairs = [(f"{path}[{index}]", item) for index, item in enumerate(items)]
    else:
        return _wrong(context, path, seen, "has no elements")
    if not pairs:
        return _wrong(context, path, seen, "is empty, so !each would look at nothing")
    return [wrong for place, item in pairs for wrong in context.inside(argument, item, place)]


def _approx(argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    if isinstance(seen, bool) or not isinstance(seen, int | float):
        return _wrong(context, path, seen, "is not a number")
    value, tolerance = (
        (argument["value"], argument.get("tolerance", 0)) if isinstance(argument, dict) else (argument, 0)
    )
    distance = abs(seen - value)
    return [] if distance <= tolerance else _wrong(context, path, seen, f"is {distance:g} away")


def _none(_argument: Any, seen: Any, path: str, context: Context) -> list[Mismatch]:
    if isinstance(seen, Messages):
        return compare_sequence([], list(seen.items), path, context.compare)
    if not isinstance(seen, list | dict | str | bytes):
        return _wrong(context, path, seen, "is not a list")
    return _wrong(context, path, seen, f"is not empty: it has {len(seen)}") if seen else []


def _speaks_of_absence(argument: Any) -> bool:
    if not isinstance(argument, Matcher):
        return False
    if argument.name == "one_of" and isinstance(argument.argument, list):
        return any(map(_speaks_of_absence, argument.argument))
    return argument.name == "absent"


_ROWS: Final = (
    MatcherKind("any", "none", "", "Any value, null as well; it must be there.", _any),
    MatcherKind("absent", "none", "", "The key must not be there.", _absent),
    MatcherKind(
        "re",
        "required",
        "a Python regular expression",
        "Found anywhere in the text; write ^ and $ to tie it down. Bytes are searched as they are.",
        _regular,
        check_pattern,
    ),
    MatcherKind(
        "contains",
        "required",
        "text, an element, a list of elements, or a part of a mapping",
        "Text with this in it; a list with such an element (for a list: with each of them, in any order); "
        "a mapping with these keys.",
        _contains,
        nested=True,
    ),
    MatcherKind(
        "prefix", "required", "text or a list", "Text or a list that begins so.", _prefix, check_text
    ),
    MatcherKind(
        "type",
        "required",
        f"one of {', '.join(TYPE_WORDS)}, or a list of them",
        "A value of this type; every integer is a number too.",
        _type,
        check_type,
    ),
    MatcherKind(
        "len",
        "required",
        "a count, a range as for `!range`, or a matcher",
        "Text (characters), bytes, a list or a mapping of this length.",
        _len,
        check_length,
        nested=True,
    ),
    MatcherKind(
        "range",
        "required",
        "`[low, high]` or `{min: low, max: high}`",
        "A number from low to high, both included; null or a left out key is no bound.",
        _range,
        check_range,
    ),
    MatcherKind(
        "time",
        "optional",
        "`zero`, or `{after: time, before: time}`",
        "An RFC 3339 time, and not the zero time, which the engine writes for never; `zero` wants just that. "
        "Both bounds are included.",
        _time,
        check_time,
    ),
    MatcherKind("digest", "none", "", "`sha256:` and 64 hex digits.", _digest),
    MatcherKind(
        "id",
        "optional",
        "the number of digits",
        "64 lower-case hex digits, or as many as said.",
        _id,
        check_id,
    ),
    MatcherKind(
        "unordered",
        "required",
        "a list",
        "These elements in any order: each expected one is paired with one of its own. "
        "On a hop, other messages may stand between.",
        _unordered,
        check_list,
        nested=True,
    ),
    MatcherKind(
        "exact",
        "required",
        "any value",
        "No keys but these, and on a hop no messages but these; "
        "holds for everything inside, until another matcher takes over.",
        _exact,
        nested=True,
    ),
    MatcherKind(
        "some",
        "optional",
        "what each of them must be",
        "Only as an element of a list: any number of elements, none as well.",
        _some,
        nested=True,
    ),
    MatcherKind("not", "required", "any value", "Anything else; it must be there.", _not, nested=True),
    MatcherKind("one_of", "required", "a list", "At least one of these.", _one_of, check_each, nested=True),
    MatcherKind(
        "each",
        "required",
        "any value",
        "Every element of a list or value of a mapping, of which there is at least one.",
        _each,
        nested=True,
    ),
    MatcherKind(
        "approx",
        "required",
        "a number, or `{value: number, tolerance: number}`",
        "A number no further away than the tolerance (0 unless said), integer or not: 1 is 1.0 here.",
        _approx,
        check_approx,
    ),
    MatcherKind("none", "none", "", "Nothing: no message on this hop, an empty list.", _none),
)

MATCHERS: Final[dict[str, MatcherKind]] = {kind.name: kind for kind in _ROWS}
