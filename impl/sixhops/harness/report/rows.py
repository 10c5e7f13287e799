"""A step's messages as rows of a sequence diagram: one row an arrow, in time order, answers where others lie between.

The HTML page and the SVG draw the same rows. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Call", "Row", "rows_of"]

#: A call that took less than this many seconds has begun and ended on one row, whatever lies between.
_INSTANT: Final = 0.000_2


@dataclass(frozen=True, slots=True)
class Call:
    """What one arrow stands for. `message` is its number in the scenario, times are seconds from the beginning.

    `is_event`: nobody answers it. `answer_only`: its question was asked in an earlier step.
    """

    message: int
    source: int
    sink: int
    started: float
    ended: float
    is_event: bool = False
    answer_only: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One arrow. `kind`: call (answered on the same row), ask, answer, event. `active`: the lanes at work on this row."""

    kind: str
    message: int
    source: int
    sink: int
    at: float
    active: tuple[int, ...] = field(default=())


def rows_of(calls: Iterable[Call]) -> list[Row]:
    """Return the rows of one step, in order of time."""
    ordered = sorted(calls, key=lambda call: (call.ended if call.answer_only else call.started, call.message))
    moments: list[tuple[float, int, int, str, Call]] = []
    for number, call in enumerate(ordered):
        if call.answer_only:
            moments.append((call.ended, 1, number, "answer", call))
        elif call.is_event:
            moments.append((call.started, 0, number, "event", call))
        elif _has_within(call, ordered):
            moments.append((call.started, 0, number, "ask", call))
            # Of calls that end at the same moment, the one that began last ends first.
            moments.append((call.ended, 1, -number, "answer", call))
        else:
            moments.append((call.started, 0, number, "call", call))
    moments.sort(key=lambda moment: moment[:3])
    return list(_with_activity(moments))


def _has_within(call: Call, calls: Sequence[Call]) -> bool:
    """Say whether another call begins or ends while this one is open, so that its answer has a row of its own."""
    if call.ended - call.started < _INSTANT:
        return False
    return any(
        call.started < moment < call.ended
        for other in calls
        if other is not call
        for moment in ((other.ended,) if other.answer_only else (other.started,))
    )


def _with_activity(moments: list[tuple[float, int, int, str, Call]]) -> Iterable[Row]:
    open_: list[Call] = []
    for at, _, _, kind, call in moments:
        if kind == "answer" and call in open_:
            open_.remove(call)
        busy = {item.sink for item in open_} | {call.sink}
        if kind == "ask":
            open_.append(call)
        source, sink = (call.sink, call.source) if kind == "answer" else (call.source, call.sink)
        yield Row(kind, call.message, source, sink, at, tuple(sorted(busy)))
