"""Where the API listens: unix, TCP with and without TLS, and sockets that systemd hands over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from certificates import certify
from sixhops.dockerd.listeners import ListenError, open_listeners, tls_context
from sixhops.dockerd.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


def listen(stack: contextlib.ExitStack, *hosts: str, **settings: object) -> list[socket.socket]:
    options = Options(hosts=list(hosts))
    for name, value in settings.items():
        setattr(options, name, value)
    found = open_listeners(options, stack)
    for listener in found:
        stack.callback(listener.close)
    return found


def test_unix_socket_goes_with_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "run" / "engine.sock"
    with contextlib.ExitStack() as stack:
        listen(stack, f"unix://{path}")
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    assert not path.exists()


def test_the_same_host_twice_is_one_socket(tmp_path: Path, stack: contextlib.ExitStack) -> None:
    assert len(listen(stack, f"unix://{tmp_path}/s", f"unix://{tmp_path}/s", "tcp://127.0.0.1:0")) == 2


@pytest.mark.parametrize("host", ["127.0.0.1:0", "tcp://127.0.0.1:0", "tcp://localhost:0"])
def test_tcp(stack: contextlib.ExitStack, host: str) -> None:
    (listener,) = listen(stack, host)

    assert listener.getsockname()[0] == "127.0.0.1"


def test_port_that_is_none(stack: contextlib.ExitStack) -> None:
    with pytest.raises(ListenError, match="70000: invalid port"):
        listen(stack, "tcp://127.0.0.1:70000")


class Handed:
    """Two listening sockets with numbers in a row, as systemd hands them over, only not from 3 on."""

    def __init__(self) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.ports = [found.getsockname()[1] for found in sockets]
        self.first = fcntl.fcntl(sockets[0].fileno(), fcntl.F_DUPFD, 300)
        assert fcntl.fcntl(sockets[1].fileno(), fcntl.F_DUPFD, self.first + 1) == self.first + 1
        for found in sockets:
            found.close()

    def close(self) -> None:
        for number in (self.first, self.first + 1):
            with contextlib.suppress(OSError):
                os.close(number)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Handed]:
    found = Handed()
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    yield found
    found.close()


@pytest.mark.parametrize(("host", "wanted"), [("fd://", [0, 1]), ("fd://*", [0, 1]), ("fd://{second}", [1])])
def test_sockets_that_systemd_hands_over(
    handed: Handed, stack: contextlib.ExitStack, host: str, wanted: list[int]
) -> None:
    found = open_listeners(
        Options(hosts=[host.format(second=handed.first + 1)]), stack, first_handed=handed.first
    )

    assert [listener.getsockname()[1] for listener in found] == [handed.ports[index] for index in wanted]
    assert not any(listener.get_inheritable() for listener in found)
    for listener in found:
        listener.close()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("fd://9", "too few socket activated files passed in by systemd"),
        ("fd://x", "failed to parse systemd fd address: should be a number"),
    ],
)
def test_sockets_that_were_not_handed_over(
    handed: Handed, stack: contextlib.ExitStack, host: str, message: str
) -> None:
    with pytest.raises(ListenError, match=message):
        open_listeners(Options(hosts=[host]), stack, first_handed=handed.first)


def test_without_systemd(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)

    with pytest.raises(ListenError, match="no sockets found via socket activation"):
        listen(stack, "fd://")


def secure(folder: Path, **settings: bool) -> Options:
    return Options(
        tls_ca=str(folder / "cert.pem"),
        tls_certificate=str(folder / "cert.pem"),
        tls_key=str(folder / "key.pem"),
        tls=settings.get("tls"),
        tls_verify=settings.get("tls_verify", False),
    )


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Return what the client reads, or the name of its error."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), server.wrap_socket(ours, server_side=True) as connection:
            connection.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname="localhost") as connection:
            return connection.recv(5).decode()
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__
    finally:
        ours.close()
        thread.join(10)


def test_no_tls_unless_asked(tmp_path: Path) -> None:
    assert tls_context(secure(tmp_path)) is None
    assert tls_context(secure(tmp_path, tls=False)) is None


def test_tls_without_verification_lets_everybody_in(tmp_path: Path) -> None:
    server = tls_context(secure(certify(tmp_path), tls=True))
    client = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    assert server is not None

    assert handshake(server, client) == "hello"


def test_tlsverify_wants_a_certificate(tmp_path: Path) -> None:
    server = tls_context(secure(certify(tmp_path), tls=True, tls_verify=True))
    stranger = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    friend = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    friend.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert server is not None

    assert handshake(server, stranger) != "hello"
    assert handshake(server, friend) == "hello"


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="Could not load X509 key pair"):
        tls_context(secure(tmp_path, tls=True))

    certify(tmp_path)
    options = secure(tmp_path, tls=True, tls_verify=True)
    options.tls_ca = str(tmp_path / "nosuch")
    with pytest.raises(ListenError, match="could not read CA certificate"):
        tls_context(options)

    (tmp_path / "key.pem").write_text("nonsense")
    with pytest.raises(ListenError, match="Error reading X509 key pair"):
        tls_context(secure(tmp_path, tls=True))
