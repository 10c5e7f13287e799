"""Lists: in order with gaps (`!some`), as a subsequence (messages of a hop), in any order (`!unordered`).

A list that does not hold is aligned with what was seen at the least cost, so that one missing line is
reported as one missing line and not as a difference in each line after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sixhops.harness.match.calls import any_outcome
from sixhops.harness.match.values import MISSING, Mismatch, render
from sixhops.harness.scenario.model import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    Element: TypeAlias = "Callable[[Any, Any, str], list[Mismatch]]"

__all__ = ["compare_messages", "compare_sequence", "compare_unordered", "is_gap"]

# Comparing every element with every other is quadratic; past this many pairs the report is coarser.
_PAIRS = 20_000
_LINES = 16
_WIDTH = 96
_SKIP = 0.6


def is_gap(expected: Any) -> bool:
    """Return whether an element of an expected list is `!some`."""
    return isinstance(expected, Matcher) and expected.name == "some"


def compare_sequence(expected: list[Any], seen: list[Any], path: str, element: Element) -> list[Mismatch]:
    """Return why `seen` is not `expected` in order; a `!some` element takes up any number."""
    if _accepts(expected, seen, path, element):
        return []
    if len(expected) * len(seen) > _PAIRS:
        return _coarse(expected, seen, path, element)
    return _align(expected, seen, path, element)


def compare_messages(expected: list[Any], seen: list[Any], path: str, element: Element) -> list[Mismatch]:
    """Return which of `expected` are not in `seen` in that order; other elements may stand anywhere.

    A `!not` element takes up no element: it forbids what it names between its neighbours in the list.
    """
    found: list[Mismatch] = []
    position = 0
    forbidden: list[Any] = []

    def judge_forbidden(end: int) -> None:
        for item in forbidden:
            found.extend(
                Mismatch(f"{path}[{i}]", "is here and must not be", item, seen[i])
                for i in range(position, end)
                if not element(any_outcome(item.argument, seen[i]), seen[i], path)
            )
        forbidden.clear()

    for index, item in enumerate(expected):
        if is_gap(item):
            continue
        if isinstance(item, Matcher) and item.name == "not":
            forbidden.append(item)
            continue
        place = next((i for i in range(position, len(seen)) if not element(item, seen[i], path)), None)
        if place is None:
            found.append(_not_found(item, index, seen, position, path, element))
        else:
            judge_forbidden(place)
            position = place + 1
    judge_forbidden(len(seen))
    return found


def compare_unordered(
    expected: list[Any], seen: list[Any], path: str, element: Element, *, others: bool
) -> list[Mismatch]:
    """Return why the elements of `seen` can't be paired off with those of `expected`; `others` allows more of
    them.

    A maximum bipartite matching, so an expectation that fits several elements never takes one from another
    that fits only that one.
    """
    gaps = [item for item in expected if is_gap(item)]
    wanted = [item for item in expected if not is_gap(item)]
    fits = [[j for j, there in enumerate(seen) if not element(item, there, path)] for item in wanted]
    owner: dict[int, int] = {}
    unmatched = [i for i in range(len(wanted)) if not _augment(i, fits, owner, set())]
    found = []
    rest = [j for j in range(len(seen)) if j not in owner]
    for i in unmatched:
        note = _closest(wanted[i], [(j, seen[j]) for j in rest], path, element)
        found.append(Mismatch(path, "has no element like this", wanted[i], MISSING, note))
    if not others:
        found.extend(
            Mismatch(f"{path}[{j}]", "is not expected", MISSING, seen[j])
            for j in rest
            if not any(gap.argument is None or not element(gap.argument, seen[j], path) for gap in gaps)
        )
    return found


def _accepts(expected: list[Any], seen: list[Any], path: str, element: Element) -> bool:
    """Run `expected` over `seen` as a nondeterministic automaton: states are indexes into `expected`."""
    if not any(is_gap(item) for item in expected):
        return len(expected) == len(seen) and not any(
            element(item, there, path) for item, there in zip(expected, seen, strict=True)
        )
    return len(expected) in _run(expected, seen, path, element)[0]


def _run(expected: list[Any], seen: list[Any], path: str, element: Element) -> tuple[set[int], int]:
    """Return the states after the last element, and the number of elements read before none was left."""
    states = _past_gaps({0}, expected)
    for count, there in enumerate(seen):
        after: set[int] = set()
        for state in states:
            if state == len(expected):
                continue
            item = expected[state]
            if is_gap(item):
                if item.argument is None or not element(item.argument, there, path):
                    after.add(state)
            elif not element(item, there, path):
                after.add(state + 1)
        if not after:
            return set(), count
        states = _past_gaps(after, expected)
    return states, len(seen)


def _past_gaps(states: set[int], expected: list[Any]) -> set[int]:
    closed = set(states)
    for state in states:
        while state < len(expected) and is_gap(expected[state]):
            state += 1
            closed.add(state)
    return closed


def _align(expected: list[Any], seen: list[Any], path: str, element: Element) -> list[Mismatch]:
    rows, columns = len(expected), len(seen)
    pairs: dict[tuple[int, int], list[Mismatch]] = {}

    def pair(i: int, j: int) -> list[Mismatch]:
        if (i, j) not in pairs:
            item = expected[i].argument if is_gap(expected[i]) else expected[i]
            free = is_gap(expected[i]) and item is None
            pairs[i, j] = [] if free else element(item, seen[j], f"{path}[{j}]")
        return pairs[i, j]

    # cost[i][j]: the least cost of the rest, from element i of the expected and j of the seen on; step: how
    # to begin.
    cost = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    step = [["end"] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            options: list[tuple[float, str]] = []
            if i < rows and is_gap(expected[i]):
                options.append((cost[i + 1][j], "past"))
                if j < columns and not pair(i, j):
                    options.append((cost[i][j + 1], "gap"))
            elif i < rows:
                if j < columns:
                    options.append((_distance(expected[i], pair(i, j)) + cost[i + 1][j + 1], "pair"))
                options.append((_SKIP + cost[i + 1][j], "missing"))
            if j < columns:
                options.append((_SKIP + cost[i][j + 1], "extra"))
            if options:
                cost[i][j], step[i][j] = min(options, key=lambda option: option[0])
    return _report(expected, seen, path, step, pair)


def _report(
    expected: list[Any],
    seen: list[Any],
    path: str,
    step: list[list[str]],
    pair: Callable[[int, int], list[Mismatch]],
) -> list[Mismatch]:
    found: list[Mismatch] = []
    lines: list[str] = []
    i = j = 0
    uneven = False
    while (how := step[i][j]) != "end":
        if how == "past":
            i += 1
            continue
        if how == "missing":
            where = f"before [{j}]" if j < len(seen) else "at the end"
            found.append(
                Mismatch(path, f"lacks element {i} of the expected list ({where})", expected[i], MISSING)
            )
            lines.append(_line("-", "", expected[i]))
            i += 1
        elif how == "extra":
            found.append(Mismatch(f"{path}[{j}]", "is not expected", MISSING, seen[j]))
            lines.append(_line("+", f"[{j}]", seen[j]))
            j += 1
        else:
            wrong = pair(i, j)
            found.extend(wrong)
            lines.append(_line("~" if wrong else " ", f"[{j}]", seen[j]))
            i, j = i + (how == "pair"), j + 1
        uneven = uneven or how in ("missing", "extra")
    if uneven and found:
        first = found[0]
        notes = (*first.notes, "closest alignment (- missing, + not expected, ~ differs):", *_shorten(lines))
        found[0] = Mismatch(first.path, first.problem, first.expected, first.seen, notes)
    return found


def _coarse(expected: list[Any], seen: list[Any], path: str, element: Element) -> list[Mismatch]:
    states, read = _run(expected, seen, path, element)
    if read == len(seen) and (left := [s for s in states if s < len(expected)]):
        return [
            Mismatch(
                path, f"ends before element {max(left)} of the expected list", expected[max(left)], MISSING
            )
        ]
    if read < len(seen):
        return [
            Mismatch(f"{path}[{read}]", "is where the list stops being as expected", expected, seen[read])
        ]
    return [Mismatch(path, "is another list", expected, seen)]


def _not_found(item: Any, index: int, seen: list[Any], start: int, path: str, element: Element) -> Mismatch:
    early = next((i for i in range(start) if not element(item, seen[i], path)), None)
    if not seen:
        return Mismatch(
            path, f"lacks message {index} of the expected list: nothing happened here", item, MISSING
        )
    if early is not None:
        problem = f"lacks message {index} of the expected list here: it is there, but earlier, at [{early}]"
    else:
        problem = f"lacks message {index} of the expected list"
    notes = _closest(item, list(enumerate(seen)), path, element) if early is None else ()
    lines = [_line(" ", f"[{i}]", there) for i, there in enumerate(seen)]
    return Mismatch(path, problem, item, MISSING, (*notes, "messages seen:", *_shorten(lines)))


def _closest(item: Any, seen: list[tuple[int, Any]], path: str, element: Element) -> tuple[str, ...]:
    if not seen or not isinstance(item, dict):
        return ()
    ranked = [(element(item, there, f"{path}[{j}]"), j, there) for j, there in seen[:200]]
    # Of several that differ in as many things, one that is the same call is nearer.
    wrong, j, there = min(
        ranked, key=lambda entry: (len(entry[0]), any(w.path.endswith("call") for w in entry[0]))
    )
    if len(wrong) >= len(item):
        return ()
    details = [
        f"  {w.path} {w.problem}: expected {_cut(render(w.expected))}, seen {_cut(render(w.seen))}"
        for w in wrong
    ]
    return (f"the closest is [{j}] {_cut(render(there))}", *details[:4])


def _distance(expected: Any, wrong: list[Mismatch]) -> float:
    if not wrong:
        return 0.0
    return 0.1 + 0.9 * min(1.0, len(wrong) / _leaves(expected))


def _leaves(value: Any) -> int:
    if isinstance(value, Matcher):
        return _leaves(value.argument)
    if isinstance(value, dict):
        return sum(map(_leaves, value.values())) or 1
    if isinstance(value, list):
        return sum(map(_leaves, value)) or 1
    return 1


def _augment(i: int, fits: list[list[int]], owner: dict[int, int], tried: set[int]) -> bool:
    for j in fits[i]:
        if j in tried:
            continue
        tried.add(j)
        if j not in owner or _augment(owner[j], fits, owner, tried):
            owner[j] = i
            return True
    return False


def _line(sign: str, place: str, value: Any) -> str:
    return f"  {sign} {place:<5}{_cut(render(value))}"


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 20]} ... {text[-14:]}"


def _shorten(lines: list[str]) -> list[str]:
    if len(lines) <= _LINES:
        return lines
    # Lines without a difference are the ones to leave out.
    keep = {i for i, line in enumerate(lines) if line[2] != " "}
    near = sorted({n for i in keep for n in (i - 1, i, i + 1) if 0 <= n < len(lines)})[:_LINES] or list(
        range(_LINES)
    )
    short: list[str] = []
    last = -1
    for i in near:
        if i > last + 1:
            short.append(f"    ... {i - last - 1} more")
        short.append(lines[i])
        last = i
    if last < len(lines) - 1:
        short.append(f"    ... {len(lines) - last - 1} more")
    return short
