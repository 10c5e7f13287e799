"""What judging gives: statuses that only get worse, and every failure with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sixhops.harness.errors import Mark
    from sixhops.harness.exchange import Facet
    from sixhops.harness.scenario.variables import Scope

__all__ = ["Failure", "Status", "StepVerdict", "Verdict"]


class Status(StrEnum):
    """How a step or a scenario came out. `passed < skipped < failed`; combining takes the worse."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"

    def worse(self, other: Status) -> Status:
        """Return the worse of the two: a failure is never undone by what comes later."""
        return max(self, other, key=_ORDER.index)


_ORDER: Final = (Status.PASSED, Status.SKIPPED, Status.FAILED)


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that did not hold, with all that a message needs.

    `step` counts from 0; `hop` is where it was seen; `facet` what was looked at ("" when the step itself
    failed); `path` where in the facet; `expected` a Value or MISSING, `seen` a Facet or MISSING; `mark` the
    place of the expectation.
    """

    step: int
    step_name: str
    hop: str
    facet: str
    path: str
    problem: str
    expected: Any
    seen: Any
    mark: Mark
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """How one step came out.

    `mismatches`: every failure. `skipped`: facet to the reason why it could not be observed; those
    expectations count as neither held nor failed. `saved`: the variables that it gave; `scope`: what later
    steps see. `checked`: expectations that were compared.
    """

    step: int
    status: Status
    mismatches: tuple[Failure, ...]
    skipped: dict[str, str]
    saved: dict[str, Facet]
    scope: Scope
    checked: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a scenario came out: the worst of its steps, and the steps that were performed, in order."""

    status: Status
    steps: tuple[StepVerdict, ...] = field(default=())

    @property
    def mismatches(self) -> tuple[Failure, ...]:
        """Return the failures of all steps."""
        return tuple(failure for step in self.steps for failure in step.mismatches)

    @property
    def skipped(self) -> tuple[tuple[int, str, str], ...]:
        """Return (step, facet, reason) of every expectation that could not be observed."""
        return tuple(
            (step.step, facet, reason) for step in self.steps for facet, reason in step.skipped.items()
        )
