"""The options of runc's shim that a request carries in an Any, as far as containerd itself looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message

from sixhops.wire.proto.services import unpack
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage

__all__ = ["read_options"]

RUNC = ["io", "containerd", "runc"]
DOCUMENTS = "types.containerd.io/opencontainers/runtime-spec/"  # JSON, which is no message but a known type

M = TypeVar("M", bound=Message)


def read_options(request: Any, runtime: str, kind: type[M], what: str) -> M:
    """Return `request.options` as `kind`, which is empty without any and for other runtimes than runc's.

    RpcError UNKNOWN in upstream's words for another type, one that nobody knows, or bytes that are no such message;
    `what` is `create` or `checkpoint`.
    https://github.com/containerd/containerd/blob/v1.6.20/services/tasks/local.go
    """
    message = kind()
    if not request.HasField("options") or runtime.split(".")[: len(RUNC)] != RUNC:
        return message
    options = request.options
    try:
        if unpack(options, message):
            return message
    except DecodeError as error:
        raise RpcError(Code.UNKNOWN, "unexpected EOF") from error
    if not _is_known(options):
        raise RpcError(Code.UNKNOWN, f"type with url {options.type_url}: not found")
    raise RpcError(Code.UNKNOWN, f"invalid task {what} option for {runtime}")


def _is_known(value: AnyMessage) -> bool:
    if value.type_url.startswith(DOCUMENTS):
        return True
    try:
        descriptor_pool.Default().FindMessageTypeByName(value.type_url)
    except KeyError:
        return False
    return True
