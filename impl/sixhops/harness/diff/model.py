"""What a comparison is made of: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Difference", "Normal", "NormalMessage", "NormalStep"]


@dataclass(frozen=True, slots=True)
class NormalMessage:
    """A message after normalisation. `strand`: messages of one strand are in order; see `order.strand_of`."""

    hop: str
    summary: str
    fields: dict[str, Any]
    started: float
    ended: float
    strand: str


@dataclass(frozen=True, slots=True)
class NormalStep:
    """A step after normalisation. `hop` is the one that it speaks on; `line` its request line with the outcome.

    `settled`: false for a step that was looked at while it still ran, of which only the head can be compared.
    """

    step: int
    name: str
    kind: str
    hop: str
    line: str
    facets: dict[str, Any]
    messages: tuple[NormalMessage, ...]
    attempts: int
    started: float
    ended: float
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Normal:
    """A transcript after normalisation. `unseen`: hop to the reason why it was not observed."""

    scenario: str
    verdict: str
    steps: tuple[NormalStep, ...]
    unseen: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `step` counts from 0, -1 is the scenario as a whole.

    `kind`: changed (a value), missing (B lacks it), added (A lacks it), order (of messages or elements), identity (what is
    the same thing in A is another one in B, or the other way round), moved (a message belongs to another step). `message`
    is the summary, or the step's request line, after normalisation; `path` the place in it, with dots; `a` and `b` are
    normalised values.
    """

    scenario: str
    step: int
    step_name: str
    hop: str
    message: str
    path: str
    kind: str
    a: Any = None
    b: Any = None
