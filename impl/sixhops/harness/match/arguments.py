"""Checks of matcher arguments, done when a scenario is read.

Each returns one phrase that says what is wrong, or None. Templates stand for values not known yet and pass;
the handler meets the value later.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any, Final

from sixhops.harness.match.times import parse_time
from sixhops.harness.scenario.model import Matcher, Template

__all__ = [
    "TYPE_WORDS",
    "bounds_of",
    "check_approx",
    "check_each",
    "check_id",
    "check_length",
    "check_list",
    "check_pattern",
    "check_range",
    "check_text",
    "check_time",
    "check_type",
    "pattern_problem",
]

TYPE_WORDS: Final = ("string", "integer", "number", "boolean", "null", "list", "mapping")


def bounds_of(argument: Any) -> tuple[Any, Any]:
    """Return low and high of `[low, high]` or `{min, max}`; None is no bound."""
    if isinstance(argument, dict):
        return argument.get("min"), argument.get("max")
    low, high = argument
    return low, high


def check_pattern(argument: Any) -> str | None:
    """A regular expression as text."""
    if isinstance(argument, Template):
        return None
    if not isinstance(argument, str):
        return "it takes a regular expression, as text"
    return pattern_problem(argument)


@lru_cache(maxsize=4096)
def pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with a regular expression; what Python warns about (`[[` and the like) is wrong too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        return f"{pattern!r} is not a regular expression: {error}"
    return None


def check_text(argument: Any) -> str | None:
    """Text or a list."""
    return None if isinstance(argument, str | list | Template) else "it takes text or a list"


def check_list(argument: Any) -> str | None:
    """A list."""
    return None if isinstance(argument, list | Template) else "it takes a list"


def check_each(argument: Any) -> str | None:
    """A list that is not empty."""
    if isinstance(argument, Template) or (isinstance(argument, list) and argument):
        return None
    return "it takes a list of at least one choice"


def check_type(argument: Any) -> str | None:
    """One type word or a list of them."""
    words = argument if isinstance(argument, list) and argument else [argument]
    # `!type null` is YAML's null and not the word; it means the same.
    for word in words:
        if word is not None and not isinstance(word, Template) and word not in TYPE_WORDS:
            return f"{_say(word)} is no type: write {', '.join(TYPE_WORDS)}"
    return None


def check_range(argument: Any) -> str | None:
    """`[low, high]` or `{min, max}` of numbers, with at least one bound, low not above high."""
    if isinstance(argument, Template):
        return None
    usage = "it takes [low, high] or {min: low, max: high}"
    if isinstance(argument, dict):
        if not argument or argument.keys() - {"min", "max"}:
            return usage
    elif not isinstance(argument, list) or len(argument) != 2:
        return usage
    low, high = bounds_of(argument)
    if low is None and high is None:
        return f"{usage}, with at least one bound"
    for bound in (low, high):
        if bound is not None and not isinstance(bound, Template) and not _is_number(bound):
            return f"{_say(bound)} is not a number"
    if _is_number(low) and _is_number(high) and low > high:
        return f"nothing is from {low} to {high}"
    return None


def check_length(argument: Any) -> str | None:
    """A count, a range of counts, or a matcher."""
    if isinstance(argument, Matcher | Template):
        return None
    if isinstance(argument, dict | list):
        return check_range(argument)
    if isinstance(argument, bool) or not isinstance(argument, int) or argument < 0:
        return "it takes a count, a range or a matcher"
    return None


def check_id(argument: Any) -> str | None:
    """How many hex digits, or nothing."""
    if argument is None or isinstance(argument, Template):
        return None
    if isinstance(argument, bool) or not isinstance(argument, int) or not 1 <= argument <= 64:
        return "it takes the number of digits, 1 to 64"
    return None


def check_time(argument: Any) -> str | None:
    """Nothing, `zero`, or bounds."""
    if argument is None or argument == "zero" or isinstance(argument, Template):
        return None
    if not isinstance(argument, dict) or not argument or argument.keys() - {"after", "before"}:
        return "it takes nothing, zero, or {after: time, before: time}"
    for limit in argument.values():
        if not isinstance(limit, Template) and (not isinstance(limit, str) or parse_time(limit) is None):
            return f"{_say(limit)} is not an RFC 3339 time"
    return None


def check_approx(argument: Any) -> str | None:
    """A number, or value and tolerance."""
    if isinstance(argument, dict):
        if "value" not in argument or argument.keys() - {"value", "tolerance"}:
            return "it takes a number or {value: number, tolerance: number}"
        parts = list(argument.values())
        tolerance = argument.get("tolerance", 0)
        if _is_number(tolerance) and tolerance < 0:
            return "the tolerance is negative"
    else:
        parts = [argument]
    for part in parts:
        if not isinstance(part, Template) and not _is_number(part):
            return f"{_say(part)} is not a number"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _say(value: Any) -> str:
    return "null" if value is None else repr(value)
