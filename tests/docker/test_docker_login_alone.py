"""Logging in when there is no engine: both clients ask a registry itself, and say and keep the same."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

_REAL = "/usr/bin/docker"
pytestmark = pytest.mark.skipif(not shutil.which(_REAL), reason="Docker's client is not installed")

_ME = f"Basic {base64.b64encode(b'me:word').decode()}"


class _Registry(BaseHTTPRequestHandler):
    """A registry by HTTP: `wants` says what for /v2/ (nothing, basic, bearer, or rest: it is out of order)."""

    wants = "nothing"
    seen: list[str]

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        pass

    def handle(self) -> None:
        """Answer; who greets with TLS gets a whole 400 first, and is read to the end, so that no reset cuts it off."""
        if self.connection.recv(1, socket.MSG_PEEK) != b"\x16":
            super().handle()
            return
        self.connection.recv(1 << 16)
        self.connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while self.connection.recv(1 << 16):
                pass

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        self.seen.append(f"{self.path} {given}")
        if self.path.startswith("/token"):
            good = given == _ME
            self._answer(200 if good else 401, b'{"token":"tok"}' if good else b'{"details":"nobody"}')
        elif self.wants == "basic" and given != _ME:
            self._answer(401, b"{}", 'Basic realm="here"')
        elif self.wants == "bearer" and given != "Bearer tok":
            port = self.server.server_address[1]
            self._answer(401, b"{}", f'Bearer realm="http://127.0.0.1:{port}/token",service="svc"')
        else:
            self._answer(500 if self.wants == "rest" else 200, b"{}")

    def _answer(self, status: int, body: bytes, challenge: str = "") -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def registry():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)


def _outcome(client, password, port, home):
    home.mkdir()
    _Registry.seen = []
    done = subprocess.run(
        [*client, "login", "-u", "me", "-p", password, f"127.0.0.1:{port}"],
        capture_output=True, text=True, timeout=60, check=False,
        env={"HOME": str(home), "DOCKER_HOST": f"unix://{home}/none.sock"},
    )  # fmt: skip
    said = re.sub(r'time="[^"]*"', "time", done.stderr.replace(str(home), "HOME"))
    kept = home / ".docker" / "config.json"
    return done.returncode, done.stdout, said, _Registry.seen, kept.read_text() if kept.exists() else ""


@pytest.mark.parametrize(
    ("wants", "password", "status"),
    [
        ("nothing", "word", 0),
        ("basic", "word", 0),
        ("basic", "other", 1),
        ("bearer", "word", 0),
        ("bearer", "other", 1),
        ("rest", "word", 1),
    ],
)
def test_a_registry_is_asked_itself(wants, password, status, registry, tmp_path, monkeypatch):
    monkeypatch.setattr(_Registry, "wants", wants)

    real = _outcome([_REAL], password, registry, tmp_path / "real")
    ours = _outcome([sys.executable, "-m", "sixhops.docker"], password, registry, tmp_path / "ours")

    assert real[0] == status
    assert ours == real


def test_a_registry_that_is_not_there(tmp_path):
    assert _outcome([sys.executable, "-m", "sixhops.docker"], "word", 1, tmp_path / "ours") == _outcome(
        [_REAL], "word", 1, tmp_path / "real"
    )
