"""gRPC in front of the services: bytes to messages, metadata to a `Call`, errors to statuses.

A service is an object whose methods are named as in the .proto file, in Python's spelling. A unary method
takes (request, call) and returns the reply; one that streams answers is an async generator; one that is
sent a stream takes an async iterator.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from sixhops.containerd.validate import check_identifier
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sixhops.wire.proto.services import Method, Service

__all__ = ["Call", "check_namespace", "handler"]

log = logging.getLogger(__name__)
CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Call:
    """What came with a call beside its message. `namespace` is checked; `lease` is empty without one."""

    namespace: str
    lease: str = ""


def handler(service: Service, target: object, *, namespaced: bool = True) -> grpc.GenericRpcHandler:
    """Return the handler of a whole service; methods that `target` lacks are answered UNIMPLEMENTED."""
    methods = {}
    for method in service.methods.values():
        function = getattr(target, method.attribute, None)
        if function is not None:
            methods[method.name] = _method(method, function, namespaced)
    return grpc.method_handlers_generic_handler(service.name, methods)


def _method(
    method: Method, function: Callable[..., Any], namespaced: bool
) -> grpc.RpcMethodHandler[Any, Any]:
    async def unary(request: Any, context: Any) -> Any:
        try:
            return await function(request, _call(context, namespaced))
        except RpcError as error:
            log.debug("%s: %s", method.path, error.message)
            await context.abort(CODES[int(error.code)], error.message)
        except Exception as error:
            log.exception("%s failed", method.path)
            await context.abort(CODES[int(Code.UNKNOWN)], str(error))

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for reply in function(request, _call(context, namespaced)):
                yield reply
        except RpcError as error:
            log.debug("%s: %s", method.path, error.message)
            await context.abort(CODES[int(error.code)], error.message)
        except Exception as error:
            log.exception("%s failed", method.path)
            await context.abort(CODES[int(Code.UNKNOWN)], str(error))

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
    return make(behaviour, method.request.FromString, method.response.SerializeToString)


def check_namespace(namespace: str, prefix: str = "", missing: Code = Code.FAILED_PRECONDITION) -> None:
    """Raise RpcError for a namespace that is not given (with the code `missing`) or can't be one."""
    if not namespace:
        raise RpcError(missing, f"{prefix}namespace is required: failed precondition")
    check_identifier(namespace, f"{prefix}namespace validation: ")


def _call(context: Any, namespaced: bool) -> Call:
    metadata = dict(context.invocation_metadata() or ())
    namespace = str(metadata.get("containerd-namespace", ""))
    if namespaced:
        check_namespace(namespace)
    return Call(namespace, str(metadata.get("containerd-lease", "")))
