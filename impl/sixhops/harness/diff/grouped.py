"""Differences by what they are about, the most frequent first: what a person reads of two releases. Pure.

One change of an engine shows in hundreds of scenarios. Differences count as one when they are on one hop, at one place in a
message (whatever its index in a list), of one kind, and, where a value is a number, a switch or nothing, of the same values;
where it is a text, also by whether only upper and lower case differ. Messages that only one side has count by their line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.show.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sixhops.harness.diff.model import Difference

__all__ = ["Group", "group", "group_data", "group_lines"]

_LONGEST: Final = 110
_INDEX: Final = re.compile(r"(?<=\.)\d+(?=\.|$)|\[\d+\]")
_TOKEN: Final = re.compile(r"[^/ ]*⟨[^⟩]*⟩[^/ ?]*")
_QUERY: Final = re.compile(r"\?\S*")
_WORDS: Final = {
    "missing": "only in A",
    "added": "only in B",
    "order": "another order",
    "identity": "another one than elsewhere",
    "moved": "in another step",
}


@dataclass(slots=True)
class Group:
    """Differences that are alike. `place` is the hop and the place in a message, `what` the kind, with the values if they
    count. `first` is the first of `count`, which are in `scenarios`.
    """

    place: str
    what: str
    first: Difference
    count: int = 0
    scenarios: set[str] = field(default_factory=set)


def group(differences: Iterable[Difference]) -> list[Group]:
    """Return the groups, that in most scenarios first; of as many, by place."""
    found: dict[tuple[str, str], Group] = {}
    for item in differences:
        key = (_place(item), _what(item))
        into = found.setdefault(key, Group(*key, first=item))
        into.count += 1
        into.scenarios.add(item.scenario)
    return sorted(found.values(), key=lambda one: (-len(one.scenarios), -one.count, one.place, one.what))


def group_lines(groups: Iterable[Group]) -> Iterator[str]:
    """Yield a line for each group (scenarios, differences, what) and two with its first example."""
    yield "scenarios  differences  what differs, and the first of them"
    for one in groups:
        yield printable(f"{len(one.scenarios):9}  {one.count:11}  {one.place}: {one.what}")
        step = f" step {one.first.step + 1}" if one.first.step >= 0 else ""
        message = f", {one.first.message}" if one.first.message else ""
        yield printable(f"{'':24}{one.first.scenario}{step}{message}")
        values = [("A", one.first.a)] if one.first.kind != "added" else []
        values += [("B", one.first.b)] if one.first.kind != "missing" else []
        yield printable(f"{'':24}{'   '.join(f'{side}: {_shown(value)}' for side, value in values)}")


def group_data(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """Return the groups as JSON data."""
    return [
        {
            "place": one.place,
            "what": one.what,
            "count": one.count,
            "scenarios": sorted(one.scenarios),
            "first": {name: getattr(one.first, name) for name in one.first.__slots__},
        }
        for one in groups
    ]


def _place(item: Difference) -> str:
    hop = f"{item.hop} hop" if item.hop else "scenario"
    if item.path:
        return f"{hop}, {_INDEX.sub('*', item.path)}"
    return f"{hop}, {_TOKEN.sub('*', _QUERY.sub('', item.message or str(item.a or item.b)))}"


def _what(item: Difference) -> str:
    if item.kind != "changed":
        return _WORDS[item.kind]
    if isinstance(item.a, str) and isinstance(item.b, str):
        return "differs in upper and lower case" if item.a.casefold() == item.b.casefold() else "differs"
    if all(value is None or isinstance(value, int | float) for value in (item.a, item.b)):
        return f"{json.dumps(item.a)} becomes {json.dumps(item.b)}"
    return "differs"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
