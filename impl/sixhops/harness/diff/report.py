"""A comparison as text and as JSON data. Pure."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.diff.grouped import group, group_data, group_lines
from sixhops.harness.show.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sixhops.harness.diff.accepted import Comparison, Sorted
    from sixhops.harness.diff.model import Difference

__all__ = ["FORMAT", "report_data", "report_lines"]

FORMAT: Final = 1
"""Version of the JSON; it changes when a reader of the old one would misread the new."""

_LONGEST: Final = 400
#: Groups of a hop that are shown unless all are asked for: what fits on a page.
_MOST: Final = 10
_WORDS: Final = {
    "changed": "differs",
    "missing": "only in A",
    "added": "only in B",
    "order": "in another order",
    "identity": "another one than elsewhere",
    "moved": "belongs to another step",
}


def report_lines(
    comparisons: Sequence[Comparison], result: Sorted, *, verbose: bool, grouped: bool = False
) -> Iterator[str]:
    """Yield the report's lines: news by scenario, step and hop, then the sums; `verbose`: accepted ones as well.

    `grouped`: the news by what they are about instead, the most frequent of each hop, or all with `verbose`.
    """
    if grouped:
        yield from group_lines(group(result.news), None if verbose else _MOST)
        yield from result.stale
        yield from _sums(comparisons, result, verbose=verbose)
        return
    news = {id(item) for item in result.news}
    reasons = {id(item): entry.reason for item, entry in result.accepted}
    for comparison in comparisons:
        shown = [item for item in comparison.differences if id(item) in news or verbose]
        if not shown:
            continue
        yield comparison.scenario
        place: tuple[Any, ...] = ()
        for item in shown:
            if (item.step, item.hop, item.message) != place:
                place = (item.step, item.hop, item.message)
                yield from _place(item)
            yield from _difference(item, reasons.get(id(item)))
    yield from result.stale
    yield from _sums(comparisons, result, verbose=verbose)


def _place(item: Difference) -> Iterator[str]:
    if item.step >= 0:
        yield printable(f"  {item.step + 1}. {item.step_name}  [{item.hop} hop]")
        if item.message:
            yield printable(f"      {item.message}")


def _difference(item: Difference, reason: str | None) -> Iterator[str]:
    word = _WORDS[item.kind]
    accepted = f"  (accepted: {reason})" if reason is not None else ""
    yield printable(f"      {item.path + ' ' if item.path else ''}{word}{accepted}")
    if item.kind != "added":
        yield f"          A: {_value(item.a)}"
    if item.kind != "missing":
        yield f"          B: {_value(item.b)}"


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text)} characters)")


def _sums(comparisons: Sequence[Comparison], result: Sorted, *, verbose: bool) -> Iterator[str]:
    by_hop = Counter(item.hop or "scenario" for item in result.news)
    hops = f" ({', '.join(f'{hop} {count}' for hop, count in sorted(by_hop.items()))})" if by_hop else ""
    touched = len({item.scenario for item in result.news})
    reasons = Counter(entry.reason for _, entry in result.accepted)
    if verbose:
        yield from (f"accepted {count:6}  {printable(reason)}" for reason, count in reasons.most_common())
    unseen: dict[tuple[str, str], int] = {}
    for comparison in comparisons:
        for hop, reason in comparison.unseen.items():
            unseen[hop, reason] = unseen.get((hop, reason), 0) + 1
    for (hop, reason), count in unseen.items():
        yield printable(f"not compared in {count} scenarios: {hop}: {reason}")
    yield (
        f"{len(comparisons)} scenarios compared: {len(result.news)} differences{hops} in {touched} scenarios; "
        f"{len(result.accepted)} accepted for {len(reasons)} reasons"
        + (f"; {len(result.stale)} accepted differences did not occur" if result.stale else "")
    )


def report_data(comparisons: Sequence[Comparison], result: Sorted) -> dict[str, Any]:
    """Return the whole comparison as JSON data; docs/diff.md has the fields."""
    accepted = {id(item): entry for item, entry in result.accepted}
    return {
        "format": FORMAT,
        "a": comparisons[0].a,
        "b": comparisons[0].b,
        "scenarios": [
            {"scenario": comparison.scenario, "unseen": comparison.unseen} for comparison in comparisons
        ],
        "differences": [
            {
                **{name: getattr(item, name) for name in item.__slots__},
                "hop": str(item.hop),
                "accepted": accepted[id(item)].reason if id(item) in accepted else None,
            }
            for comparison in comparisons
            for item in comparison.differences
        ],
        "groups": group_data(group(result.news)),
        "stale": result.stale,
    }
