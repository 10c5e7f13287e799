"""Stacks side by side: opened one after another, measured in turn, closed also after a failure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, TypeVar

from sixhops.harness.errors import SixhopsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Closable", "in_turn", "with_sides"]


class Closable(Protocol):
    """A stack with its clients. `close` stops all of it and returns what was left behind, a line each."""

    def close(self) -> list[str]: ...  # noqa: D102 - said above


S = TypeVar("S", bound=Closable)
T = TypeVar("T")


def with_sides(
    names: Iterable[str], open_side: Callable[[str], S], work: Callable[[list[S]], T]
) -> tuple[T | None, int]:
    """Open a side for each name, let `work` measure them, close them; return its result and an exit status.

    The status is 4 when a stack can't be started here, 1 when something failed or was left behind, else 0. What went wrong
    is said on standard error. The result is None after a failure.
    """
    sides: list[S] = []
    result: T | None = None
    status = 0
    try:
        for name in names:
            sides.append(open_side(name))  # noqa: PERF401 - those before a failure are closed
        result = work(sides)
    except UsageError as error:
        print(error, file=sys.stderr)
        status = 4
    except SixhopsError as error:
        print(error, file=sys.stderr)
        status = 1
    finally:
        for line in (line for side in sides for line in side.close()):
            print(f"left behind: {line}", file=sys.stderr)
            status = status or 1
    return result, status


def in_turn(sides: Sequence[T], rounds: int) -> Iterator[T]:
    """Yield the sides `rounds` times; none is always the first, so what one leaves to be cleared away hits all alike."""
    for number in range(rounds):
        yield from sides if number % 2 == 0 else reversed(sides)
