"""A `ttrpc` step while it runs: one call to a shim on a connection of its own."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import ScenarioError, TargetError
from sixhops.harness.messages import encode
from sixhops.harness.run.content import content
from sixhops.harness.run.direct import machine_of
from sixhops.harness.run.live import Live
from sixhops.harness.scenario.variables import resolve
from sixhops.harness.tap.decode import decode_bytes
from sixhops.harness.tap.grpc.metadata import code_name
from sixhops.harness.target import ShimAddress
from sixhops.wire.catalog import find_method
from sixhops.wire.ttrpc.blocking import BlockingClient
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.direct import TtrpcStep
    from sixhops.harness.target import Machine

__all__ = ["TtrpcCall", "ttrpc_call"]

#: The metadata in which containerd's own client sends its namespace.
_NAMESPACE = "containerd-namespace-ttrpc"


def ttrpc_call(step: TtrpcStep, context: Context) -> TtrpcCall:
    """Return the call that a step asks for. Raises ScenarioError for a request that the method does not have,
    TargetError when there is no such shim.
    """
    scope, machine = context.scope, machine_of(context)

    def to_bytes(value: Any, mark: Any) -> bytes:
        return content(value, mark, context.sources).all()

    namespace = resolve(step.namespace, scope)
    metadata = {str(name): str(value) for name, value in resolve(step.metadata, scope).items()}
    if namespace is not None:
        metadata[_NAMESPACE] = _text(namespace, "the namespace", step)
    if step.shim is not None:
        container = _text(resolve(step.shim, scope), "`shim`", step)
        shim = machine.shim(metadata.get(_NAMESPACE, "sixhops"), container)
    else:
        shim = ShimAddress(_text(resolve(step.address, scope), "`address`", step))
    service = step.service or f"containerd.task.v{shim.version}.Task"
    method = find_method(service, step.method)
    message = resolve(step.message, scope)
    if step.body is not None:
        payload = to_bytes(resolve(step.body, scope), step.mark)
    elif method is None:
        raise ScenarioError(f"{service}/{step.method} is unknown and has no body", step.mark)
    else:
        payload = encode(message, method.request, step.mark, to_bytes).SerializeToString(deterministic=True)
    call = TtrpcCall(step, machine, shim.address, service, payload, metadata)
    sent: dict[str, Any] = {
        "address": shim.address,
        "service": service,
        "method": step.method,
        "metadata": metadata,
        "message": message if step.body is None else None,
        "length": len(payload),
    }
    call.sent = sent
    return call


class TtrpcCall(Live):
    """One call to whoever listens at `address` of the machine."""

    def __init__(
        self,
        step: TtrpcStep,
        machine: Machine,
        address: str,
        service: str,
        payload: bytes,
        metadata: dict[str, str],
    ) -> None:
        super().__init__(step.name, step.timeout)
        self._step = step
        self._machine = machine
        self._address = address
        self._service = service
        self._payload = payload
        self._metadata = metadata
        self._outcome: dict[str, Facet] = {}
        self._connection: socket.socket | None = None
        self._was_cut = False

    def send(self, data: bytes) -> None:
        """Refuse: a call has one request."""
        raise TargetError(f"{self.name}: {len(data)} bytes can't be sent into a ttrpc call")

    def close_stdin(self) -> None:
        """Refuse: a call has one request."""
        raise TargetError(f"{self.name}: a ttrpc call has no stdin")

    def _cut(self) -> None:
        with self._changed:
            self._was_cut = True
            connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _perform(self) -> None:
        connection = self._machine.connect(self._address, max(0.1, self.deadline - time.monotonic()))
        with BlockingClient(connection) as client:
            with self._changed:
                self._connection = connection
            if self._was_cut:
                self._cut()
            try:
                self._outcome = self._answer(client)
            finally:
                with self._changed:
                    self._connection = None

    def _answer(self, client: BlockingClient) -> dict[str, Facet]:
        step = self._step
        left = self.deadline - time.monotonic()
        own = step.deadline is not None and step.deadline <= left
        try:
            stream = client.begin(
                self._service, step.method, self._payload, timeout=step.deadline, metadata=self._metadata
            )
            with self._changed:
                self._begun = self._headed = True
                self._changed.notify_all()
            data = client.finish(stream, step.deadline if own else left)
        except RpcError as error:
            if error.code is Code.DEADLINE_EXCEEDED and not own and time.monotonic() >= self.deadline:
                raise TargetError(f"{step.method} did not end within the step's time") from error
            return {"status": code_name(error.code), "code": int(error.code), "message": error.message}
        method = find_method(self._service, step.method)
        response: Any = decode_bytes(data, method.response) if method is not None else data
        return {"status": "OK", "code": 0, "message": "", "response": response}

    def _facets(self) -> dict[str, Facet]:
        return dict(self._outcome)


def _text(value: Any, what: str, step: TtrpcStep) -> str:
    if not isinstance(value, str):
        raise ScenarioError(f"{what} is text, not {value!r}", step.mark)
    return value
