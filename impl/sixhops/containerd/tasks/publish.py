"""`containerd publish`: an event from a component that has no connection of its own, such as a shim, to the server."""

from __future__ import annotations

import sys

import grpc
from google.protobuf.message import DecodeError

from sixhops.wire.proto import events_pb2
from sixhops.wire.proto.services import service

__all__ = ["publish"]

SECONDS = 5.0
PUBLISH = service(events_pb2.DESCRIPTOR, "Events").methods["Publish"]


def publish(address: str | None, topic: str, namespace: str, data: bytes) -> int:
    """Publish the event in `data` (an Any); return the exit status, 1 with the reason on standard error."""
    request = events_pb2.PublishRequest(topic=topic)
    try:
        request.event.ParseFromString(data)
    except DecodeError as error:
        sys.stderr.write(f"containerd: {error}\n")
        return 1
    path = (address or "/run/containerd/containerd.sock").removeprefix("unix://")
    with grpc.insecure_channel(f"unix:{path}") as channel:
        call = channel.unary_unary(
            PUBLISH.path, PUBLISH.request.SerializeToString, PUBLISH.response.FromString
        )
        try:
            call(request, metadata=(("containerd-namespace", namespace),), timeout=SECONDS)
        except grpc.RpcError as error:
            sys.stderr.write(f"containerd: {error.details()}\n")
            return 1
    return 0
