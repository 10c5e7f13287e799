"""The three families of errors: the scenario is wrong, the target is wrong, sixhops is wrong.

A message says which family it belongs to, because the person who reads it must know whom to call:

    SixhopsError
    ├── ScenarioError      the author: bad YAML, unknown key, undefined variable                exit code 4
    ├── UsageError         the person at the command line: no such stack, bad URL               exit code 4
    ├── TargetError        the engine or its host: unreachable, died, answered nonsense         a failed scenario
    └── InternalError      sixhops itself; always a bug of ours                                 exit code 3

A failed *expectation* is not an error: it is a verdict (see `judge`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "InternalError",
    "Mark",
    "ScenarioError",
    "ScenarioErrors",
    "SixhopsError",
    "TargetError",
    "UsageError",
]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a scenario file; line and column count from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class SixhopsError(Exception):
    """The root of everything that the harness raises on purpose."""


class ScenarioError(SixhopsError):
    """A scenario, recipe, requirement or profile file is wrong; the message starts with file:line:column."""

    def __init__(self, message: str, mark: Mark | None = None) -> None:
        super().__init__(f"{mark}: {message}" if mark else message)
        self.message = message
        self.mark = mark


class ScenarioErrors(ScenarioError):  # noqa: N818 - several of what the base is one of
    """All that is wrong with a file, in the order of places; `errors` holds one ScenarioError each."""

    def __init__(self, errors: Iterable[ScenarioError]) -> None:
        once = {str(error): error for error in errors}
        self.errors = tuple(
            sorted(
                once.values(),
                key=lambda e: (e.mark.path, e.mark.line, e.mark.column) if e.mark else ("", 0, 0),
            )
        )
        super().__init__("\n".join(map(str, self.errors)))


class UsageError(SixhopsError):
    """The command line or the environment asks for something that does not exist."""


class TargetError(SixhopsError):
    """The target can't be reached, died, or broke its protocol so that nothing can be judged."""


class InternalError(SixhopsError):
    """The harness contradicts itself; a bug of ours, never of the scenario or the target."""
