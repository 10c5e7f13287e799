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

from sixhops.harness.scenario.model import Hop
from sixhops.harness.show.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sixhops.harness.diff.model import Difference

__all__ = ["Group", "group", "group_data", "group_lines"]

_LONGEST: Final = 80
#: The places of groups begin with one of these; in this order they are shown.
_ORDER: Final = ("scenario", *(f"{hop} hop" for hop in Hop))
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


def group_lines(groups: Sequence[Group], most: int | None = None) -> Iterator[str]:
    """Yield lines for each hop: for each group the scenarios, the differences, what, and its first example in a second line.

    `most`: how many groups of a hop are shown; the others are counted.
    """
    by_hop: dict[str, list[Group]] = {}
    for one in groups:
        by_hop.setdefault(one.place.partition(",")[0], []).append(one)
    yield "scenarios  differences  what differs, and the first of them"
    for hop in sorted(by_hop, key=_ORDER.index):
        listed = by_hop[hop]
        yield f"{hop}: {len(listed)} changes"
        for one in listed[:most]:
            where = one.place.partition(", ")[2]
            yield printable(f"{len(one.scenarios):9}  {one.count:11}  {where}: {one.what}")
            yield printable(f"{'':24}{_example(one.first)}")
        if most is not None and len(listed) > most:
            left = len(listed[most].scenarios)
            yield f"{'':24}and {len(listed) - most} more, of which none is in more than {left} scenarios (-v shows them)"


def _example(item: Difference) -> str:
    step = f" step {item.step + 1}" if item.step >= 0 else ""
    values = [("A", item.a)] if item.kind != "added" else []
    values += [("B", item.b)] if item.kind != "missing" else []
    return f"{item.scenario}{step}: {', '.join(f'{side} {_shown(value)}' for side, value in values)}"


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
