"""Events: their shape, the memory of past ones, filters and listeners."""

from __future__ import annotations

import asyncio

import pytest

from sixhops.dockerd.events import LONGEST_QUEUE, Event, Events, passes


def test_container_event_has_the_legacy_members_first() -> None:
    event = Event("container", "start", "c1", {"name": "x", "image": "busybox"}, 1_500_000_001)

    assert list(event.document()) == [
        "status",
        "id",
        "from",
        "Type",
        "Action",
        "Actor",
        "scope",
        "time",
        "timeNano",
    ]
    assert event.document()["Actor"] == {"ID": "c1", "Attributes": {"image": "busybox", "name": "x"}}
    assert (event.document()["time"], event.document()["timeNano"]) == (1, 1_500_000_001)


def test_network_event_has_no_legacy_members() -> None:
    assert next(iter(Event("network", "connect", "n", {}, 1).document())) == "Type"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, True),
        ({"type": ["container"]}, True),
        ({"type": ["network"]}, False),
        ({"event": ["start", "die"]}, True),
        ({"event": ["die"]}, False),
        ({"container": ["web"]}, True),
        ({"container": ["c1"]}, True),
        ({"container": ["other"]}, False),
        ({"label": ["colour"]}, True),
        ({"label": ["colour=blue"]}, True),
        ({"label": ["colour=red"]}, False),
        ({"label": ["colour", "shape"]}, False),
        ({"image": ["busybox"]}, True),
        ({"image": ["box"]}, False),
        ({"network": ["we"]}, True),
        ({"network": ["other"]}, False),
        ({"scope": ["local", "swarm"]}, True),
        ({"scope": ["swarm"]}, False),
        ({"unknown": ["x"]}, True),
        ({"event": ["exec_create", "sta"]}, True),
        ({"event": ["sta"]}, False),
        ({"type": ["container"], "event": ["die"]}, False),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: bool) -> None:
    attributes = {"name": "web", "image": "busybox", "colour": "blue"}

    assert passes(Event("container", "start", "c123", attributes, 0), filters) is expected


def test_filter_for_exec_create_ignores_the_command_line() -> None:
    assert passes(Event("container", "exec_create: sh -c x", "c", {}, 0), {"event": ["exec_create"]})


def test_filter_for_an_image_ignores_its_tag() -> None:
    event = Event("image", "pull", "team/app:1.2", {"name": "team/app"}, 0)

    assert passes(event, {"image": ["team/app"]})
    assert passes(event, {"image": ["team/app:1.2"]})
    assert not passes(event, {"image": ["team/app:1.3"]})


async def _collect(events: Events, since: int | None, until: int | None) -> list[str]:
    return [event.action async for event in events.subscribe(since, until, {})]


def test_past_events_end_at_once_when_until_is_over() -> None:
    now = iter([10, 20, 30, 99, 99])
    events = Events(clock=lambda: next(now))
    for action in ("one", "two", "three"):
        events.emit("container", action, "c", {})

    assert asyncio.run(_collect(events, 15, 25)) == ["two"]


def test_past_is_told_up_to_an_end_without_a_beginning() -> None:
    now = iter([10, 20, 30, 99, 99])
    events = Events(clock=lambda: next(now))
    for action in ("one", "two", "three"):
        events.emit("container", action, "c", {})

    assert asyncio.run(_collect(events, None, 25)) == ["one", "two"]


def test_live_event_reaches_a_listener_that_subscribed_before() -> None:
    async def scenario() -> str:
        events = Events()
        listener = events.subscribe(None, None, {})
        events.emit("container", "start", "c", {})
        found = await anext(aiter(listener))
        await listener.aclose()  # type: ignore[attr-defined] # it is an async generator
        assert events.listeners() == 0
        return found.action

    assert asyncio.run(scenario()) == "start"


def test_listener_that_does_not_read_is_cut_off() -> None:
    async def scenario() -> int:
        events = Events()
        listener = events.subscribe(None, None, {})
        for _ in range(LONGEST_QUEUE + 5):
            events.emit("container", "start", "c", {})
        assert events.listeners() == 0
        return len([event async for event in listener])

    assert asyncio.run(scenario()) == LONGEST_QUEUE
