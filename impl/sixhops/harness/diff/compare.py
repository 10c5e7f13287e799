"""Two runs of a scenario compared: `diff`. Pure.

Steps are paired by their place in the scenario. Messages are paired hop by hop: first within a step, those that are
equal, then those of the same summary; then what is left over across steps, since what an engine does by itself
(cleaning up after a container has ended) may fall into one step or the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sixhops.harness.diff.model import Difference
from sixhops.harness.diff.order import PASSING, in_order, is_free, is_look
from sixhops.harness.diff.tokens import split_tokens
from sixhops.harness.diff.values import Partners, aligned, canonical, differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sixhops.harness.diff.model import Normal, NormalMessage, NormalStep
    from sixhops.harness.diff.values import Found

__all__ = ["diff"]

#: Seconds by which a message may come sooner or later and so fall into another step without being news.
_SLACK: Final = 0.5
#: With so many messages of its kind a look is compared at most.
_MOST_LOOKS: Final = 20


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something stands that is compared."""

    step: int
    step_name: str
    hop: str
    message: str


@dataclass(slots=True)
class _Side:
    """One side's message on one hop, with the step that it belongs to. `partner` is that of the other side."""

    step: NormalStep
    message: NormalMessage
    whole: str
    short: str
    strand: str
    partner: _Side | None = None

    @classmethod
    def of(cls, step: NormalStep, message: NormalMessage, strand: str) -> _Side:
        short = split_tokens(message.summary)[0]
        return cls(step, message, f"{short} {canonical(message.fields)}", short, strand)


_Key: TypeAlias = "Callable[[_Side], str]"
_STRICT: Final[tuple[_Key, ...]] = (
    lambda side: f"{side.strand} {side.whole}",
    # An event may reach its subscriber a step later, and the same in another step is nearer than another one in the same.
    lambda side: f"{side.strand} {side.whole if side.short.startswith('event ') else side.short}",
)
"""Of one strand: equal ones, then those of one summary, but for events."""
_LOOSE: Final[tuple[_Key, ...]] = (lambda side: side.whole, lambda side: side.short)
"""The same without regard to strands."""


@dataclass(slots=True)
class _Comparison:
    a: Normal
    b: Normal
    partners: Partners = field(default_factory=Partners)
    found: list[Difference] = field(default_factory=list)

    def report(self, place: _Place, path: str, kind: str, a: Any = None, b: Any = None) -> None:
        self.found.append(
            Difference(
                self.a.scenario, place.step, place.step_name, place.hop, place.message, path, kind, a, b
            )
        )

    def values(self, place: _Place, a: Any, b: Any) -> None:
        for item in differences(a, b, self.partners, place):
            self.report(place, item.path, item.kind, item.a, item.b)


def diff(a: Normal, b: Normal) -> list[Difference]:
    """Return all differences between two runs of a scenario, in order of steps, a hop after the other.

    Hops that one of the sides did not observe are left out; what the scenario did on them is in neither.
    """
    work = _Comparison(a, b)
    whole = _Place(-1, "", "", "")
    if a.verdict != b.verdict:
        work.report(whole, "verdict", "changed", a.verdict, b.verdict)
    pairs = list(_steps(work))
    for left, right in pairs:
        _facets(work, left, right)
    hops = {message.hop for side in (a, b) for step in side.steps for message in step.messages}
    for hop in sorted(hops):
        if hop not in a.unseen and hop not in b.unseen:
            _hop(work, hop, pairs)
    for place, path, left_token, right_token in work.partners.strangers():
        work.report(place, path, "identity", left_token, right_token)
    return sorted(work.found, key=lambda item: (item.step, item.hop))


def _steps(work: _Comparison) -> Iterator[tuple[NormalStep, NormalStep]]:
    a, b = work.a.steps, work.b.steps
    for left, right in aligned([_step_key(step) for step in a], [_step_key(step) for step in b]):
        if left is not None and right is not None:
            if a[left].name != b[right].name:
                work.report(_of_step(a[left]), "name", "changed", a[left].name, b[right].name)
            yield a[left], b[right]
        elif left is not None:
            work.report(_of_step(a[left]), "", "missing", a[left].line or a[left].name)
        elif right is not None:
            work.report(_of_step(b[right]), "", "added", None, b[right].line or b[right].name)


def _step_key(step: NormalStep) -> str:
    return f"{step.kind} {step.name}"


def _of_step(step: NormalStep) -> _Place:
    return _Place(step.step, step.name, step.hop, split_tokens(step.line)[0])


def _facets(work: _Comparison, a: NormalStep, b: NormalStep) -> None:
    left, right = a.facets, b.facets
    if a.settled != b.settled:
        # One of them still ran: only the head of both can be compared.
        heads = {"status", "reason", "headers", "sent", "error"}
        left, right = ({key: item for key, item in side.items() if key in heads} for side in (left, right))
    work.values(_of_step(a), left, right)


def _hop(work: _Comparison, hop: str, pairs: list[tuple[NormalStep, NormalStep]]) -> None:
    rest_a: list[_Side] = []
    rest_b: list[_Side] = []
    looks_a: list[_Side] = []
    looks_b: list[_Side] = []
    partner_of = {right.step: left.step for left, right in pairs}
    matched: list[tuple[_Side, _Side]] = []
    for left, right in pairs:
        a = _acts(left, hop, looks_a, str)
        b = _acts(right, hop, looks_b, work.partners.renamed)
        found = _match(a, b, _STRICT)
        matched += found
        repeated = left.attempts > 1 or right.attempts > 1
        seen = {side.whole for pair in found for side in pair} if repeated else set()
        rest_a += [side for side in a if side.partner is None and side.whole not in seen]
        rest_b += [side for side in b if side.partner is None and side.whole not in seen]
    # What is about the same container in another step is nearer than what is about another one in the same step.
    moved = _match(rest_a, rest_b, _STRICT)
    for left, right in pairs:
        matched += _match(
            [side for side in rest_a if side.step is left],
            [side for side in rest_b if side.step is right],
            _LOOSE,
        )
    moved += _match(rest_a, rest_b, _LOOSE)
    for x, y in (*matched, *moved):
        work.values(_at(x, hop), x.message.fields, y.message.fields)
    for x, y in moved:
        if not _may_move(x, y, work, partner_of):
            work.report(_at(x, hop), "", "moved", x.step.name, y.step.name)
    _order(work, hop, [*matched, *moved])
    for item in _alone(rest_a, work.a):
        work.report(_at(item, hop), "", "missing", item.message.summary)
    for item in _alone(rest_b, work.b):
        work.report(_at(item, hop), "", "added", None, item.message.summary)
    _looks(work, hop, looks_a, looks_b)


def _acts(step: NormalStep, hop: str, looks: list[_Side], rename: Callable[[str], str]) -> list[_Side]:
    """Return a step's messages on a hop but for those that only look, which are added to `looks`.

    `rename` turns a strand's name into the one that it has on side A.
    """
    sides = [
        _Side.of(step, message, rename(message.strand)) for message in step.messages if message.hop == hop
    ]
    # What a look that never came back would have seen says nothing.
    looks += [side for side in sides if is_look(side.message) and not side.short.endswith(" -> ...")]
    return [side for side in sides if not is_look(side.message)]


def _at(side: _Side, hop: str) -> _Place:
    return _Place(side.step.step, side.step.name, hop, side.short)


def _alone(sides: list[_Side], run: Normal) -> list[_Side]:
    """Return the messages without a partner, but for those that the other side's recording may just not have reached."""
    end = max((step.ended for step in run.steps), default=0.0) - _SLACK
    early = min((step.ended for step in run.steps), default=0.0)
    return [side for side in sides if side.partner is None and side.message.started <= max(end, early)]


def _looks(work: _Comparison, hop: str, a: list[_Side], b: list[_Side]) -> None:
    """Compare messages that only look: each must have its like on the other side, seeing the same but for what passes."""
    for sides, others, mine in ((a, b, True), (b, a, False)):
        wholes = {other.whole: other for other in others}
        numbers, other_numbers = _numbers(sides), _numbers(others)
        told: set[str] = set()
        for side in sides:
            like = wholes.get(side.whole)
            if like is not None:
                # Tokens are noted once, and only where there is no doubt which look is which.
                if mine and len(numbers[side.whole]) == 1 and len(other_numbers[side.whole]) == 1:
                    work.values(_at(side, hop), side.message.fields, like.message.fields)
                continue
            alike = [other for other in others if other.short == side.short]
            if not alike:
                # What a step saw that was repeated until it held was not yet what it waited for.
                once = side.step.attempts == 1
                if once and side.short not in told and _alone([side], work.a if mine else work.b):
                    told.add(side.short)
                    text = side.message.summary
                    work.report(
                        _at(side, hop),
                        "",
                        "missing" if mine else "added",
                        text if mine else None,
                        None if mine else text,
                    )
                continue
            # At what somebody looks beside that is a matter of time as well.
            alike = [other for other in alike if other.strand == side.strand]
            _nearest(work, hop, side, alike, mine=mine)


def _numbers(sides: list[_Side]) -> dict[str, set[str]]:
    """Return for each content all that it has in place of its numbered tokens."""
    found: dict[str, set[str]] = {}
    for side in sides:
        found.setdefault(side.whole, set()).add(repr(side.message.fields))
    return found


def _nearest(work: _Comparison, hop: str, side: _Side, alike: list[_Side], *, mine: bool) -> None:
    best: list[Found] | None = None
    for other in alike[:_MOST_LOOKS]:
        a, b = (side, other) if mine else (other, side)
        found = [
            item
            for item in differences(a.message.fields, b.message.fields, Partners(), None)
            if item.path.rpartition(".")[2] not in PASSING
        ]
        if best is None or len(found) < len(best):
            best = found
    for item in best or ():
        work.report(_at(side, hop), item.path, item.kind, item.a, item.b)


def _match(a: list[_Side], b: list[_Side], keys: tuple[_Key, ...]) -> list[tuple[_Side, _Side]]:
    """Pair messages of which a key is equal, key after key: those in order first, then in any order."""
    found: list[tuple[_Side, _Side]] = []
    for key in keys:
        left = [side for side in a if side.partner is None]
        right = [side for side in b if side.partner is None]
        for at, other in aligned([key(side) for side in left], [key(side) for side in right]):
            if at is not None and other is not None and key(left[at]) == key(right[other]):
                found.append(_pair(left[at], right[other]))
        waiting: dict[str, list[_Side]] = {}
        for side in right:
            if side.partner is None:
                waiting.setdefault(key(side), []).append(side)
        found += [
            _pair(side, waiting[key(side)].pop(0))
            for side in left
            if side.partner is None and waiting.get(key(side))
        ]
    return found


def _pair(a: _Side, b: _Side) -> tuple[_Side, _Side]:
    a.partner, b.partner = b, a
    return a, b


def _may_move(a: _Side, b: _Side, work: _Comparison, partner_of: dict[int, int]) -> bool:
    """Say whether a little more or less time explains that two messages belong to different steps."""
    if partner_of.get(b.step.step) == a.step.step:
        return True
    return _near(a, partner_of.get(b.step.step), work.a) or _near(
        b, next((right for right, left in partner_of.items() if left == a.step.step), None), work.b
    )


def _near(side: _Side, step: int | None, run: Normal) -> bool:
    other = next((item for item in run.steps if item.step == step), None)
    if other is None:
        return False
    start = side.message.started
    return other.started - _SLACK <= start <= other.ended + _SLACK


def _order(work: _Comparison, hop: str, pairs: list[tuple[_Side, _Side]]) -> None:
    """Report messages that came one after the other in A, and the other way round in B."""
    # Of what never ended the end is unknown, and so is what it comes before.
    ended = [pair for pair in pairs if not pair[0].short.endswith(" -> ...")]
    ordered = sorted(ended, key=lambda pair: pair[0].message.started)
    told: set[str] = set()
    for at, (a, b) in enumerate(ordered):
        for later_a, later_b in ordered[at + 1 :]:
            if is_free(a.message, later_a.message) or _are_alike(a, b, later_a, later_b):
                continue
            if in_order(a.message, later_a.message) and in_order(later_b.message, b.message):
                place = _Place(a.step.step, a.step.name, hop, a.short)
                text = f"{a.short} before {later_a.short}"
                if text not in told:
                    told.add(text)
                    work.report(place, "", "order", text, f"{later_a.short} before {a.short}")


def _are_alike(a: _Side, b: _Side, later_a: _Side, later_b: _Side) -> bool:
    """Say whether it can't be told which of two messages is which on the other side."""
    is_certain = a.whole == b.whole and later_a.whole == later_b.whole and a.whole != later_a.whole
    return a.short == later_a.short and not is_certain
