"""From the judge's verdict to an outcome: known differences taken out, the rest written for a person to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sixhops.harness.judge import format_mismatch
from sixhops.harness.plugin.outcome import KnownDifference
from sixhops.harness.plugin.profile import Difference, differences_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.exchange import Exchange, HopMessage
    from sixhops.harness.plugin.outcome import Outcome
    from sixhops.harness.plugin.profile import Profile
    from sixhops.harness.scenario.model import Scenario, Step
    from sixhops.harness.target import Target

__all__ = ["assess"]

_LAST_MESSAGES = 8
_LOG_LINES = 20


def assess(
    scenario: Scenario,
    run: Any,
    target: Target,
    profiles: Iterable[Profile],
    *,
    marks: dict[str, int],
    seconds: float,
) -> Outcome:
    """Return the outcome of `run` (a ScenarioRun) on `target`.

    `marks` say where the programs' logs ended when the scenario began; `seconds` is how long it took.
    """
    raise NotImplementedError
