"""Every method and message of the .proto files in `wire.proto`, found by name; loaded when somebody first asks."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool, message_factory

from sixhops.wire.proto.services import service

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

    from sixhops.wire.proto.services import Method

__all__ = ["JSON_TYPES", "find_message", "find_method", "methods"]

#: The beginning of the type URLs with which containerd (its typeurl package) marks values that are JSON.
JSON_TYPES = "types.containerd.io/"

_FILES = (
    "cgroup1",
    "cgroup2",
    "containers",
    "content",
    "diff",
    "events",
    "events_ttrpc",
    "health",
    "image_payloads",
    "images",
    "introspection",
    "leases",
    "namespaces",
    "payloads",
    "process",
    "rpc",
    "runc_options",
    "runtime_info",
    "shim_v2",
    "shim_v3",
    "snapshots",
    "tasks",
    "types",
    "version",
)
#: protobuf's own messages that may stand in an Any.
_STANDARD = ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
_POOL: Any = descriptor_pool.Default()


@cache
def methods() -> dict[str, Method]:
    """Return all methods by gRPC path (`/containerd.services.tasks.v1.Tasks/Create`)."""
    for name in _STANDARD:
        importlib.import_module(f"google.protobuf.{name}_pb2")
    found: dict[str, Method] = {}
    for name in _FILES:
        file: FileDescriptor = importlib.import_module(f"sixhops.wire.proto.{name}_pb2").DESCRIPTOR
        for short in file.services_by_name:
            found |= {method.path: method for method in service(file, short).methods.values()}
    return found


def find_method(path_or_service: str, method: str = "") -> Method | None:
    """Return a method by gRPC path, or by full service name and method name (as ttrpc has them:
    `containerd.task.v2.Task`, `Create`); None when no .proto file has it.
    """
    return methods().get(f"/{path_or_service}/{method}" if method else path_or_service)


def find_message(name: str) -> type[Message] | None:
    """Return a message's class by its full name; None when no .proto file has it."""
    methods()
    try:
        descriptor = _POOL.FindMessageTypeByName(name)
    except KeyError:
        return None
    found: type[Message] = message_factory.GetMessageClass(descriptor)
    return found
