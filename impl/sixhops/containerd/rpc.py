"""gRPC in front of the services: bytes to messages, metadata to a `Call`, errors to statuses.

A service is an object whose methods are named as in the .proto file, in Python's spelling. A unary method
takes (request, call) and returns the reply; one that streams answers is an async generator; one that is
sent a stream takes an async iterator.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from sixhops.containerd.metadata.validate import check_identifier, quote
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from google.protobuf.message import Message

    from sixhops.wire.proto.services import Method, Service

__all__ = ["Call", "Unknown", "check_namespace", "handler", "namespace_checked"]

log = logging.getLogger(__name__)
F = TypeVar("F", bound="Callable[..., Any]")
CODES = {code.value[0]: code for code in grpc.StatusCode}
CHECKED = "namespace_checked"


@dataclass(frozen=True, slots=True)
class Call:
    """What came with a call beside its message. `namespace` is checked (but see `namespace_checked`); `lease` is empty
    without one.
    """

    namespace: str
    lease: str = ""


@dataclass(frozen=True, slots=True)
class _Broken:
    """Stands for a request that could not be read."""

    problem: str


def handler(service: Service, target: object, *, namespaced: bool = True) -> grpc.GenericRpcHandler:
    """Return the handler of a whole service; methods that `target` lacks are answered UNIMPLEMENTED by `Unknown`."""
    methods = {}
    for method in service.methods.values():
        function = getattr(target, method.attribute, None)
        if function is not None:
            first = namespaced and not getattr(function, CHECKED, False)
            methods[method.name] = _method(method, function, first)
    return grpc.method_handlers_generic_handler(service.name, methods)


def namespace_checked(function: F) -> F:
    """Mark a method that calls `check_namespace` itself, because its error has other words or another code."""
    setattr(function, CHECKED, True)
    return function


class Unknown(grpc.GenericRpcHandler):
    """Answers calls that no other handler takes, in Go's words; it comes after all others."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a handler that refuses the call, whatever it streams."""
        path = str(handler_call_details.method)
        service, slash, method = path.removeprefix("/").rpartition("/")
        code, message = grpc.StatusCode.UNIMPLEMENTED, f"unknown service {service}"
        if not slash:
            code, message = grpc.StatusCode.RESOURCE_EXHAUSTED, f"malformed method name: {quote(path)}"
        elif service in self._services:
            message = f"unknown method {method} for service {service}"

        async def refuse(_requests: Any, context: Any) -> None:
            await context.abort(code, message)

        return grpc.stream_stream_rpc_method_handler(refuse)


def _read(kind: type[Message], data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        return _Broken("invalid UTF-8" if "UTF-8" in str(error) else "unexpected EOF")


def _whole(request: Any) -> Any:
    if isinstance(request, _Broken):
        raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {request.problem}")
    return request


async def _each_whole(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _whole(request)


def _method(
    method: Method, function: Callable[..., Any], namespaced: bool
) -> grpc.RpcMethodHandler[Any, Any]:
    check = _each_whole if method.client_streaming else _whole

    async def unary(request: Any, context: Any) -> Any:
        try:
            return await function(check(request), _call(context, namespaced))
        except Exception as error:  # noqa: BLE001 - every error is an answer
            await context.abort(*_status(method, error))

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for reply in function(check(request), _call(context, namespaced)):
                yield reply
        except Exception as error:  # noqa: BLE001 - every error is an answer
            await context.abort(*_status(method, error))

    make: Callable[..., grpc.RpcMethodHandler[Any, Any]]
    behaviour: Callable[..., Any]
    if method.client_streaming and method.server_streaming:
        make, behaviour = grpc.stream_stream_rpc_method_handler, stream
    elif method.server_streaming:
        make, behaviour = grpc.unary_stream_rpc_method_handler, stream
    elif method.client_streaming:
        make, behaviour = grpc.stream_unary_rpc_method_handler, unary
    else:
        make, behaviour = grpc.unary_unary_rpc_method_handler, unary
    read = functools.partial(_read, method.request)
    return make(behaviour, read, method.response.SerializeToString)


def _status(method: Method, error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return the status of an error; one that is no RpcError is this program's fault or the machine's, and logged."""
    if isinstance(error, RpcError):
        log.debug("%s: %s", method.path, error.message)
        return CODES[int(error.code)], error.message
    log.error("%s failed", method.path, exc_info=error)
    return CODES[int(Code.UNKNOWN)], str(error)


def check_namespace(namespace: str, prefix: str = "", missing: Code = Code.FAILED_PRECONDITION) -> None:
    """Raise RpcError for a namespace that is not given (with the code `missing`) or can't be one."""
    if not namespace:
        raise RpcError(missing, f"{prefix}namespace is required: failed precondition")
    check_identifier(namespace, f"{prefix}namespace validation: ")


def _call(context: Any, namespaced: bool) -> Call:
    metadata: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        metadata.setdefault(key, str(value))  # of several the first counts
    namespace = metadata.get("containerd-namespace", "")
    if namespaced:
        check_namespace(namespace)
    return Call(namespace, metadata.get("containerd-lease", ""))
