"""An engine that gives canned answers, so that two clients see the same bytes at the same points."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Canned", "Turns", "canned_engine"]

Canned = list[Any]


class Turns:
    """What a path answers the first time, the second time and so on; the last one from then on."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self._answers = list(answers)

    def next(self) -> tuple[int, Any]:
        """Return the next answer."""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


Answer = Canned | Turns | tuple[int, Any]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answers: Mapping[str, Answer]
    stopped: threading.Event

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        return connection, ("client", 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base's name
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        if path == "/_ping":
            self.send_response(200)
            for name, value in (("Api-Version", "1.41"), ("Ostype", "linux"), ("Content-Length", "0")):
                self.send_header(name, value)
            self.end_headers()
            return
        given = self.server.answers[path.partition("/v1.41")[2]]
        if isinstance(given, Turns):
            given = given.next()
        if isinstance(given, tuple):
            status, document = given
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            before: list[Any] = []
            for message in given:
                if message is ...:  # goes on for as long as the test does
                    while not self.server.stopped.wait(0.2):
                        for again in before:
                            self._piece(again)
                    break
                self._piece(message)
                before = [message]
            self.wfile.write(b"0\r\n\r\n")

    def _piece(self, message: Any) -> None:
        data = json.dumps(message).encode() + b"\r\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


@contextlib.contextmanager
def canned_engine(path: Path, answers: Mapping[str, Answer]) -> Iterator[None]:
    """Serve at a unix socket.

    `answers` by path: (status, document), or the messages of a stream (`...`: it stays open, the last one comes again).
    """
    with _Server(str(path), _Handler) as server:
        server.answers, server.stopped = answers, threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join(10)
