"""Events: from services and shims to whoever subscribed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from sixhops.containerd.metadata.filters import Filter, parse_all
from sixhops.containerd.metadata.stamps import set_now
from sixhops.wire.proto import image_payloads_pb2, payloads_pb2, types_pb2
from sixhops.wire.proto.services import pack, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

__all__ = ["Bus", "Subscription"]

log = logging.getLogger(__name__)
MESSAGES: dict[str, type[Message]] = {
    descriptor.full_name: getattr(module, name)
    for module in (payloads_pb2, image_payloads_pb2)
    for name, descriptor in module.DESCRIPTOR.message_types_by_name.items()
}


class Bus:
    """Hands every envelope to every subscriber whose filter matches, in order."""

    def __init__(self) -> None:
        self._subscribers: list[tuple[Filter, asyncio.Queue[types_pb2.Envelope]]] = []

    def publish(self, namespace: str, topic: str, event: Message) -> None:
        """Send `event` with the time of now."""
        packed = Any()
        pack(packed, event)
        self.publish_any(namespace, topic, packed)

    def publish_any(self, namespace: str, topic: str, event: Any) -> None:
        """Send an event that is packed already, with the time of now."""
        envelope = types_pb2.Envelope(namespace=namespace, topic=topic, event=event)
        set_now(envelope.timestamp)
        self.forward(envelope)

    def forward(self, envelope: types_pb2.Envelope) -> None:
        """Send an envelope as it is."""
        log.debug("event %s in %s", envelope.topic, envelope.namespace)
        for wanted, queue in self._subscribers:
            if wanted.matches(lambda path: _look(envelope, path)):
                queue.put_nowait(envelope)

    def subscribe(self, filters: Sequence[str]) -> Subscription:
        """Return what collects matching envelopes from now on, until it is left; RpcError on a bad filter."""
        return Subscription(self._subscribers, parse_all(filters))


class Subscription:
    """One listener. A context manager: events are collected until its end, also those that nobody fetched."""

    def __init__(
        self, subscribers: list[tuple[Filter, asyncio.Queue[types_pb2.Envelope]]], wanted: Filter
    ) -> None:
        self._subscribers = subscribers
        self._queue: asyncio.Queue[types_pb2.Envelope] = asyncio.Queue()
        self._entry = (wanted, self._queue)
        subscribers.append(self._entry)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_args: object) -> None:
        self._subscribers.remove(self._entry)

    async def next(self) -> types_pb2.Envelope:
        """Return the next envelope, waiting for it."""
        return await self._queue.get()


def _look(envelope: types_pb2.Envelope, path: tuple[str, ...]) -> str | None:
    if path == ("namespace",):
        return envelope.namespace
    if path == ("topic",):
        return envelope.topic
    if path[0] != "event" or len(path) < 2:
        return None
    kind = MESSAGES.get(type_name(envelope.event))
    if kind is None:
        return None
    message = kind()
    try:
        message.ParseFromString(envelope.event.value)
    except DecodeError:
        return None
    value: object = message
    for name in path[1:]:
        # a map field (labels) has `get`, a message has attributes
        value = value.get(name) if hasattr(value, "get") else getattr(value, name, None)
        if value is None:
            return None
    return str(value)
