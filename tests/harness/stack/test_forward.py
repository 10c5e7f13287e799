"""The forwarder: bytes and half-closes pass both ways, and its bounds hold."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.stack.forward import Forwarder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOUND = 20.0


class Running:
    """A forwarder that is turned by a thread, from near.sock to far.sock in one directory."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.near = str(directory / "near.sock")
        self.far = listen(directory / "far.sock")
        self.forwarder = Forwarder(limit)
        self.forwarder.add(listen(directory / "near.sock"), str(directory / "far.sock"))
        self._going = True
        self._thread = threading.Thread(target=self._turn, daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        while self._going:
            self.forwarder.turn(0.01)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(BOUND)
        client.connect(self.near)
        return client

    def accept(self) -> socket.socket:
        server, _ = self.far.accept()
        server.settimeout(BOUND)
        return server

    def stop(self) -> None:
        self._going = False
        self._thread.join(BOUND)
        self.forwarder.close()
        self.far.close()


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.settimeout(BOUND)
    listener.bind(str(path))
    listener.listen(16)
    return listener


@pytest.fixture
def forwarding(tmp_path: Path) -> Iterator[Callable[[int], Running]]:
    made: list[Running] = []

    def start(limit: int = 16) -> Running:
        made.append(Running(tmp_path, limit))
        return made[-1]

    yield start
    for running in made:
        running.stop()


def received(source: socket.socket) -> bytes:
    data = b""
    while piece := source.recv(65536):
        data += piece
    return data


def test_output_goes_on_after_the_input_has_ended(forwarding: Callable[..., Running]) -> None:
    running = forwarding()
    with running.connect() as client, running.accept() as server:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert received(server) == b"question"
        server.sendall(b"answer")
        server.shutdown(socket.SHUT_WR)

        assert received(client) == b"answer"


def test_more_than_the_buffers_hold_arrives_whole(forwarding: Callable[..., Running]) -> None:
    running = forwarding()
    data = bytes(range(256)) * 20_000
    with running.connect() as client, running.accept() as server:
        sender = threading.Thread(target=lambda: (server.sendall(data), server.shutdown(socket.SHUT_WR)))
        sender.start()

        assert received(client) == data
        sender.join(BOUND)


def test_an_answer_arrives_although_the_server_reads_no_more(forwarding: Callable[..., Running]) -> None:
    running = forwarding()
    with running.connect() as client:
        with running.accept() as server:
            client.sendall(b"x" * 10)
            server.recv(10)
            server.sendall(b"enough")
        assert client.recv(6) == b"enough"
        assert received(client) == b""


def test_a_client_that_vanishes_ends_the_servers_connection(forwarding: Callable[..., Running]) -> None:
    running = forwarding()
    client = running.connect()
    with running.accept() as server:
        client.close()

        assert received(server) == b""


def test_a_connection_above_the_limit_waits_for_a_place(forwarding: Callable[..., Running]) -> None:
    running = forwarding(limit=1)
    with running.connect() as first, running.accept() as server, running.connect() as second:
        second.sendall(b"second")
        running.far.settimeout(0.05)
        with pytest.raises(TimeoutError):
            running.far.accept()
        first.close()
        server.close()
        running.far.settimeout(BOUND)
        with running.accept() as other:
            assert other.recv(6) == b"second"


def test_nobody_behind_closes_the_connection(forwarding: Callable[..., Running]) -> None:
    running = forwarding()
    running.far.close()
    with running.connect() as client:
        assert received(client) == b""
    running.far = socket.socket()
