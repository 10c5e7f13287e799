"""What comes of a scenario, of one that was run and of a saved one that is judged again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.harness.judge import Status

if TYPE_CHECKING:
    from sixhops.harness.exchange import Exchange, HopMessage
    from sixhops.harness.judge import Verdict
    from sixhops.harness.scenario.variables import Scope

__all__ = ["ScenarioRun"]


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """What came of one scenario on one target.

    `skipped`: why it was not run at all (then the verdict is skipped, without steps). `scope`: the
    variables that it started with, for judging the exchanges again. `leftovers`: a sentence for each thing
    that it made and that is still there or refused to go; not empty is a failure of its own.
    `target_error`: after a failure, which program of the target has died and how. `late`: messages that
    no step saw, or none saw ended. `logs`: the last log lines of each program, only when something
    failed. `duration` in seconds.
    """

    exchanges: list[Exchange]
    verdict: Verdict
    leftovers: list[str] = field(default_factory=list)
    duration: float = 0.0
    skipped: str | None = None
    scope: Scope | None = None
    target_error: str | None = None
    late: list[HopMessage] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Say whether everything that could be observed was as expected, and nothing was left."""
        fine = self.verdict.status is not Status.FAILED
        return fine and not self.leftovers and self.skipped is None
