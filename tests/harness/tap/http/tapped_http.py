"""A tap between clients and an upstream made of sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.http.tap import HttpTap
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from contextlib import ExitStack

    from sixhops.harness.exchange import HopMessage

WAIT = 20.0
Handler = Callable[[socket.socket], None]


class Proxy:
    """A tap between `client()` sockets and a handler that gets each upstream connection on its own thread."""

    def __init__(self, stack: ExitStack, handler: Handler) -> None:
        self.recorder = Recorder()
        self._handler = handler
        self._server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._server.settimeout(WAIT)
        listener = socket.create_server(("127.0.0.1", 0))
        self._place = listener.getsockname()
        self._stack = stack
        self.errors: list[BaseException] = []
        host, port = self._server.getsockname()
        self.tap = HttpTap(listener, Address("up", host=host, port=port), Hop.REGISTRY, self.recorder)
        stack.enter_context(self.tap)
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        stack.callback(thread.join, WAIT)
        stack.callback(self._server.shutdown, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT)
        with connection:
            try:
                self._handler(connection)
            except BaseException as error:
                self.errors.append(error)
                raise

    def client(self) -> socket.socket:
        return self._stack.enter_context(socket.create_connection(self._place, WAIT))

    def talk(self, request: bytes) -> bytes:
        with self.client() as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def messages(self) -> list[HopMessage]:
        return self.recorder.since(0, WAIT)


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        assert part, f"ended after {data!r}"
        data += part
    return data


def read_head(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += read_exactly(connection, 1)
    return data


def answering(answer: bytes) -> Handler:
    def handler(connection: socket.socket) -> None:
        read_all(connection)
        connection.sendall(answer)

    return handler


GET = b"GET /v2/ HTTP/1.1\r\nhOst: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
