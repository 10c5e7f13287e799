"""Events: published by clients, forwarded by components, handed to subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import invalid_argument
from sixhops.containerd.metadata.validate import check_identifier, quote
from sixhops.containerd.rpc import check_namespace
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.rpc import Call
    from sixhops.wire.proto import types_pb2

__all__ = ["EventsService", "check_envelope"]


class EventsService:
    """containerd.services.events.v1.Events."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, request: Any, call: Call) -> Any:
        """Publish an event in the caller's namespace."""
        check_namespace(call.namespace, "failed publishing event: ")
        _check_topic(request.topic)
        self._bus.publish_any(call.namespace, request.topic, request.event)
        return Empty()

    async def forward(self, request: Any, _call: Call) -> Any:
        """Hand on an event that another component published."""
        check_envelope(request.envelope)
        self._bus.forward(request.envelope)
        return Empty()

    async def subscribe(self, request: Any, _call: Call) -> AsyncIterator[Any]:
        """Yield events that match one of the filters."""
        try:
            subscription = self._bus.subscribe(request.filters)
        except RpcError as error:
            text = f"subscription error: failed parsing subscription filters: {error.message}"
            raise RpcError(Code.UNKNOWN, text) from error
        with subscription:
            while True:
                yield await subscription.next()


def check_envelope(envelope: types_pb2.Envelope) -> None:
    """Raise RpcError INVALID_ARGUMENT for an event that nobody may forward."""
    check_identifier(envelope.namespace, "event envelope has invalid namespace: ")
    _check_topic(envelope.topic)
    if not envelope.HasField("timestamp"):
        raise invalid_argument("timestamp must be set on forwarded event")


def _check_topic(topic: str) -> None:
    where = f"envelope topic {quote(topic)}: "
    if not topic:
        raise invalid_argument(f"{where}must not be empty")
    if not topic.startswith("/"):
        raise invalid_argument(f"{where}must start with '/'")
    if topic == "/":
        raise invalid_argument(f"{where}must have at least one component")
    for component in topic[1:].split("/"):
        check_identifier(component, f"{where}failed validation on component {quote(component)}: ")
