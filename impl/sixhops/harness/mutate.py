"""Can each expectation fail? Corrupt what a passed scenario saw, judge again, and name what never notices.

How to think about it: an expectation is a tree, and each leaf of it (a *place*) looks at something that was
recorded. `_places` walks the tree beside the recording and gives each place its mutants; `score_of` judges
the step's one expectation again for each mutant until one is enough. Nothing here knows how a matcher
decides; it only knows where a matcher looks. docs/mutants.md has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.errors import Mark
from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.judge import judge_step
from sixhops.harness.match import MISSING, Messages, match, message_fields
from sixhops.harness.mutants import (
    DROPPED,
    OPERATORS,
    UNCHANGED,
    Kind,
    items_of,
    likely,
    likely_message,
    with_items,
)
from sixhops.harness.scenario.model import Hop, Matcher
from sixhops.harness.scenario.paths import format_path
from sixhops.harness.scenario.variables import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sixhops.harness.scenario.model import Expectation, Scenario, Step
    from sixhops.harness.scenario.variables import Scope

__all__ = ["Score", "Survivor", "score_of", "total_of"]

_HOPS: Final = frozenset(hop.value for hop in Hop)
#: What these can notice is that a value goes, or is of another type; changing it is none of their business.
_BLIND: Final = frozenset({"any", "type"})
#: In a longer list, a foreign element is put at so many positions at most.
_POSITIONS: Final = 24
_POOL: Final = 4000
_NOWHERE: Final = Mark("", 0, 0)


@dataclass(frozen=True, slots=True)
class Survivor:
    """A place that no mutant made fail. `step` counts from 0; `mark` is the nearest place in the file."""

    scenario: str
    step: int
    step_name: str
    place: str
    mark: Mark
    why: str


@dataclass(frozen=True, slots=True)
class Score:
    """How many places of a scenario's expectations can fail.

    `mutants`: how many were judged. `unobserved`: expectations that the run had skipped, and that are not
    counted. `broken`: a line for each expectation that does not even hold for what was recorded.
    """

    id: str
    places: int = 0
    killed: int = 0
    mutants: int = 0
    survivors: tuple[Survivor, ...] = ()
    unobserved: int = 0
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Spot:
    """What a place looks at: one recorded value, or several that only together can be missed.

    `put` returns the whole facet with other values in their place (DROPPED takes one away).
    """

    values: list[Any]
    put: Callable[[list[Any]], Any]

    def at_key(self, key: str) -> _Spot:
        """Return the spot of a mapping's key or a message's field; header names may be in any case."""
        keys = [_key_in(value, key) for value in self.values]

        def put(news: list[Any]) -> Any:
            return self.put([_with_key(v, k, new) for v, k, new in zip(self.values, keys, news, strict=True)])

        return _Spot([_get(value, k) for value, k in zip(self.values, keys, strict=True)], put)

    def at_elements(self, picks: list[list[int]]) -> _Spot:
        """Return the spot of some elements of each list."""
        flat = [(at, index) for at, indexes in enumerate(picks) for index in indexes]

        def put(news: list[Any]) -> Any:
            lists = [list(items_of(value) or []) for value in self.values]
            for (at, index), new in zip(flat, news, strict=True):
                lists[at][index] = new
            kept = [[item for item in items if item is not DROPPED] for items in lists]
            return self.put([with_items(v, items) for v, items in zip(self.values, kept, strict=True)])

        return _Spot([(items_of(self.values[at]) or [])[index] for at, index in flat], put)

    def all_as(self, change: Callable[[Any], Any]) -> Any:
        """Return the facet with `change` applied to every value, or UNCHANGED when it changes none."""
        news = [change(value) for value in self.values]
        if all(new is UNCHANGED for new in news):
            return UNCHANGED
        return self.put([v if new is UNCHANGED else new for v, new in zip(self.values, news, strict=True)])


@dataclass(frozen=True, slots=True)
class _Place:
    """One leaf of an expectation, with its mutants: whole facets, each with what was done to it.

    `content`: it says something of the value itself, so that a mutant of the same type must make it fail.
    """

    path: str
    mark: Mark
    mutants: Iterable[tuple[Kind, Any]]
    content: bool = True


def score_of(scenario: Scenario, exchanges: Sequence[Exchange], scope: Scope) -> Score:
    """Return which places of a passed scenario's expectations can fail.

    `scope` is the one that the run began with. Raises ScenarioError when the scenario no longer fits the
    recording.
    """
    by_index = {exchange.step: exchange for exchange in exchanges}
    walk = _Walk(exchanges)
    score = Score(scenario.id)
    for step in (*scenario.steps, *scenario.cleanup):
        exchange = by_index.get(step.index)
        if exchange is None:
            continue
        before, scope = scope, judge_step(scenario, step, exchange, scope).scope
        for expectation in step.expect:
            if expectation.facet in exchange.unobserved:
                score = replace(score, unobserved=score.unobserved + 1)
            else:
                trial = _Trial(scenario, step, exchange, before, expectation)
                score = total_of((score, trial.score(walk)), scenario.id)
    return score


def total_of(scores: Iterable[Score], name: str = "total") -> Score:
    """Return the sum of `scores`."""
    listed = list(scores)
    return Score(
        name,
        sum(score.places for score in listed),
        sum(score.killed for score in listed),
        sum(score.mutants for score in listed),
        tuple(item for score in listed for item in score.survivors),
        sum(score.unobserved for score in listed),
        tuple(line for score in listed for line in score.broken),
    )


class _Trial:
    """One expectation of one step, judged alone on corrupted copies of the step's exchange."""

    def __init__(
        self, scenario: Scenario, step: Step, exchange: Exchange, scope: Scope, expectation: Expectation
    ) -> None:
        self._scenario = scenario
        self._step = replace(step, expect=(expectation,), save=(), eventually=None)
        self._exchange = exchange
        self._scope = scope
        self._expectation = expectation

    def score(self, walk: _Walk) -> Score:
        """Judge all places."""
        facet, mark = self._expectation.facet, self._expectation.mark
        if self._fails(self._seen()):
            return Score("", broken=(f"{mark}: {facet} does not hold for what was recorded",))
        expected = resolve(self._expectation.value, self._scope)
        root = _Spot([self._seen()], lambda news: news[0])
        base = "$" if facet == "json" else facet
        places = killed = count = 0
        survivors = []
        for place in walk.places(expected, root, base, mark):
            places += 1
            tried, survived = self._try(place)
            count += tried
            if survived:
                shown = f"json {place.path}" if facet == "json" else place.path
                survivors.append(
                    Survivor(
                        self._scenario.id, self._step.index, self._step.name, shown, place.mark, survived
                    )
                )
            else:
                killed += 1
        return Score("", places, killed, count, tuple(survivors))

    def _try(self, place: _Place) -> tuple[int, str]:
        """Return how many mutants were judged, and why the place survives ("": it does not)."""
        count = 0
        weak = False
        for kind, facet in place.mutants:
            if place.content and weak and not kind.keeps_type:
                continue
            count += 1
            if self._fails(facet):
                if kind.keeps_type or not place.content:
                    return count, ""
                weak = True
        if weak:
            return count, f"fails only when the value goes or changes its type ({count} mutants)"
        return count, f"never fails ({count} mutants)"

    def _seen(self) -> Any:
        facet, exchange = self._expectation.facet, self._exchange
        if facet == "error":
            return MISSING if exchange.error is None else exchange.error
        if facet in _HOPS and facet not in exchange.facets:
            return Messages(tuple(message for message in exchange.messages if message.hop == facet))
        return exchange.facets.get(facet, MISSING)

    def _fails(self, value: Any) -> bool:
        facet, exchange = self._expectation.facet, self._exchange
        gone = value is DROPPED or value is MISSING
        if facet == "error":
            corrupted = replace(exchange, error=None if gone else value)
        elif facet in _HOPS and facet not in exchange.facets:
            others = [message for message in exchange.messages if message.hop != facet]
            mine = value.items if isinstance(value, Messages) else ()
            corrupted = replace(exchange, messages=[*others, *(replace(m, hop=facet) for m in mine)])
        else:
            facets = {name: item for name, item in exchange.facets.items() if name != facet}
            corrupted = replace(exchange, facets=facets if gone else {**facets, facet: value})
        return bool(judge_step(self._scenario, self._step, corrupted, self._scope).mismatches)


class _Walk:
    """Finds the places of expectations; knows the whole recording, for texts that patterns may match."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = exchanges

    @cached_property
    def _texts(self) -> list[str]:
        found: dict[str, None] = {}
        waiting: list[Any] = [exchange.facets for exchange in self._exchanges]
        waiting += [message.summary for exchange in self._exchanges for message in exchange.messages]
        while waiting and len(found) < _POOL:
            value = waiting.pop()
            if isinstance(value, str):
                found[value[:4096]] = None
            elif isinstance(value, dict | list):
                waiting.extend(value.values() if isinstance(value, dict) else value)
        return list(found)

    def _pool(self) -> list[str]:
        return self._texts

    def places(
        self, expected: Any, spot: _Spot, path: str, mark: Mark, *, exact: bool = False
    ) -> Iterator[_Place]:
        """Yield the leaves of `expected`, which holds for all values of `spot`."""
        if isinstance(expected, Matcher):
            near = expected.mark if expected.mark.path == mark.path else mark
            yield from self._matcher(expected, spot, path, near, exact)
        elif isinstance(expected, dict):
            yield from self._mapping(expected, spot, path, mark, exact)
        elif isinstance(expected, list) and all(items_of(value) is not None for value in spot.values):
            if any(isinstance(value, Messages) for value in spot.values) and expected and not exact:
                yield from self._messages(expected, spot, path, mark)
            else:
                yield from self._sequence(expected, spot, path, mark, exact)
        else:
            yield _leaf(_summary(spot), path, mark, content=expected is not None)

    def _mapping(
        self, expected: dict[str, Any], spot: _Spot, path: str, mark: Mark, exact: bool
    ) -> Iterator[_Place]:
        is_message = any(isinstance(value, HopMessage) for value in spot.values)
        if not expected or (exact and not is_message):
            extra = spot.all_as(lambda value: {**value, "sixhops-mutant": 1})
            yield _Place(f"{path} (other keys)", mark, [(Kind.CHANGE, extra)])
        for key, item in expected.items():
            yield from self.places(item, spot.at_key(key), format_path(path, (key,)), mark, exact=exact)

    def _sequence(
        self, expected: list[Any], spot: _Spot, path: str, mark: Mark, exact: bool
    ) -> Iterator[_Place]:
        yield _leaf(spot, f"{path} (its elements)", mark)
        gaps = [item for item in expected if _named(item, "some")]
        fixed = [(at, item) for at, item in enumerate(expected) if not _named(item, "some")]
        yield from self._order([item for _, item in fixed], spot, path, mark, exact)
        for at, item in fixed:
            picks = self._own(at, expected, spot, exact) if gaps else [[at] for _ in spot.values]
            yield from self.places(item, spot.at_elements(picks), f"{path}[{at}]", mark, exact=exact)
        for gap in gaps:
            if gap.argument is None:
                continue
            yield _Place(f"{path} (!some)", gap.mark, _inserted(spot))
            others = [index for _, item in fixed for index in self._matching(item, spot, exact)[0]]
            only = [i for i in self._matching(gap.argument, spot, exact)[0] if i not in others]
            if only and len(spot.values) == 1:
                inner = spot.at_elements([only[:1]])
                yield from self.places(gap.argument, inner, f"{path} (!some)", gap.mark, exact=exact)

    def _messages(self, expected: list[Any], spot: _Spot, path: str, mark: Mark) -> Iterator[_Place]:
        wanted = [item for item in expected if not _named(item, "not", "some")]
        if wanted:
            yield _leaf(spot, f"{path} (its messages)", mark)
        yield from self._order(wanted, spot, path, mark, exact=False)
        for at, item in enumerate(expected):
            if _named(item, "some"):
                continue
            if _named(item, "not"):
                yield _Place(f"{path}[{at}]", item.mark, self._forbidden(item.argument, spot))
                continue
            inner = spot.at_elements(self._own(at, expected, spot, exact=False))
            yield from self.places(item, inner, f"{path}[{at}]", mark)

    def _order(self, wanted: list[Any], spot: _Spot, path: str, mark: Mark, exact: bool) -> Iterator[_Place]:
        """Yield the place "its order" of elements that are expected one after the other.

        A mutant has all elements that fit one of them before all others, so that none comes after the one before it.
        Neighbours of which each fits the other's expectation say nothing about order.
        """
        mutants = []
        for item, follower in pairwise(wanted):
            moved = self._matching(follower, spot, exact)
            fitting = self._matching(item, spot, exact)
            if any(set(late) & set(early) for late, early in zip(moved, fitting, strict=True)):
                continue
            facet = spot.put([_with_first(v, at) for v, at in zip(spot.values, moved, strict=True)])
            mutants.append((Kind.REORDER, facet))
        if mutants:
            yield _Place(f"{path} (its order)", mark, mutants)

    def _forbidden(self, argument: Any, spot: _Spot) -> Iterator[tuple[Kind, Any]]:
        like = [message for exchange in self._exchanges for message in exchange.messages][:50]
        like.append(HopMessage("", 0, 0.0, 0.0, "", {}))
        for template in like:
            for message in likely_message(argument, template, self._pool):
                if not match(argument, message):
                    yield from _inserted(spot, message)
                    return

    def _matcher(self, matcher: Matcher, spot: _Spot, path: str, mark: Mark, exact: bool) -> Iterator[_Place]:
        argument: Any = matcher.argument
        all_lists = all(items_of(value) is not None for value in spot.values)
        match matcher.name:
            case "exact":
                yield from self.places(argument, spot, path, mark, exact=True)
            case "contains" if all_lists:
                wanted = argument if isinstance(argument, list) else [argument]
                for at, item in enumerate(wanted):
                    inner = spot.at_elements(self._own(at, wanted, spot, exact=False))
                    yield from self.places(item, inner, f"{path}[?]", mark)
            case "contains" if isinstance(argument, dict):
                yield from self.places(argument, spot, path, mark)
            case "prefix" if isinstance(argument, list) and all_lists:
                yield from self._sequence(argument, spot, path, mark, exact)
            case "unordered" if all_lists:
                yield _leaf(spot, f"{path} (its elements)", mark)
                for at, item in enumerate(argument):
                    if _named(item, "some"):
                        continue
                    inner = spot.at_elements(self._own(at, argument, spot, exact))
                    yield from self.places(item, inner, f"{path}[?]", mark, exact=exact)
            case "each":
                yield from self._each(argument, spot, path, mark, exact)
            case "one_of":
                yield from self._one_of(argument, spot, path, mark, exact)
            case "not":
                yield _Place(path, mark, self._refused(argument, spot))
            case name:
                yield _leaf(_summary(spot), path, mark, content=name not in _BLIND)

    def _each(self, argument: Any, spot: _Spot, path: str, mark: Mark, exact: bool) -> Iterator[_Place]:
        if all(items_of(value) is not None for value in spot.values):
            inner = spot.at_elements([[0] for _ in spot.values])
            yield from self.places(argument, inner, f"{path}[0]", mark, exact=exact)
            return
        keys = [next(iter(value)) for value in spot.values]
        inner = _Spot(
            [value[key] for value, key in zip(spot.values, keys, strict=True)],
            lambda news: spot.put(
                [_with_key(v, k, n) for v, k, n in zip(spot.values, keys, news, strict=True)]
            ),
        )
        yield from self.places(argument, inner, f"{path}.{keys[0]}", mark, exact=exact)

    def _one_of(
        self, options: list[Any], spot: _Spot, path: str, mark: Mark, exact: bool
    ) -> Iterator[_Place]:
        # Only the choice that was taken looks at anything; the others are for other engines.
        taken = next(
            (option for option in options if not any(_wrong(option, value, exact) for value in spot.values)),
            None,
        )
        if taken is None:
            yield _leaf(_summary(spot), path, mark)
        else:
            yield from self.places(taken, spot, path, mark, exact=exact)

    def _refused(self, argument: Any, spot: _Spot) -> Iterator[tuple[Kind, Any]]:
        for value in likely(argument, spot.values[0] if spot.values else MISSING, self._pool):
            yield Kind.CHANGE, spot.put([value] * len(spot.values))

    def _own(self, at: int, expected: list[Any], spot: _Spot, exact: bool) -> list[list[int]]:
        """Return which elements of each list are there for the expected one at `at`: all that fit it, but for
        those that another one may need, since to corrupt those would fail that other one. All of them when
        nothing else is left.
        """
        fitting = self._matching(expected[at], spot, exact)
        rest = [item for i, item in enumerate(expected) if i != at and not _named(item, "some", "not")]
        taken = [self._matching(item, spot, exact) for item in rest]
        return [
            [i for i in indexes if not any(i in picks[which] for picks in taken)] or indexes
            for which, indexes in enumerate(fitting)
        ]

    def _matching(self, item: Any, spot: _Spot, exact: bool) -> list[list[int]]:
        return [
            [index for index, there in enumerate(items_of(value) or []) if not _wrong(item, there, exact)]
            for value in spot.values
        ]


def _wrong(expected: Any, seen: Any, exact: bool) -> bool:
    wrapped = Matcher("exact", expected, _NOWHERE) if exact else expected
    return bool(match(wrapped, seen))


def _named(item: Any, *names: str) -> bool:
    return isinstance(item, Matcher) and item.name in names


def _leaf(spot: _Spot, path: str, mark: Mark, *, content: bool = True) -> _Place:
    def mutants() -> Iterator[tuple[Kind, Any]]:
        for kind, operator in OPERATORS:
            facet = spot.all_as(operator)
            if facet is not UNCHANGED:
                yield kind, facet

    return _Place(path, mark, mutants(), content)


def _inserted(spot: _Spot, *foreign: Any) -> Iterator[tuple[Kind, Any]]:
    longest = max((len(items_of(value) or []) for value in spot.values), default=0)
    for index in range(0, longest + 1, max(1, longest // _POSITIONS)):
        for stranger in foreign or ({"sixhops-mutant": 1}, "sixhops-mutant"):
            facet = spot.all_as(partial(_with_element, index=index, new=stranger))
            yield Kind.CHANGE, facet


def _with_element(value: Any, index: int, new: Any) -> Any:
    items = items_of(value) or []
    return with_items(value, [*items[:index], new, *items[index:]])


def _with_first(value: Any, indexes: list[int]) -> Any:
    items = items_of(value) or []
    rest = [item for at, item in enumerate(items) if at not in indexes]
    return with_items(value, [*(items[at] for at in indexes), *rest])


def _summary(spot: _Spot) -> _Spot:
    """Return the spot of the lines of messages, where the values are messages; otherwise `spot`."""
    if not any(isinstance(value, HopMessage) for value in spot.values):
        return spot

    def put(news: list[Any]) -> Any:
        pairs = zip(spot.values, news, strict=True)
        return spot.put([new if new is DROPPED else replace(value, summary=new) for value, new in pairs])

    return _Spot([value.summary for value in spot.values], put)


def _key_in(value: Any, key: str) -> str:
    fields = _fields(value)
    return key.lower() if key not in fields and key.lower() in fields else key


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, HopMessage):
        return message_fields(value)
    return value if isinstance(value, dict) else {}


def _get(value: Any, key: str) -> Any:
    return _fields(value).get(key, MISSING)


def _with_key(value: Any, key: str, new: Any) -> Any:
    if isinstance(value, HopMessage):
        if key == "summary":
            return DROPPED if new is DROPPED else replace(value, summary=new)
        # A body is read as JSON again unless it goes as well.
        gone = {key, key.replace("_json", "_body")} if new is DROPPED else {key}
        fields = {name: item for name, item in value.fields.items() if name not in gone}
        return replace(value, fields=fields if new is DROPPED else {**fields, key: new})
    rest = {name: item for name, item in value.items() if name != key}
    return rest if new is DROPPED or new is MISSING else {**rest, key: new}
