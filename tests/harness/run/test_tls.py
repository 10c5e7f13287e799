"""Requests over TLS: the answer, the refusal of a strange certificate, and half-close by close_notify."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from certificates import certify
from sixhops.harness.errors import TargetError
from sixhops.harness.run.connection import Connection, StepTimeout
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT = 20.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    return certify(tmp_path_factory.mktemp("tls")) / "both.pem"


class TlsEcho:
    """Says 101, reads to the client's close_notify, then sends what it has read."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received = b""
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        peer.settimeout(WAIT)
        with self._listener, peer:
            try:
                with self._context.wrap_socket(peer, server_side=True, suppress_ragged_eofs=False) as secure:
                    while b"\r\n\r\n" not in self.received:
                        self.received += secure.recv(4096)
                    received = bytearray(self.received)
                    secure.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
                    # b"" only for a proper close_notify; a torn connection would raise.
                    while data := secure.recv(65536):
                        received += data
                    self.received = bytes(received)
                    secure.sendall(b"you are done")
                    secure.unwrap()
            except ssl.SSLError as error:
                self.received = str(error).encode()


@pytest.fixture
def echo(certificate: Path) -> Iterator[TlsEcho]:
    server = TlsEcho(certificate)
    yield server
    server.thread.join(WAIT)
    assert not server.thread.is_alive()


def test_half_close_over_tls_is_a_close_notify(echo: TlsEcho, certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    address = Address("tcp://localhost", host="localhost", port=echo.port, tls=context)
    connection = Connection(address, time.monotonic() + WAIT)

    connection.send(b"POST /attach HTTP/1.1\r\n\r\n")
    head = connection.read_head("POST")
    connection.send(b"stdin")
    connection.half_close()
    output = b"".join(connection.read_body())
    connection.close()

    assert (head.status, output) == (101, b"you are done")
    assert echo.received.endswith(b"\r\n\r\nstdin")


def test_more_than_the_socket_takes_at_once_arrives_whole(echo: TlsEcho, certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    address = Address("tcp://localhost", host="localhost", port=echo.port, tls=context)
    connection = Connection(address, time.monotonic() + WAIT)

    connection.send(b"POST /attach HTTP/1.1\r\n\r\n" + bytes(8 * 1024 * 1024))
    connection.read_head("POST")
    connection.half_close()
    output = b"".join(connection.read_body())
    connection.close()

    assert output == b"you are done"
    assert len(echo.received) == 25 + 8 * 1024 * 1024


def test_a_certificate_that_nobody_trusts_is_the_reason(echo: TlsEcho) -> None:
    context = ssl.create_default_context()
    address = Address("tcp://there:2376", host="localhost", port=echo.port, tls=context)

    with pytest.raises(TargetError, match=r"tcp://there:2376 can't be reached: .*CERTIFICATE_VERIFY_FAILED"):
        Connection(address, time.monotonic() + WAIT)


def test_a_handshake_that_nobody_answers_ends_with_the_steps_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        address = Address("tcp://silent", host="localhost", port=port, tls=ssl.create_default_context())

        with pytest.raises(StepTimeout, match="no connection within the step's time"):
            Connection(address, time.monotonic() + 0.02)
