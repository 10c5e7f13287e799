"""What of a baseline can be compared with a run of today's suite: `fit`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.diff.accepted import Accepted, Entry
from sixhops.harness.errors import Mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sixhops.harness.baselines.archive import Recorded

__all__ = ["OF_MACHINE", "Fit", "fit", "not_compared", "other_machine"]

_MOST: Final = 5
_OF_MACHINE: Final = {
    "cgroup_version": "control groups of version {}",
    "architecture": "the architecture {}",
}

OF_MACHINE: Final = Accepted(
    a={},
    b={},
    differences=(),
    varies=(
        Entry(
            scenarios=("*",),
            step="*",
            hops=("engine",),
            messages=("GET /*info*",),
            fields=("*NCPU", "*MemTotal"),
            kinds=("changed",),
            reason="the baseline was recorded on another machine",
            ref="",
            mark=Mark("baselines", 1, 1),
        ),
    ),
    mark=Mark("baselines", 1, 1),
)
"""What of GET /info is the machine's: it varies between a baseline and any run."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The scenarios of a baseline and of the suite, by id.

    `usable` do today what they did; `newer` are not in the baseline; `changed` do something else now; `gone` are in the
    baseline only.
    """

    usable: frozenset[str]
    newer: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]

    def notices(self, recorded: Recorded) -> Iterator[str]:
        """Yield a line for each kind of scenarios that can't be compared."""
        since = f"the baseline {recorded.name} of {recorded.recorded[:10]}"
        for names, what in (
            (self.newer, f"are newer than {since}"),
            (self.changed, f"do something else than in {since}"),
            (self.gone, f"of {since} are no longer in the suite"),
        ):
            if names:
                yield not_compared(names, what)


def not_compared(names: Sequence[str], what: str) -> str:
    """Return a line that counts scenarios and names the first; `what` is true of them."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"not compared: {len(names)} scenarios {what}: {', '.join(names[:_MOST])}{more}"


def fit(recorded: Recorded, suite: Mapping[str, str], wanted: Iterable[str] | None = None) -> Fit:
    """Return how a baseline fits the suite, given as digests by id; `wanted`: only these scenarios matter."""
    old = {name: entry.digest for name, entry in recorded.scenarios.items()}
    chosen = set(suite) if wanted is None else set(wanted)
    return Fit(
        usable=frozenset(name for name in chosen if name in old and old[name] == suite[name]),
        newer=tuple(sorted(chosen - old.keys())),
        changed=tuple(sorted(name for name in chosen if name in old and old[name] != suite[name])),
        gone=tuple(sorted(old.keys() - suite.keys())) if wanted is None else (),
    )


def other_machine(recorded: Recorded, target: Mapping[str, Any]) -> list[str]:
    """Return what is different about the machines, as a line each: much of what differs then may come from it.

    `target` is as in a transcript's header.
    """
    lines = []
    for key, words in _OF_MACHINE.items():
        then, now = recorded.target.get(key), target.get(key)
        if then != now:
            lines.append(
                f"the baseline {recorded.name} was recorded with {words.format(then)}, this run was made with "
                f"{words.format(now)}"
            )
    return lines
