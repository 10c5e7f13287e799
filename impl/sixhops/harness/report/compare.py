"""Two runs of a scenario beside each other: which message stands beside which, and what differs at which. Pure.

What differs is the business of `harness.diff`; here is only where it is shown.

    {"pairs": [[step of A, step of B, [[message of A, message of B], ...]], ...],
     "differences": [{"step", "hop", "message", "path", "kind", "a", "b", "accepted", "at": [message of A, message of B]}]}

A message or step that stands alone has null in the other's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.harness.diff.accepted import Comparison, sort_out
from sixhops.harness.diff.compare import diff
from sixhops.harness.diff.normalise import normalise
from sixhops.harness.diff.tokens import split_tokens
from sixhops.harness.diff.values import Partners, aligned, differences
from sixhops.harness.report.values import page_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.diff.accepted import Accepted
    from sixhops.harness.diff.model import Difference, NormalMessage, NormalStep
    from sixhops.harness.report.document import Picture, StepPicture
    from sixhops.harness.run.transcript import Transcript

__all__ = ["compare"]


def compare(a: Picture, b: Picture, accepted: Sequence[Accepted]) -> dict[str, Any]:
    """Return how two runs of one scenario compare."""
    left, right = normalise(a.transcript), normalise(b.transcript)
    found = Comparison(
        left.scenario,
        _facts(a.transcript),
        _facts(b.transcript),
        {**right.unseen, **left.unseen},
        tuple(diff(left, right)),
    )
    sorted_ = sort_out([found], accepted, [])
    reasons = {id(item): entry.reason for item, entry in sorted_.accepted}
    pairs = list(_steps(a, b, left.steps, right.steps))
    return {
        "pairs": [
            [
                None if first is None else first.exchange.step,
                None if second is None else second.exchange.step,
                [[None if side is None else side[0] for side in pair] for pair in messages],
            ]
            for first, second, messages in pairs
        ],
        "differences": [
            {
                "step": item.step,
                "hop": str(item.hop),
                "message": item.message,
                "path": item.path,
                "kind": item.kind,
                "a": page_value(item.a),
                "b": page_value(item.b),
                "accepted": reasons.get(id(item)),
                "at": _place(item, pairs),
            }
            for item in found.differences
        ],
    }


#: A message's number in the picture, and the message after normalisation (None for a step's own call).
_Side = tuple[int, "NormalMessage | None"]
_Pair = tuple["_Side | None", "_Side | None"]
_StepPair = tuple["StepPicture | None", "StepPicture | None", "list[_Pair]"]


def _facts(transcript: Transcript) -> dict[str, Any]:
    target = transcript.header["target"]
    return {key: target[key] for key in ("name", "engine_version", "programs")}


def _steps(
    a: Picture, b: Picture, left: Sequence[NormalStep], right: Sequence[NormalStep]
) -> list[_StepPair]:
    mine, theirs = _by_step(a), _by_step(b)
    keys = [[f"{step.kind} {step.name}" for step in steps] for steps in (left, right)]
    found: list[_StepPair] = []
    for at, other in aligned(*keys):
        first = None if at is None else mine[left[at].step]
        second = None if other is None else theirs[right[other].step]
        ours = [] if at is None or first is None else _sides(a, first, left[at])
        others = [] if other is None or second is None else _sides(b, second, right[other])
        found.append((first, second, _beside(ours, others)))
    return found


def _by_step(picture: Picture) -> dict[int, StepPicture]:
    return {step.exchange.step: step for step in picture.steps}


def _sides(picture: Picture, step: StepPicture, normal: NormalStep) -> list[_Side]:
    """Return a step's own call and its messages in time order."""
    numbered = [
        (picture.numbers[message.sequence], same)
        for message, same in zip(step.messages, normal.messages, strict=True)
    ]
    numbered.sort(key=lambda side: (side[1].started, side[0]))
    own: list[_Side] = [(step.own, None)] if step.own >= 0 else []
    return [*own, *numbered]


def _beside(a: list[_Side], b: list[_Side]) -> list[_Pair]:
    """Pair messages of the same summary: those in order first, then, where A has them, those in another order."""
    found: list[_Pair] = []
    keys = [[_key(side) for side in sides] for sides in (a, b)]
    for at, other in aligned(*keys):
        if at is not None and other is not None and keys[0][at] == keys[1][other]:
            found.append((a[at], b[other]))
            continue
        if at is not None:
            found.append((a[at], None))
        if other is not None:
            found.append((None, b[other]))
    spare = {at: side for at, (alone, side) in enumerate(found) if alone is None and side is not None}
    for at, (side, partner) in enumerate(found):
        if side is None or partner is not None:
            continue
        like = next((place for place, there in spare.items() if _key(there) == _key(side)), None)
        if like is not None:
            found[at] = (side, spare.pop(like))
            found[like] = (None, None)
    return [pair for pair in found if pair != (None, None)]


def _key(side: _Side) -> str:
    _, message = side
    return "own" if message is None else f"{message.hop} {split_tokens(message.summary)[0]}"


def _place(item: Difference, pairs: Sequence[_StepPair]) -> list[int | None]:
    """Return the numbers of the two messages at which a difference is shown; none when it is about the step as a whole."""
    for first, second, messages in pairs:
        if item.step not in {step.exchange.step for step in (first, second) if step is not None}:
            continue
        key = f"{item.hop} {item.message}"
        meant = [pair for pair in messages if key in {_key(side) for side in pair if side is not None}]
        whole = next((pair for pair in meant if _differs_at(pair, item.path)), meant[0] if meant else None)
        if item.kind in {"missing", "added"} and not item.path:
            whole = next((pair for pair in meant if pair[0 if item.kind == "added" else 1] is None), whole)
        if whole is None and not meant:
            # What is about no tapped message is about the step's own call.
            whole = next((pair for pair in messages if pair[0] is not None and pair[0][1] is None), None)
        if whole is not None:
            return [None if side is None else side[0] for side in whole]
    return [None, None]


def _differs_at(pair: _Pair, path: str) -> bool:
    one, other = (None if side is None else side[1] for side in pair)
    if one is None or other is None:
        return False
    return any(found.path == path for found in differences(one.fields, other.fields, Partners(), None))
