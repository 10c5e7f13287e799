"""Requests whose framing can be read in two ways: never answered as two, and the connection ends."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import registry_support as support

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_support import Running

SECOND = b"GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n"

CASES = {
    "length and chunks": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + SECOND,
    "lengths in one": POST + b"Content-Length: 0, 50\r\n\r\n" + SECOND,
    "length with a sign": POST + b"Content-Length: +0\r\n\r\n" + SECOND,
    "length in hex": POST + b"Content-Length: 0x0\r\n\r\n" + SECOND,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + SECOND,
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
    "blank before the colon": POST + b"Content-Length : 0\r\n\r\n" + SECOND,
    "folded line": POST + b"X: a\r\n Content-Length: 50\r\n\r\n" + SECOND,
    "chunk size with blanks": POST + b"Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n" + SECOND,
    "negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SECOND,
    "NUL in a header": POST + b"X: a\0b\r\n\r\n" + SECOND,
    "carriage return alone": POST + b"X: a\rContent-Length: 50\r\n\r\n" + SECOND,
    "no colon": POST + b"Content-Length 0\r\n\r\n" + SECOND,
    "blank in the target": b"GET /v2/ x HTTP/1.1\r\nHost: x\r\n\r\n" + SECOND,
    "long header": POST + b"X: " + b"a" * 100_000 + b"\r\n\r\n" + SECOND,
    "long target": b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n" + SECOND,
    "very many headers": POST
    + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 500) for n in range(500))
    + b"\r\n"
    + SECOND,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with support.ours(tmp_path_factory.mktemp("smuggling")) as running:
        yield running


def say(server: Running, data: bytes) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=20) as peer:
        answer = b""
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while piece := peer.recv(65536):
                answer += piece
        except ConnectionError:
            pass  # the server left while we were still talking
    return answer


@pytest.mark.parametrize("data", CASES.values(), ids=CASES)
def test_ambiguous_framing_is_refused(server: Running, data: bytes) -> None:
    answer = say(server, data)

    assert answer == b"" or answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ", b"HTTP/1.1 202 "))
    assert b"smuggled" not in answer
    if answer.startswith(b"HTTP/1.1 202 "):
        # The first request's head was whole and its body was not: that one may be answered, what follows may not.
        assert answer.count(b"HTTP/1.1 ") <= 2
    assert server.ask("GET", "/v2/").status == 200


def test_headers_can_not_be_injected_by_what_is_echoed(server: Running) -> None:
    for target in (
        "/v2/a%0d%0aX-Evil:%20yes/tags/list",
        "/v2/a/tags/list/%0d%0aX-Evil:%20yes",
        "//v2/%0d%0aX-Evil: yes",
    ):
        assert b"\r\nX-Evil" not in say(server, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    host = say(server, POST.replace(b"Host: x", b'Host: x/"y') + b"Content-Length: 0\r\n\r\n")
    assert b'x/"y' not in host
