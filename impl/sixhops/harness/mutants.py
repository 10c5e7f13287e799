"""Corruptions of one recorded value, and values that an expectation would accept. Pure; no judging here.

A corruption is of one of five kinds, because matchers differ in what they look at: `!any` can only notice that
a value is dropped, `!type` that it is of another type, and everything else must notice that it has changed, that its
elements come in another order, or that its end is late and was not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from sixhops.harness.exchange import HopMessage
from sixhops.harness.match import MISSING, Messages
from sixhops.harness.match.values import Missing
from sixhops.harness.scenario.model import Matcher

__all__ = ["DROPPED", "OPERATORS", "UNCHANGED", "Kind", "items_of", "likely", "likely_message", "with_items"]


class Kind(StrEnum):
    """What a corruption does: the value goes, another value of its type comes, another type comes, the elements come in
    another order, the end comes too late.
    """

    DROP = "drop"
    CHANGE = "change"
    RETYPE = "retype"
    REORDER = "reorder"
    DELAY = "delay"

    @property
    def keeps_type(self) -> bool:
        """Say whether the value is still there, and of its type."""
        return self not in {Kind.DROP, Kind.RETYPE}


class _Word:
    """A value that is no data: it compares equal to itself alone."""


DROPPED: Final = _Word()
"""In the place of a value: it is taken away, with its key or its element."""
UNCHANGED: Final = _Word()
"""What an operator returns for a value that it has nothing to do to."""

Operator: TypeAlias = Callable[[Any], Any]

_FOREIGN: Final = "sixhops-mutant"
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"
_STRANGER: Final = HopMessage("", 0, 0.0, 0.0, _FOREIGN, {})


def items_of(value: Any) -> list[Any] | None:
    """Return the elements of a list or of a hop's messages, None for anything else."""
    if isinstance(value, Messages):
        return list(value.items)
    return value if isinstance(value, list) else None


def with_items(value: Any, items: list[Any]) -> Any:
    """Return a value of the kind of `value` (list or messages) that has `items`."""
    return Messages(tuple(items)) if isinstance(value, Messages) else items


def _first(value: Any) -> Any:
    match value:
        case Missing():
            return _FOREIGN
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 1.5
        case str():
            return value + "~"
        case bytes():
            return value + b"~"
        case dict():
            return {} if value else {_FOREIGN: 1}
        case list() | Messages():
            items = items_of(value) or []
            return with_items(value, items[1:] if items else [_stranger(value)])
    return UNCHANGED


def _second(value: Any) -> Any:
    match value:
        case Missing():
            return {}
        case bool() | None:
            return UNCHANGED
        case int() | float():
            return -value - 1
        case str():
            return "" if value else _FOREIGN
        case bytes():
            return b"" if value else b"~"
        case dict():
            return {**value, _FOREIGN: 1}
        case list() | Messages():
            items = items_of(value) or []
            return with_items(value, [*items, _stranger(value)])
    return UNCHANGED


def _third(value: Any) -> Any:
    match value:
        case Missing():
            return 1
        case bool() | None:
            return UNCHANGED
        case int() | float():
            return value + 1_000_000_007
        case str():
            return "~" + value
        case bytes():
            return b"~" + value
    return UNCHANGED


def _fourth(value: Any) -> Any:
    return 0 if isinstance(value, int) and not isinstance(value, bool) else UNCHANGED


def _late(value: Any) -> Any:
    match value:
        case str() | bytes():
            return value[: len(value) // 2]
        case list() | Messages():
            return with_items(value, (items_of(value) or [])[:-1])
    return UNCHANGED


def _reversed(value: Any) -> Any:
    items = items_of(value)
    return UNCHANGED if items is None or items == items[::-1] else with_items(value, items[::-1])


def _fifth(value: Any) -> Any:
    match value:
        case str():
            return re.sub(r"\w", "~", value)
        case bytes():
            return re.sub(rb"\w", b"~", value)
        case list() | Messages():
            items = items_of(value) or []
            return with_items(value, [*items, *items[-1:]])
    return UNCHANGED


def _sixth(value: Any) -> Any:
    match value:
        case str():
            return _ZERO_TIME
        case bytes():
            return value[::-1]
        case list() | Messages():
            return with_items(value, [])
    return UNCHANGED


def _stranger(value: Any) -> Any:
    return _STRANGER if isinstance(value, Messages) else _FOREIGN


def _to_null(value: Any) -> Any:
    return UNCHANGED if value is None else None


def _to_other_scalar(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return 17
    return str(value) if isinstance(value, int | float) else _FOREIGN


def _to_list(value: Any) -> Any:
    return {_FOREIGN: 1} if isinstance(value, list) else [value] if not isinstance(value, Missing) else []


OPERATORS: Final[tuple[tuple[Kind, Operator], ...]] = (
    (Kind.DROP, lambda _value: DROPPED),
    *((Kind.CHANGE, operator) for operator in (_first, _second, _third)),
    (Kind.DELAY, _late),
    (Kind.REORDER, _reversed),
    *((Kind.CHANGE, operator) for operator in (_fourth, _fifth, _sixth)),
    *((Kind.RETYPE, operator) for operator in (_to_null, _to_other_scalar, _to_list)),
)
"""Each takes a recorded value (or MISSING) and returns another one, DROPPED or UNCHANGED."""


def likely(expected: Any, seen: Any, pool: Callable[[], list[str]]) -> Iterator[Any]:
    """Yield values that `expected` may accept, to be put where they must not be; perhaps none does.

    `seen` is what was there; `pool` returns texts of the recording, for regular expressions, which nothing
    here can turn around.
    """
    if not isinstance(expected, Matcher):
        if isinstance(expected, dict) and not isinstance(seen, HopMessage):
            parts = {key: next(likely(item, MISSING, pool), DROPPED) for key, item in expected.items()}
            kept = {key: item for key, item in parts.items() if item is not DROPPED}
            there = (
                {key: item for key, item in seen.items() if key not in expected}
                if isinstance(seen, dict)
                else {}
            )
            yield {**there, **kept}
        elif isinstance(expected, list):
            yield [next(likely(item, MISSING, pool), None) for item in expected]
        else:
            yield expected
        return
    argument: Any = expected.argument
    match expected.name:
        case "absent":
            yield DROPPED
        case "any":
            yield _FOREIGN
        case "none":
            yield from ([], "", {})
        case "re":
            yield from _texts(str(argument), pool)
        case "contains" | "prefix" | "unordered":
            yield from _containing(argument, seen, pool)
        case "exact" | "each":
            inner = list(likely(argument, seen, pool))
            yield from inner
            yield from ([item] for item in inner)
        case "one_of":
            for option in argument:
                yield from likely(option, seen, pool)
        case _:
            yield from _of_kind(expected.name, argument)


def likely_message(expected: Any, like: HopMessage, pool: Callable[[], list[str]]) -> Iterator[HopMessage]:
    """Yield messages that `expected` may accept, made of `like` where nothing is said."""
    if not isinstance(expected, dict):
        yield like
        for summary in likely(expected, like, pool):
            yield replace(like, summary=summary)
        return
    fields = {key: next(likely(item, MISSING, pool), DROPPED) for key, item in expected.items()}
    summary = fields.pop("summary", like.summary)
    kept: dict[str, Any] = {
        key: item for key, item in {**like.fields, **fields}.items() if item is not DROPPED
    }
    yield replace(like, summary=str(summary), fields=kept)


def _containing(argument: Any, seen: Any, pool: Callable[[], list[str]]) -> Iterator[Any]:
    if isinstance(argument, str):
        yield argument
        if isinstance(seen, str):
            yield seen + argument
        if isinstance(seen, dict):
            yield {**seen, argument: 1}
    elements = (
        [next(likely(item, MISSING, pool), None) for item in argument]
        if isinstance(argument, list)
        else [next(likely(argument, MISSING, pool), None)]
    )
    yield elements
    if isinstance(seen, list):
        yield [*seen, *elements]
    if isinstance(argument, dict):
        yield from likely(argument, seen, pool)


def _of_kind(name: str, argument: Any) -> Iterator[Any]:
    match name:
        case "type":
            by_word = {"string": "x", "integer": 1, "number": 1.5, "boolean": True, "null": None, "list": []}
            for word in argument if isinstance(argument, list) else [argument]:
                yield by_word.get(word, {}) if word is not None else None
        case "range" | "approx":
            bounds = argument.values() if isinstance(argument, dict) else argument
            yield from (
                bound
                for bound in (bounds if not isinstance(bounds, int | float) else [bounds])
                if bound is not None
            )
        case "len":
            count = argument if isinstance(argument, int) else 1
            yield from ("a" * count, [1] * count)
        case "digest":
            yield "sha256:" + "a" * 64
        case "id":
            yield "a" * (argument or 64)
        case "time":
            yield _ZERO_TIME if argument == "zero" else "2020-01-01T00:00:00Z"
        case "not":
            yield from (_FOREIGN, DROPPED)


def _texts(pattern: str, pool: Callable[[], list[str]]) -> Iterator[str]:
    plain = re.sub(r"\(\?[a-z]+\)|\(\?:|[\^$()]", "", pattern)
    # The first choice, classes and wildcards as one letter or digit each, and what may be absent left out.
    plain = plain.split("|", 1)[0].replace(r"\d", "1").replace(r"\w", "a").replace(r"\s", " ")
    plain = re.sub(r"\[([^\]^\\])[^\]]*\]", r"\1", plain)
    plain = re.sub(r"(?<!\\)\.\*|\.\?", "", plain)
    plain = re.sub(r"(?<!\\)\.", "a", plain)
    plain = re.sub(r"\{(\d+)(,\d*)?\}|[+*?]", "", plain)
    yield re.sub(r"\\(.)", r"\1", plain)
    compiled = re.compile(pattern)
    yield from [text for text in pool() if compiled.search(text)][:4]
