"""One gRPC connection to containerd, and its errors in the words that dockerd's users know.

Facts: every call carries `containerd-namespace`, calls under a lease `containerd-lease` as well; error texts end with the
kind of error (`: not found`, `: unavailable`), as observed behind dockerd 20.10.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

    from sixhops.wire.proto.services import Method

__all__ = ["Channel", "ContainerdError"]

_Answer = TypeVar("_Answer", bound="Message")

#: The word that a client of containerd puts behind the message, by status.
_KINDS = {
    grpc.StatusCode.INVALID_ARGUMENT: "invalid argument",
    grpc.StatusCode.ALREADY_EXISTS: "already exists",
    grpc.StatusCode.NOT_FOUND: "not found",
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.FAILED_PRECONDITION: "failed precondition",
    grpc.StatusCode.UNIMPLEMENTED: "not implemented",
    grpc.StatusCode.CANCELLED: "context canceled",
    grpc.StatusCode.DEADLINE_EXCEEDED: "context deadline exceeded",
}
#: How quickly a lost connection is tried again, in milliseconds.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.default_authority", "localhost"),
    # a container's exit may not wait for a proxy that the environment names
    ("grpc.enable_http_proxy", 0),
)


#: How long the channel may take to find a containerd that listens again, in seconds.
_BACK_SECONDS = 1.0


def _was_not_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call never left this process, so that it may be made again."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and "failed to connect to all" in (
        error.details() or ""
    )


class ContainerdError(Exception):
    """A call that containerd refused, or that did not reach it; the text is the one for users."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_not_found(self) -> bool:
        """Whether the object is unknown."""
        return self.code is grpc.StatusCode.NOT_FOUND

    @property
    def is_already_there(self) -> bool:
        """Whether the object exists already."""
        return self.code is grpc.StatusCode.ALREADY_EXISTS

    @property
    def is_unavailable(self) -> bool:
        """Whether containerd could not be reached."""
        return self.code is grpc.StatusCode.UNAVAILABLE


class Channel:
    """The connection. Must be made inside the event loop that uses it; connects when first used."""

    def __init__(self, address: str, namespace: str) -> None:
        """`address`: path of containerd's socket."""
        self._address = address
        self._metadata = (("containerd-namespace", namespace),)
        self._channel = grpc.aio.insecure_channel(f"unix:{address}", options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    async def unary(
        self,
        method: Method,
        request: Message,
        answer: type[_Answer],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it is the call's deadline, sent to the server
        lease: str = "",
    ) -> _Answer:
        """Make one call; `timeout` in seconds. Raises ContainerdError."""
        call = self._calls.get(method.path)
        if call is None:
            call = self._channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            self._calls[method.path] = call
        try:
            try:
                found = await call(request, timeout=timeout, metadata=self._with(lease))
            except grpc.aio.AioRpcError as error:
                if not (_was_not_sent(error) and await self._is_back()):
                    raise
                found = await call(request, timeout=timeout, metadata=self._with(lease))
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from None
        assert isinstance(found, answer)
        return found

    async def _is_back(self) -> bool:
        """Whether containerd listens although the channel, between two attempts to connect, does not know it yet."""
        try:
            async with asyncio.timeout(_BACK_SECONDS):
                _, writer = await asyncio.open_unix_connection(self._address)
                writer.close()
                await self.ready()
        except OSError:  # a time-out is one too
            return False
        return True

    def duplex(self, method: Method, *, lease: str = "") -> Any:
        """Open a call that streams both ways; the caller reads and writes on it inside `translated`."""
        call = self._channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return call(metadata=self._with(lease))

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Return a block inside which errors of gRPC become ContainerdError."""
        return _Translated(self)

    async def stream(
        self, method: Method, request: Message, answer: type[_Answer], *, lease: str = ""
    ) -> AsyncIterator[_Answer]:
        """Yield what the server sends. Raises ContainerdError."""
        call = self._channel.unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )(request, metadata=self._with(lease))
        try:
            async for found in call:
                assert isinstance(found, answer)
                yield found
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from None
        finally:
            call.cancel()

    async def ready(self) -> None:
        """Return once the connection stands; tries for ever."""
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return
            await self._channel.wait_for_state_change(state)

    async def close(self) -> None:
        """End the connection and all calls on it."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._channel.close()

    def _with(self, lease: str) -> tuple[tuple[str, str], ...]:
        return (*self._metadata, ("containerd-lease", lease)) if lease else self._metadata

    def error(self, error: grpc.aio.AioRpcError) -> ContainerdError:
        """Return an error of gRPC as ours."""
        return self._error(error)

    def _error(self, error: grpc.aio.AioRpcError) -> ContainerdError:
        code = error.code()
        kind = _KINDS.get(code, "unknown")
        text = error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE:
            reason = "no such file or directory" if "No such file" in text else "connection refused"
            text = f'connection error: desc = "transport: Error while dialing dial unix {self._address}: connect: {reason}"'
        text = text.removesuffix(f": {kind}")
        return ContainerdError(code, kind if text == kind else f"{text}: {kind}")


class _Translated(contextlib.AbstractContextManager[None]):
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, grpc.aio.AioRpcError):
            raise self._channel.error(error) from None
