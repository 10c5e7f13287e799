"""The userland proxy: bytes and datagrams in both directions, half-closed ends, and its own end."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.networks.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def proxied(protocol: str, kind: int, serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Give the address of a proxy in front of a server that `serve` plays."""
    with socket.socket(socket.AF_INET, kind) as server, socket.socket(socket.AF_INET, kind) as listener:
        for made in (server, listener):
            made.bind(("127.0.0.1", 0))
            made.settimeout(10)
            if kind == socket.SOCK_STREAM:
                made.listen()
        ours, theirs = socket.socketpair()
        proxy = Proxy(listener, theirs, protocol, server.getsockname())
        threads = [threading.Thread(target=proxy.run), threading.Thread(target=serve, args=(server,))]
        for thread in threads:
            thread.start()
        try:
            yield listener.getsockname()
        finally:
            ours.close()
            for thread in threads:
                thread.join(10)
                assert not thread.is_alive()
            theirs.close()


def read_all(source: socket.socket) -> bytes:
    return b"".join(iter(lambda: source.recv(1 << 16), b""))


@pytest.mark.parametrize("protocol", ["tcp", "sctp"])
@pytest.mark.parametrize("size", [0, 5, 5_000_000])
def test_a_stream_goes_through_and_back(size: int, protocol: str) -> None:
    """What is not TCP goes another way through the proxy; the sockets here are TCP's all the same."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]

    def echo(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.sendall(read_all(peer))

    with (
        proxied(protocol, socket.SOCK_STREAM, echo) as address,
        socket.create_connection(address, timeout=20) as client,
    ):

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert read_all(client) == data
        sender.join(10)


def test_a_server_that_closes_first_ends_the_connection() -> None:
    def greet(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"bye")

    with (
        proxied("tcp", socket.SOCK_STREAM, greet) as address,
        socket.create_connection(address, timeout=20) as client,
    ):
        assert read_all(client) == b"bye"


def test_nobody_behind_it_closes_the_connection() -> None:
    def vanish(server: socket.socket) -> None:
        server.close()

    with (
        proxied("tcp", socket.SOCK_STREAM, vanish) as address,
        socket.create_connection(address, timeout=20) as client,
        contextlib.suppress(ConnectionError),
    ):
        assert client.recv(1) == b""


def test_datagrams_go_back_to_who_sent_them() -> None:
    def echo(server: socket.socket) -> None:
        for _ in range(2):
            data, peer = server.recvfrom(1000)
            server.sendto(data.upper(), peer)

    with (
        proxied("udp", socket.SOCK_DGRAM, echo) as address,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for client, text in ((one, b"one"), (other, b"other")):
            client.settimeout(10)
            client.sendto(text, address)
            assert client.recv(1000) == text.upper()
