"""One scenario's result as data that reports, xdist and results.json carry.

The judge's verdict says which expectations held. An outcome adds what only the run knows: differences that
the engine's profile foresees, what was left behind, what could not be observed, and whose fault an error is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

__all__ = ["KnownDifference", "Outcome"]


@dataclass(frozen=True, slots=True)
class KnownDifference:
    """An engine's difference that a scenario showed, as its profile describes it.

    `rule` is the place of the rule that foresaw it, empty for a difference of this scenario's own. `crash`: a program of the
    target dies of it.
    """

    step: str
    reason: str
    ref: str
    rule: str = ""
    crash: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one scenario.

    `verdict`: passed, failed, skipped, known (only differences that the engine's profile names) or
    unreachable (no target to run it on). `fault` says whom to call when it is not an expectation that failed:
    scenario, target, or sixhops. `brief` is one line, `text` the whole failure report.
    `failures` are the places that failed and that no profile foresaw ("step 3 status"), the same in every run.
    `skips` holds a reason for each expectation (or the whole scenario) that could not be judged. `seconds` is
    wall time.
    """

    id: str
    path: str
    title: str
    hop: str
    verdict: str
    seconds: float
    target: str
    engine: str
    fault: str = ""
    brief: str = ""
    text: str = ""
    failures: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    known: tuple[KnownDifference, ...] = ()
    leftovers: tuple[str, ...] = ()
    transcript: str = ""

    def with_transcript(self, path: str) -> Outcome:
        """Return the outcome with the place of its transcript, relative to the run's folder."""
        return replace(self, transcript=path)

    def worsened(self, fault: str, message: str) -> Outcome:
        """Return the outcome as a failure that `message` explains; what was known stays in the text."""
        lines = message.splitlines()
        text = "\n".join(filter(None, (self.text or f"{self.id}: {self.title}", message)))
        brief = self.brief if self.verdict == "failed" else lines[0]
        return replace(self, verdict="failed", fault=self.fault or fault, brief=brief, text=text)

    def to_data(self) -> dict[str, Any]:
        """Return the outcome as plain JSON data (lists, not tuples): what xdist and results.json take."""
        data = asdict(self)
        data["failures"] = list(self.failures)
        data["skips"] = list(self.skips)
        data["known"] = [asdict(item) for item in self.known]
        data["leftovers"] = list(self.leftovers)
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Outcome:
        """Undo `to_data`."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["failures"] = tuple(data["failures"])
        values["skips"] = tuple(data["skips"])
        values["known"] = tuple(KnownDifference(**item) for item in data["known"])
        values["leftovers"] = tuple(data["leftovers"])
        return cls(**values)
