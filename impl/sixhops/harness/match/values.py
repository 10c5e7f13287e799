"""What comparing works on: a mismatch, a value that is not there, and the messages of a hop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from sixhops.harness.scenario.model import Matcher, Template

if TYPE_CHECKING:
    from sixhops.harness.exchange import HopMessage

__all__ = ["MISSING", "Context", "Messages", "Mismatch", "Missing", "render", "type_name"]


class Missing:
    """The type of `MISSING`: nothing is there, which is not the same as null."""

    def __repr__(self) -> str:
        return "(nothing)"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Messages:
    """What one hop carried during a step, in order. A list of expectations is looked for *in* it, in that
    order.
    """

    items: tuple[HopMessage, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that does not hold.

    `path` is where in the value (`$.State.Status`), `problem` one phrase, `expected` what was asked for (a
    Value), `seen` what is there or MISSING. `notes` are lines of further help, such as an alignment of two
    lists.
    """

    path: str
    problem: str
    expected: Any
    seen: Any
    notes: tuple[str, ...] = ()


class Compare(Protocol):
    """The comparison itself, handed to matchers so that they can look inside their arguments."""

    def __call__(self, expected: Any, seen: Any, path: str, *, exact: bool = False) -> list[Mismatch]:
        """Return what does not hold of `seen`."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """Around a matcher: how to compare its parts, whether `!exact` is in force, and itself."""

    compare: Compare
    exact: bool
    matcher: Matcher

    def inside(self, expected: Any, seen: Any, path: str) -> list[Mismatch]:
        """Compare a part, with `!exact` still in force when it is."""
        return self.compare(expected, seen, path, exact=self.exact)


def type_name(value: Any) -> str:
    """Return the language's word for the type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, Missing):
        return "nothing"
    if isinstance(value, bool):
        return "boolean"
    for kind, word in _TYPES:
        if isinstance(value, kind):
            return word
    return type(value).__name__


_TYPES: Final = (
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (bytes, "bytes"),
    (list, "list"),
    (dict, "mapping"),
    (Messages, "messages"),
    (Matcher, "matcher"),
)


def render(value: Any) -> str:
    """Return `value` on one line in YAML flow style, matchers with their tags."""
    if isinstance(value, Matcher):
        argument = "" if value.argument is None else f" {render(value.argument)}"
        if isinstance(value.argument, Matcher):
            return f"!{value.name}:{argument.strip().removeprefix('!')}"
        return f"!{value.name}{argument}"
    if isinstance(value, Template):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {render(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(render(item) for item in value) + "]"
    if isinstance(value, Messages):
        return render([item.summary for item in value.items])
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if hasattr(value, "summary"):
        return str(value.summary)
    return repr(value)
