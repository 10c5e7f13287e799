"""Attach over a websocket (`GET /containers/{id}/attach/ws`): messages instead of frames.

The engine sends the container's output as messages without saying which stream they belong to; what we
send is stdin. The handshake is an ordinary request of ours; the `websockets` package's protocol object,
which does no I/O, does the rest.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from websockets.exceptions import ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.utils import accept_key

from sixhops.harness.errors import TargetError
from sixhops.harness.run.call import HttpCall
from sixhops.harness.tap.values import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.connection import Connection
    from sixhops.harness.tap.http.message import Head

__all__ = ["WebSocketCall"]


class WebSocketCall(HttpCall):
    """A request that becomes a websocket. Facets: `messages` (texts or bytes), `output`, `close_code` once
    closed.
    """

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)  # type: ignore[arg-type]  # handed on as they are
        self._messages: list[bytes] = []
        self._protocol = Protocol(Side.CLIENT)
        self._writing = threading.Lock()

    def _data(self, connection: Connection, head: Head) -> Iterator[bytes]:
        if head.status != 101:
            yield from connection.read_body()
            return
        self._check_accept(head)
        protocol = self._protocol
        message = b""
        while protocol.state is not State.CLOSED:
            data = connection.take_rest() or self._receive(connection, protocol)
            with self._writing:
                if data:
                    protocol.receive_data(data)
                else:
                    protocol.receive_eof()
                events = protocol.events_received()
                self._answer(connection, protocol)
            for event in events:
                if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                    message += event.data
                    if event.fin:
                        self._messages.append(message)
                        yield message
                        message = b""
            if protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
                raise TargetError(f"{self.name}: not a websocket stream: {protocol.parser_exc}")
            if not data:
                return

    def _receive(self, connection: Connection, protocol: Protocol) -> bytes:
        try:
            return connection.receive("the next websocket message")
        except TargetError:
            # as in _answer: our close frame found the socket closed, and the kernel says so with a reset
            if protocol.close_rcvd is None:
                raise
            return b""

    def _answer(self, connection: Connection, protocol: Protocol) -> None:
        """Send the pong or close frame that the peer's frames ask for."""
        try:
            self._flush(connection, protocol)
        except TargetError:
            # Docker closes the socket right behind its close frame and does not wait for ours.
            if protocol.close_rcvd is None and protocol.parser_exc is None:
                raise

    def _check_accept(self, head: Head) -> None:
        sent = {name.lower(): value for name, value in self._request.headers}
        wanted = accept_key(sent.get("sec-websocket-key", ""))
        given = head.joined().get("sec-websocket-accept", "")
        if given != wanted:
            raise TargetError(f"{self.name}: Sec-WebSocket-Accept is {given!r} and should be {wanted!r}")

    def _write(self, connection: Connection, data: bytes) -> None:
        protocol = self._protocol
        with self._writing:
            try:
                protocol.send_binary(data)
            except ProtocolError as error:
                raise TargetError(f"{self.name}: the websocket is closed: {error}") from error
            self._flush(connection, protocol)

    def _end_input(self, connection: Connection) -> None:
        protocol = self._protocol
        with self._writing:
            if protocol.state is State.OPEN:
                protocol.send_close(CloseCode.NORMAL_CLOSURE)
                self._flush(connection, protocol)

    def _flush(self, connection: Connection, protocol: Protocol) -> None:
        for data in protocol.data_to_send():
            if data:
                connection.send(data)

    def _facets(self) -> dict[str, Facet]:
        facets = super()._facets()
        if facets.get("status") == 101:
            facets["messages"] = [as_text(message) for message in self._messages]  # type: ignore[misc]
            closed = self._protocol.close_rcvd
            if closed is not None:
                facets["close_code"] = int(closed.code)
        return facets
