"""An HTTP request while it runs: `request` and `registry` steps, plain, streaming or hijacked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError
from sixhops.harness.run.connection import Connection
from sixhops.harness.run.incoming import Incoming
from sixhops.harness.run.live import Live
from sixhops.harness.run.outgoing import head_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.content import Content
    from sixhops.harness.run.outgoing import Outgoing
    from sixhops.harness.tap.http.message import Head
    from sixhops.harness.target import Address

__all__ = ["HttpCall"]

#: Stdin up to this size is written before the answer is read; more of it needs a thread, since the other
#: side may stop reading until somebody reads what it sends.
_INLINE_STDIN = 16 * 1024


class HttpCall(Live):
    """One request on a connection of its own."""

    def __init__(
        self,
        name: str,
        timeout: float,
        address: Address,
        request: Outgoing,
        *,
        stdin: Content | None = None,
        half_close: bool = True,
    ) -> None:
        super().__init__(name, timeout)
        self._address = address
        self._request = request
        self._stdin = stdin
        self._half_close = half_close
        self._incoming = Incoming(request.path, tty=request.tty)
        self._received = 0
        self._connection: Connection | None = None
        self._cut_early = False

    def send(self, data: bytes) -> None:
        """Write to the hijacked connection. Raises TargetError when there is none (any more)."""
        self._write(self._hijacked(), data)

    def close_stdin(self) -> None:
        """Half-close the hijacked connection. Raises TargetError when there is none (any more)."""
        self._end_input(self._hijacked())

    def _hijacked(self) -> Connection:
        with self._changed:
            connection = self._connection
            if self._done or self._incoming.eof:
                raise TargetError(f"{self.name}: the stream has ended")
            if connection is None or not self._headed:
                raise TargetError(f"{self.name}: no answer has come yet, so there is no stream to write to")
            return connection

    def _cut(self) -> None:
        with self._changed:
            self._cut_early = True
            if self._connection is not None:
                self._connection.cut()

    def _perform(self) -> None:
        connection = Connection(self._address, self.deadline)
        with self._changed:
            self._connection = connection
            if self._cut_early:
                connection.cut()
        try:
            refused = self._send_request(connection)
            with self._changed:
                self._begun = True
                self._changed.notify_all()
            self._read_answer(connection, refused)
        finally:
            with self._changed:
                self._connection = None
            connection.close()

    def _send_request(self, connection: Connection) -> TargetError | None:
        """Send all; a peer that stops reading may have answered early, so its refusal is only reported if
        it has not.
        """
        head = head_bytes(self._request)
        try:
            parts = self._request.body_bytes()
            # Small requests go out in one packet, as every client sends them.
            connection.send(head + next(parts, b""))
            for part in parts:
                connection.send(part)
        except TargetError as error:
            return error
        return None

    def _read_answer(self, connection: Connection, refused: TargetError | None) -> None:
        try:
            head = connection.read_head(self._request.method)
        except TargetError as error:
            if connection.was_cut:
                return
            raise refused or error from None
        with self._changed:
            self._incoming.begin(head)
            self._headed = True
            self._changed.notify_all()
        writer = self._write_stdin(connection) if head.status < 400 else None
        try:
            for data in self._data(connection, head):
                with self._changed:
                    self._incoming.feed(data)
                    self._received += len(data)
                    self._changed.notify_all()
            ended = not connection.was_cut
        finally:
            if writer is not None:
                connection.cut()
                writer.join()
        if ended:
            with self._changed:
                self._incoming.finish()

    def _data(self, connection: Connection, _head: Head) -> Iterator[bytes]:
        return connection.read_body()

    def _write(self, connection: Connection, data: bytes) -> None:
        connection.send(data)

    def _end_input(self, connection: Connection) -> None:
        connection.half_close()

    def _write_stdin(self, connection: Connection) -> threading.Thread | None:
        stdin = self._stdin
        if stdin is None:
            return None
        if stdin.length <= _INLINE_STDIN:
            self._write(connection, stdin.all())
            if self._half_close:
                self._end_input(connection)
            return None
        writer = threading.Thread(
            target=self._pump, args=(connection, stdin), daemon=True, name=f"stdin-{self.name}"
        )
        writer.start()
        return writer

    def _pump(self, connection: Connection, stdin: Content) -> None:
        try:
            for part in stdin.parts():
                self._write(connection, part)
            if self._half_close:
                self._end_input(connection)
        except TargetError as error:
            # A container may end without reading all of its stdin; what matters is what the answer says.
            with self._changed:
                self.sent["stdin_error"] = str(error)

    def _facets(self) -> dict[str, Facet]:
        return self._incoming.facets()

    def _progress(self) -> int:
        return self._received
