"""A `grpc` step while it runs: one call to containerd on a connection of its own.

Every kind of call is made as a stream of requests and a stream of answers: on the wire they are the same, and so are
the four kinds' ends.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc

from sixhops.harness.errors import ScenarioError, TargetError
from sixhops.harness.messages import encode
from sixhops.harness.run.content import content
from sixhops.harness.run.direct import machine_of
from sixhops.harness.run.live import Live
from sixhops.harness.scenario.variables import resolve
from sixhops.harness.tap.decode import decode_bytes
from sixhops.harness.tap.grpc.metadata import code_name, metadata
from sixhops.wire.catalog import find_method
from sixhops.wire.proto import rpc_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.direct import GrpcStep

__all__ = ["GrpcCall", "channel_to", "grpc_call"]

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    # A connection for each call: what an earlier one went through (a daemon's restart) is no business of the next.
    ("grpc.use_local_subchannel_pool", 1),
)
_VERSION = "/containerd.services.version.v1.Version/Version"
_DETAILS = "grpc-status-details-bin"


def channel_to(socket: Path) -> grpc.Channel:
    """Return a channel to a unix socket, without limits of message size."""
    return grpc.insecure_channel(f"unix:{socket}", options=_OPTIONS)


def grpc_call(step: GrpcStep, context: Context) -> GrpcCall:
    """Return the call that a step asks for. Raises ScenarioError for a request that the method does not have."""
    scope = context.scope
    socket = machine_of(context).containerd

    def to_bytes(value: Any, mark: Any) -> bytes:
        return content(value, mark, context.sources).all()

    method = find_method(step.path)
    if step.body is not None:
        requests = [to_bytes(resolve(step.body, scope), step.mark)]
    else:
        kind = method.request if method is not None else None
        requests = [
            encode(resolve(message, scope), kind, step.mark, to_bytes).SerializeToString(deterministic=True)
            for message in step.messages
            if kind is not None
        ]
        if method is None:
            requests = [b""]
    headers = [
        (str(name).lower(), _text(value, step)) for name, value in resolve(step.metadata, scope).items()
    ]
    namespace = resolve(step.namespace, scope)
    if namespace is not None:
        headers.append(("containerd-namespace", _text(namespace, step)))
    call = GrpcCall(step, socket, requests, headers, background=step.background is not None)
    messages: Any = resolve(list(step.messages), scope)
    sent: dict[str, Any] = {
        "path": step.path,
        "namespace": namespace,
        "metadata": dict[str, str | bytes](headers),
        "messages": messages if step.body is None else [],
        "length": sum(map(len, requests)),
    }
    call.sent = sent
    return call


class GrpcCall(Live):
    """One call; `requests` are the messages' bytes."""

    def __init__(
        self,
        step: GrpcStep,
        socket: Path,
        requests: list[bytes],
        headers: list[tuple[str, str | bytes]],
        *,
        background: bool,
    ) -> None:
        super().__init__(step.name, step.timeout)
        self._step = step
        self._socket = socket
        self._headers = headers
        self._method = find_method(step.path)
        self._background = background
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for request in requests:
            self._requests.put(request)
        self._open = not step.half_close
        if step.half_close:
            self._requests.put(None)
        self._responses: list[Any] = []
        self._outcome: dict[str, Facet] = {}
        self._call: Any = None
        self._was_cut = False

    def send(self, data: bytes) -> None:
        """Refuse: a call takes messages, and all of them are in the step."""
        raise TargetError(
            f"{self.name}: {len(data)} bytes can't be sent into a gRPC call; its requests are `messages`"
        )

    def close_stdin(self) -> None:
        """End the stream of requests. Raises TargetError when it has ended."""
        if not self._open:
            raise TargetError(f"{self.name}: the requests have ended already")
        self._open = False
        self._requests.put(None)

    def _cut(self) -> None:
        self._was_cut = True
        call = self._call
        if call is not None:
            call.cancel()

    def _perform(self) -> None:
        with channel_to(self._socket) as channel:
            begin: Any = channel.stream_stream(self._step.path)
            call = begin(self._each(), timeout=self._step.deadline, metadata=self._headers)
            with self._changed:
                self._call = call
            if self._was_cut:
                call.cancel()
            timer = threading.Timer(self.time_left(), call.cancel)
            timer.daemon = True
            timer.start()
            try:
                if self._background:
                    self._round_trip(channel)
                with self._changed:
                    self._begun = self._headed = True
                    self._changed.notify_all()
                self._receive(call)
            finally:
                timer.cancel()
                # Lets the thread that reads the requests end.
                self._requests.put(None)

    def _round_trip(self, channel: grpc.Channel) -> None:
        """Return when a later call on the same connection has been answered: by then the server has begun this one."""
        ask: Any = channel.unary_unary(_VERSION)
        try:
            ask(b"", timeout=max(0.1, self.time_left()))
        except grpc.RpcError as error:
            # Whatever is wrong with the connection, the call itself will tell; noted for whoever reads the transcript.
            self.sent["round_trip"] = str(error.code().name)

    def _each(self) -> Iterator[bytes]:
        while (request := self._requests.get()) is not None:
            yield request

    def _receive(self, call: Any) -> None:
        kind = self._method.response if self._method is not None else None
        try:
            for data in call:
                value = decode_bytes(data, kind) if kind is not None else data
                with self._changed:
                    self._responses.append(value)
                    self._changed.notify_all()
        except grpc.RpcError:
            # How the call ended is read below, whichever way it was.
            if call.code() is None:
                raise
        late = time.monotonic() >= self.deadline and call.code() is grpc.StatusCode.CANCELLED
        if late and not self._was_cut:
            raise TargetError(f"{self._step.path[1:]} did not end within the step's time")
        code = int(call.code().value[0])
        outcome: dict[str, Any] = {
            "status": code_name(code),
            "code": code,
            "message": call.details() or "",
            "metadata": _metadata(call.initial_metadata()),
            "trailers": _metadata(call.trailing_metadata()),
        }
        details = _details(call.trailing_metadata())
        if details is not None:
            outcome["details"] = details
        with self._changed:
            self._outcome = outcome

    def _facets(self) -> dict[str, Facet]:
        facets: dict[str, Facet] = dict(self._outcome)
        streams = self._method is None or self._method.server_streaming
        if streams:
            facets["responses"] = list(self._responses)
        elif self._responses:
            facets["response"] = self._responses[0]
        return facets

    def _progress(self) -> int:
        return len(self._responses)


def _metadata(pairs: Any) -> dict[str, Facet]:
    raw = [
        (key.encode(), value if isinstance(value, bytes) else value.encode()) for key, value in pairs or ()
    ]
    binary = {key.decode(): value for key, value in raw if key.endswith(b"-bin")}
    return {**metadata([pair for pair in raw if not pair[0].endswith(b"-bin")]), **binary}


def _details(pairs: Any) -> list[Any] | None:
    blob = next((value for key, value in pairs or () if key == _DETAILS), None)
    status = decode_bytes(blob, rpc_pb2.Status) if isinstance(blob, bytes) else b""
    details = status.get("details", []) if isinstance(status, dict) else None
    return details if isinstance(details, list) else None


def _text(value: Any, step: GrpcStep) -> str | bytes:
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ScenarioError(f"metadata is text, not {value!r}", step.mark)
