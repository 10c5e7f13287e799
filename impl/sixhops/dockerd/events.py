"""What happened in the engine, for GET /events: a short memory of the past and any number of live listeners.

Shape and order of members are dockerd 20.10's: containers and images carry the old members `status`, `id` and `from` too.
A listener that does not read is cut off once its queue is full, so that it can't hold the engine's memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sixhops.dockerd import metrics
from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.reference import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

__all__ = ["Event", "Events", "Filters"]

#: How many past events can be asked for; dockerd's own number.
REMEMBERED = 256
#: How many events may wait for one listener.
LONGEST_QUEUE = 4096
#: Filters by the beginning of the actor's id or name.
_OBJECTS = frozenset(
    {"container", "daemon", "plugin", "volume", "network", "node", "service", "secret", "config"}
)
#: Actions that have more behind them (a command, a state); a filter with one of them looks at beginnings.
_WITH_MORE_BEHIND = frozenset({"health_status", "exec_create", "exec_start"})
_WITH_LEGACY_MEMBERS = frozenset({"container", "image"})
_SECOND = 1_000_000_000

Filters = dict[str, "Sequence[str]"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `nanoseconds` since 1970, `attributes` the actor's."""

    type: str
    action: str
    actor: str
    attributes: Mapping[str, str]
    nanoseconds: int

    def document(self) -> dict[str, Any]:
        """Return the event as the API prints it."""
        document: dict[str, Any] = {}
        if self.type in _WITH_LEGACY_MEMBERS:
            document |= {"status": self.action, "id": self.actor}
            if self.attributes.get("image"):
                document["from"] = self.attributes["image"]
        return document | {
            "Type": self.type,
            "Action": self.action,
            "Actor": {"ID": self.actor, "Attributes": dict(sorted(self.attributes.items()))},
            "scope": "local",
            "time": self.nanoseconds // _SECOND,
            "timeNano": self.nanoseconds,
        }


class Events:
    """The engine's events. Belongs to the event loop's thread."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` gives nanoseconds since 1970."""
        self._clock = clock
        self._past: deque[Event] = deque(maxlen=REMEMBERED)
        self._listeners: set[asyncio.Queue[Event | None]] = set()

    def emit(self, type_: str, action: str, actor: str, attributes: Mapping[str, str]) -> None:
        """Tell everybody, now."""
        event = Event(type_, action, actor, dict(attributes), self._clock())
        metrics.EVENTS.add()
        self._past.append(event)
        for queue in list(self._listeners):
            if queue.qsize() >= LONGEST_QUEUE:
                self._listeners.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def past(self) -> list[Event]:
        """Return the events that are remembered, oldest first."""
        return list(self._past)

    def listeners(self) -> int:
        """Return how many listen (`NEventsListener` of /info)."""
        return len(self._listeners)

    def subscribe(self, since: int | None, until: int | None, filters: Filters) -> AsyncIterator[Event]:
        """Return the events from `since` (nanoseconds) to `until` (None: for ever) that pass `filters`.

        Without `since` the past is told if there is an `until`, and else what comes from now on. Listening begins with this
        call, not with the first `anext`. With `until` in the past only the past is told. The iterator must be closed
        (`aclose`) or read to its end.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        begin = since if since is not None else None if until is None else 0
        past = [event for event in self._past if begin is not None and event.nanoseconds >= begin]
        self._listeners.add(queue)
        return self._tell(queue, past, until, filters)

    async def _tell(
        self, queue: asyncio.Queue[Event | None], past: list[Event], until: int | None, filters: Filters
    ) -> AsyncIterator[Event]:
        try:
            for event in past:
                # dockerd takes an end before 1970 for none here
                if (until is None or until <= 0 or event.nanoseconds <= until) and passes(event, filters):
                    yield event
            while True:
                left = None if until is None else (until - self._clock()) / _SECOND
                if left is not None and left <= 0 and queue.empty():
                    return
                try:
                    async with asyncio.timeout(left):
                        live = await queue.get()
                except TimeoutError:
                    return
                if live is None or (until is not None and live.nanoseconds > until):
                    return
                if passes(live, filters):
                    yield live
        finally:
            self._listeners.discard(queue)


def passes(event: Event, filters: Filters) -> bool:
    """Return whether an event fits: every key must fit, with any of its values, but all labels.

    Keys that mean nothing are not looked at. As in dockerd, `container`, `network` and so on look at the actor and its name
    whatever the type of the event.
    """
    return all(_fits(event, key, values) for key, values in filters.items() if values)


def _fits(event: Event, key: str, values: Sequence[str]) -> bool:
    name = event.attributes.get("name", "")
    if key in _OBJECTS:
        return any(event.actor.startswith(value) or name.startswith(value) for value in values)
    match key:
        case "event":
            if set(values) & _WITH_MORE_BEHIND:
                return any(event.action.startswith(value) for value in values)
            return event.action in values
        case "type":
            return event.type in values
        case "scope":
            return "local" in values
        case "label":
            return all(_has_label(event.attributes, value) for value in values)
        case "image":
            image = name if event.type == "image" else event.attributes.get("image", "")
            return any(
                text in values for text in (event.actor, image, _untagged(event.actor), _untagged(image))
            )
        case _:
            return True


def _has_label(attributes: Mapping[str, str], text: str) -> bool:
    name, has_value, wanted = text.partition("=")
    return name in attributes and (not has_value or attributes[name] == wanted)


def _untagged(image: str) -> str:
    try:
        return parse(image).familiar_name
    except EngineError:
        return image
