"""Services as tables: which methods, which messages, which kind of stream; read from the descriptors.

gRPC servers, ttrpc servers, clients and taps all need the same facts of a method, so nothing is generated
per transport. `pack` and `unpack` write and read an Any as containerd does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import message_factory

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

__all__ = ["Method", "Service", "pack", "service", "type_name", "unpack"]


@dataclass(frozen=True, slots=True)
class Method:
    """One method: `name` (`Create`), `path` as gRPC spells it, message classes, stream flags."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool

    @property
    def attribute(self) -> str:
        """The method's name as Python spells it: `close_io` for CloseIO."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).lower()


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its full name and its methods by name."""

    name: str
    methods: dict[str, Method]


def service(file: FileDescriptor, name: str) -> Service:
    """Return the service `name` of a compiled file (`tasks_pb2.DESCRIPTOR`); KeyError when it has none."""
    descriptor = file.services_by_name[name]
    methods = {}
    for method in descriptor.methods:
        methods[method.name] = Method(
            name=method.name,
            path=f"/{descriptor.full_name}/{method.name}",
            request=message_factory.GetMessageClass(method.input_type),
            response=message_factory.GetMessageClass(method.output_type),
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
        )
    return Service(descriptor.full_name, methods)


def type_name(value: Any) -> str:
    """Return the message name in an Any; containerd writes it without a host in front, others with one."""
    return value.type_url.rpartition("/")[2]


def pack(target: Any, message: Message) -> None:
    """Put `message` into `target` with containerd's bare type URL (the full name, nothing in front)."""
    target.type_url = message.DESCRIPTOR.full_name
    target.value = message.SerializeToString()


def unpack(value: Any, message: Message) -> bool:
    """Read an Any into `message` if it holds that type; return whether it did. DecodeError on bad bytes."""
    if type_name(value) != message.DESCRIPTOR.full_name:
        return False
    message.ParseFromString(value.value)
    return True
