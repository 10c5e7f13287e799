"""Health checks: what results make of a container's state, and when checks run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sixhops.dockerd.containers.life.health import Health, probe_words, record
from sixhops.dockerd.containers.model import ContainerState
from sixhops.dockerd.errors import system

FRESH: dict[str, Any] = {"Status": "starting", "FailingStreak": 0, "Log": []}


def after(codes: list[int], *, since_start: int = 10**9, **asked: int) -> dict[str, Any]:
    health = FRESH
    for code in codes:
        health = record(health, asked, {"ExitCode": code}, since_start=since_start)
    return health


@pytest.mark.parametrize(
    ("codes", "asked", "status", "streak"),
    [
        ([0], {}, "healthy", 0),
        ([1, 1], {}, "starting", 2),
        ([1, 1, 1], {}, "unhealthy", 3),
        ([1], {"Retries": 1}, "unhealthy", 1),
        ([0, 1], {}, "healthy", 1),
        ([1, 1, 1, 0], {}, "healthy", 0),
        ([-1, -1, -1], {}, "unhealthy", 3),
    ],
)
def test_results_decide(codes: list[int], asked: dict[str, int], status: str, streak: int) -> None:
    health = after(codes, **asked)

    assert (health["Status"], health["FailingStreak"]) == (status, streak)


def test_failures_in_the_start_period_do_not_count() -> None:
    health = after([1, 1, 1, 1], since_start=5, StartPeriod=10)

    assert (health["Status"], health["FailingStreak"]) == ("starting", 0)


def test_start_period_is_over_with_the_first_success() -> None:
    assert after([0, 1, 1, 1], since_start=5, StartPeriod=10)["Status"] == "unhealthy"


def test_five_results_are_kept() -> None:
    assert [entry["ExitCode"] for entry in after([1, 2, 3, 4, 5, 6, 7])["Log"]] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, None),
        ({"Healthcheck": {"Test": ["NONE"]}}, None),
        ({"Healthcheck": {"Test": ["FOO", "x"]}}, None),
        ({"Healthcheck": {"Test": ["CMD", "a", "b"]}}, ("a", "b")),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a"]}}, ("/bin/sh", "-c", "a")),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a"]}, "Shell": ["/bin/ash", "-c"]}, ("/bin/ash", "-c", "a")),
    ],
)
def test_command_of_a_check(config: dict[str, Any], words: tuple[str, ...] | None) -> None:
    assert probe_words(config) == words


class Subject:
    """A container that runs, as far as its health goes."""

    def __init__(self, **check: Any) -> None:
        self.container: Any = self
        self.config = {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1, **check}}
        self.state = ContainerState()
        self.checks: asyncio.Task[None] | None = None


def check(subject: Subject, results: list[Any], told: int) -> list[str]:
    """Run checks with these results until so many events were told; return the events."""
    events: list[str] = []

    async def whole() -> None:
        enough = asyncio.Event()

        class Execs:
            async def probe(self, *_arguments: object) -> tuple[int, str]:
                result = results.pop(0) if len(results) > 1 else results[0]
                if isinstance(result, Exception):
                    raise result
                return result, "said"

        def tell(_held: object, action: str) -> None:
            events.append(action)
            if len(events) == told:
                enough.set()

        health: Any = Health(Execs(), tell, lambda _held: None)  # type: ignore[arg-type] # stands in for the execs
        health.begin(subject)
        assert subject.state.health == FRESH
        await asyncio.wait_for(enough.wait(), 20)
        health.end(subject)

    asyncio.run(whole())
    return events


def test_events_tell_of_changes_only() -> None:
    subject = Subject(Retries=1)

    assert check(subject, [0, 0, 1, 1, 0], 3) == [
        "health_status: healthy",
        "health_status: unhealthy",
        "health_status: healthy",
    ]
    assert subject.state.health is not None
    assert subject.state.health["Status"] == "unhealthy"  # nobody looks any more


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (TimeoutError(), "Health check exceeded timeout (1m30s)"),
        (system("no such command"), "no such command"),
    ],
)
def test_checks_that_give_no_result_are_failures(problem: Exception, said: str) -> None:
    subject = Subject(Retries=1, Timeout=90 * 10**9)

    check(subject, [problem], 1)

    assert subject.state.health is not None
    entry = subject.state.health["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (-1, said)
