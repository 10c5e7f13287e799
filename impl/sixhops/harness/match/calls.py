"""Calls on the inner hops, as authors name them: a bare name stands for the call that succeeds.

The lines of messages there are `Tasks/Create -> OK`, `create -> 0`, and `Tasks/Wait -> ...` while a call is open. The
name alone, `Tasks/Create`, holds for all three; what else can come of a call is written out (`Tasks/Get -> NOT_FOUND`).
So does a mapping that names a call and says nothing of its outcome. What must *not* happen is another matter: a name
after `!not` forbids the call, however it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.errors import Mark
from sixhops.harness.scenario.model import Hop, Matcher

if TYPE_CHECKING:
    from sixhops.harness.exchange import HopMessage

__all__ = ["any_outcome", "names_call", "stands_for", "succeeded"]

_ARROW: Final = " -> "
_GOOD: Final = (" -> OK", " -> 0", " -> ...")
_INNER: Final = frozenset({Hop.CONTAINERD, Hop.SHIM, Hop.RUNTIME})
#: Fields that name a call, and those that say what came of it.
_NAMES: Final = frozenset({"call", "command"})
_OUTCOMES: Final = frozenset(
    {"summary", "status", "code", "message", "details", "exit", "error", "complete", "cancelled"}
)
_NOWHERE: Final = Mark("", 0, 0)


def stands_for(name: str, message: HopMessage) -> bool:
    """Return whether a line of text stands for a message: it is its line, or the bare name of a call of an inner hop
    that has succeeded or is open.
    """
    if name == message.summary:
        return True
    return _is_bare(name) and message.hop in _INNER and message.summary in {name + end for end in _GOOD}


def names_call(expected: dict[str, Any], message: HopMessage) -> bool:
    """Return whether a mapping names a call of an inner hop and leaves its outcome open, so that it must have succeeded."""
    return message.hop in _INNER and bool(_NAMES & expected.keys()) and not _OUTCOMES & expected.keys()


def succeeded(message: HopMessage) -> bool:
    """Return whether a call of an inner hop has succeeded or is open."""
    return message.summary.endswith(_GOOD)


def any_outcome(expected: Any, message: HopMessage) -> Any:
    """Return what forbids `expected` whatever came of the call, for an element after `!not`."""
    if message.hop not in _INNER:
        return expected
    if isinstance(expected, str) and _is_bare(expected):
        return Matcher("one_of", [expected, Matcher("prefix", expected + _ARROW, _NOWHERE)], _NOWHERE)
    if isinstance(expected, dict) and names_call(expected, message):
        return {**expected, "summary": Matcher("any", None, _NOWHERE)}
    return expected


def _is_bare(name: str) -> bool:
    return _ARROW not in name and not name.startswith("event ")
