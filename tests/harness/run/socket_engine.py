"""An engine made of one listening socket, and a target around it: what the runner's tests talk to.

A route is a function of the connection and the request; it writes raw bytes, so a test decides about every one of them.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import TargetError
from sixhops.harness.scenario.load import load_text
from sixhops.harness.scenario.model import Hop, Scenario
from sixhops.harness.tap.http.message import Kind, MessageReader
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address, FileFacts, RegistryAccess, TargetFacts

if TYPE_CHECKING:
    from pathlib import Path

WAIT = 20.0


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    line: str
    headers: tuple[tuple[str, str], ...]
    head: bytes
    body: bytes
    connection: socket.socket
    kept_alive: list[bool] = field(default_factory=list)

    def reply(self, value: Any, status: str = "200 OK") -> None:
        body = b"" if value is None else json.dumps(value).encode() + b"\n"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.kept_alive.append(True)
        self.connection.sendall(head.encode() + body)

    def read_to_end(self) -> bytes:
        data = b""
        while part := self.connection.recv(65536):
            data += part
        return data

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            assert part, f"the client ended after {data!r}"
            data += part
        return data


Route = Callable[[Seen], None]


class SocketEngine:
    """Answers by the first route whose pattern fits `METHOD target`, the API version left out.

    Connections stay open after `Seen.reply`, and end with the route otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.address = Address(f"unix://{path}", unix=path)
        self.routes: list[tuple[str, Route]] = []
        self.seen: list[Seen] = []
        self.errors: list[BaseException] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._threads: list[threading.Thread] = []
        for pattern, value in (
            (r"GET /(images|containers)/json\?all=1", []),
            (r"GET /networks", []),
            (r"GET /volumes", {"Volumes": None}),
        ):
            self.on(pattern, lambda seen, value=value: seen.reply(value))

    def on(self, pattern: str, route: Route) -> None:
        """Answer with `route`; later routes come before earlier ones."""
        self.routes.insert(0, (pattern, route))

    def json(self, pattern: str, value: Any, status: str = "200 OK") -> None:
        self.on(pattern, lambda seen: seen.reply(value, status))

    def raw(self, pattern: str, data: bytes) -> None:
        self.on(pattern, lambda seen: seen.connection.sendall(data))

    def lines(self) -> list[str]:
        return [seen.line for seen in self.seen]

    def start(self) -> None:
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(WAIT)
            assert not thread.is_alive(), "a route hangs"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT)
        with connection:
            while (seen := _receive(connection)) is not None:
                self.seen.append(seen)
                try:
                    self._route(seen.line)(seen)
                except BaseException as error:
                    self.errors.append(error)
                    raise
                if not seen.kept_alive:
                    return

    def _route(self, line: str) -> Route:
        found = (route for pattern, route in self.routes if re.fullmatch(pattern, line))
        return next(found, lambda seen: seen.reply({"message": "page not found"}, "404 Not Found"))


def _receive(connection: socket.socket) -> Seen | None:
    # Byte by byte: what follows the request on a hijacked connection belongs to the route.
    reader, raw, body, head = MessageReader(answers=False), b"", b"", None
    while data := connection.recv(1):
        reader.feed(data)
        while (piece := reader.next_piece()) is not None:
            if piece.head is not None:
                head, raw = piece.head, piece.raw
            elif piece.kind is Kind.DATA:
                body += piece.raw
            elif piece.kind is Kind.END and head is not None:
                line = f"{head.method} {re.sub(r'^/v1[.][0-9]+(?=/)', '', head.target)}"
                return Seen(line, head.headers, raw, body, connection)
    return None


class FakeHost:
    """A host with a process table and files that a test sets."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []
        self.files: dict[str, FileFacts] = {}

    def processes(self) -> list[dict[str, Any]]:
        return self.table

    def file(self, path: str, limit: int = 1 << 20) -> FileFacts:
        return self.files.get(path, FileFacts(exists=False))

    def mounts(self) -> dict[str, str]:
        return {}

    def links(self) -> list[str]:
        return []

    cgroups = rules = links


@dataclass
class FakeTarget:
    """A target whose engine is a `SocketEngine`."""

    engine: Address
    directory: Path
    facts: TargetFacts
    registry: RegistryAccess | None = None
    host: FakeHost | None = None
    recorder: Recorder = field(default_factory=Recorder)
    docker: list[str] | None = None
    tap: Address | None = None
    death: str | None = None
    machine: Any = None

    __hash__ = object.__hash__

    def docker_argv(self) -> Sequence[str] | None:
        return self.docker

    def engine_tap(self) -> Address | None:
        return self.tap

    def check_alive(self) -> None:
        if self.death:
            raise TargetError(self.death)

    def log_marks(self) -> dict[str, int]:
        return {"dockerd": 0}

    def log_since(self, marks: dict[str, int], lines: int = 20) -> dict[str, str]:
        return {"dockerd": "the last line"}

    def close(self) -> list[str]:
        return []


def facts(**changes: Any) -> TargetFacts:
    values: dict[str, Any] = {
        "name": "fake",
        "engine_version": "20.10.24",
        "api_minimum": (1, 12),
        "api_maximum": (1, 41),
        "root": True,
        "cgroup_version": 1,
        "operating_system": "linux",
        "architecture": "amd64",
        "programs": {"dockerd": "upstream"},
        "hops": dict.fromkeys(Hop),
        "variables": {"api": "1.41"},
    }
    return TargetFacts(**{**values, **changes})


@contextmanager
def engine_at(directory: Path) -> Iterator[SocketEngine]:
    engine = SocketEngine(directory / "e.sock")
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
    assert engine.errors == []


def one(text: str) -> Scenario:
    """Return the only scenario in `text`, which gets the keys that every scenario has."""
    (scenario,) = load_text(f"title: t\nrefs: [x/y]\n{text}")
    return scenario
