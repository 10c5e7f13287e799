"""Health checks: a command run inside a container again and again, and what its results say of the container.

While a container runs and is not paused, `Health` waits for the interval, runs the probe, and notes the result: healthy
after one success, unhealthy after so many failures in a row, starting before either. A container that no longer runs its
checks is unhealthy. Source: moby 20.10, daemon/health.go.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd import metrics
from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.life.exec import Execs

__all__ = ["HEALTHY", "STARTING", "UNHEALTHY", "Health", "probe_words", "record"]

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_SECOND = 10**9
_INTERVAL = 30 * _SECOND
_TIMEOUT = 30 * _SECOND
_RETRIES = 3
_LONGEST_LOG = 5
_DEFAULT_SHELL = ("/bin/sh", "-c")
#: The exit code of a probe that could not be run, or took too long.
_NO_RESULT = -1


class Health:
    """The checks of all containers. `tell` emits a container's event, `save` stores its document."""

    def __init__(self, execs: Execs, tell: Callable[[Held, str], None], save: Callable[[Held], None]) -> None:
        self._execs = execs
        self._tell = tell
        self._save = save

    def begin(self, held: Held) -> None:
        """A container has started: its checks begin anew. The caller stores the document."""
        if probe_words(held.container.config) is None:
            return
        self.end(held)
        log = (held.container.state.health or {}).get("Log") or []
        held.container.state.health = {"Status": STARTING, "FailingStreak": 0, "Log": log}
        self.go_on(held)

    def go_on(self, held: Held) -> None:
        """Check again after a pause, or after a restart of the engine. Nothing happens where there is nothing to check."""
        if held.container.state.health is not None and held.checks is None:
            held.checks = asyncio.create_task(self._check(held))

    def end(self, held: Held) -> None:
        """Stop the checks: the container has ended, is paused, or goes. The caller stores the document."""
        checks, held.checks = held.checks, None
        if checks is not None:
            checks.cancel()
            if held.container.state.health is not None:
                held.container.state.health["Status"] = UNHEALTHY

    async def _check(self, held: Held) -> None:
        config = held.container.config
        asked = config.get("Healthcheck") or {}
        words = probe_words(config) or ()
        interval = (asked.get("Interval") or _INTERVAL) / _SECOND
        timeout = (asked.get("Timeout") or _TIMEOUT) / _SECOND
        while True:
            await asyncio.sleep(interval)
            started = time.time_ns()
            code, output = await self._probe(held, words, timeout)
            state = held.container.state
            if state.health is None:
                return
            before = state.health["Status"]
            result = {
                "Start": rfc3339(started),
                "End": rfc3339(time.time_ns()),
                "ExitCode": code,
                "Output": output,
            }
            state.health = record(state.health, asked, result, since_start=started - state.started_at)
            self._save(held)
            if state.health["Status"] != before:
                self._tell(held, f"health_status: {state.health['Status']}")

    async def _probe(self, held: Held, words: Sequence[str], timeout: float) -> tuple[int, str]:  # noqa: ASYNC109 - the user's, in seconds
        """Return exit code and output of one run of the probe, or why there is none."""
        metrics.HEALTH_CHECKS.add()
        try:
            return await self._execs.probe(held, words, timeout)
        except TimeoutError:
            return _NO_RESULT, f"Health check exceeded timeout ({_span(timeout)})"
        except EngineError as error:
            metrics.HEALTH_CHECKS_FAILED.add()
            return _NO_RESULT, error.message


def probe_words(config: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the command of a container's health check, None when it has none."""
    test = (config.get("Healthcheck") or {}).get("Test") or [""]
    match test[0]:
        case "CMD":
            return tuple(test[1:])
        case "CMD-SHELL":
            return (*(config.get("Shell") or _DEFAULT_SHELL), *test[1:])
        case _:
            return None


def record(
    health: dict[str, Any], asked: dict[str, Any], result: dict[str, Any], *, since_start: int
) -> dict[str, Any]:
    """Return `State.Health` after one more result; `since_start` is the age of the run in nanoseconds when it began.

    Failures during the start period do not count as long as there was no success.
    """
    status, streak = health["Status"], health["FailingStreak"]
    if result["ExitCode"] == 0:
        status, streak = HEALTHY, 0
    elif status != STARTING or since_start >= (asked.get("StartPeriod") or 0):
        streak += 1
        if streak >= (asked.get("Retries") or _RETRIES):
            status = UNHEALTHY
    log = [*health["Log"], result][-_LONGEST_LOG:]
    return {"Status": status, "FailingStreak": streak, "Log": log}


def _span(seconds: float) -> str:
    """Return a span as Go prints it, for those that a time-out may have: `1.5s`, `30s`, `1m0s`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest:g}s"
