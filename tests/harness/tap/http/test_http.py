"""The recording proxy against upstreams made of sockets: every case compares bytes on both sides of the tap."""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tapped_http import GET, OK, WAIT, Handler, Proxy, answering, read_all, read_exactly, read_head

from sixhops.harness.errors import InternalError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.http.tap import HttpTap
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


ANSWERS = {
    "with a length": (GET, OK),
    "chunked with an extension and trailers": (
        GET,
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=y\r\nok\r\n00A\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
        ),
    ),
    "until the end": (GET, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it"),
    "204 without a body": (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "304 with a length": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    "an interim answer before": (GET, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
    "no reason phrase": (GET, b"HTTP/1.1 200\r\ncontent-LENGTH:2\r\n\r\nok"),
    "bare line feeds": (GET, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    "connection close": (GET, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
    "a chunked request": (
        b"PUT /v2/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK,
    ),
    "pipelined requests": (GET + GET, OK + b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    "an answer to HEAD": (
        b"HEAD /v2/x HTTP/1.1\r\n\r\n" + GET,
        b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n" + OK,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_no_byte_is_changed_in_either_direction(proxy: Callable[[Handler], Proxy], name: str) -> None:
    request, answer = ANSWERS[name]
    arrived: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        arrived.append(read_all(connection))
        connection.sendall(answer)

    tapped = proxy(handler)

    assert tapped.talk(request) == answer
    assert arrived == [request]
    assert all(message.fields["complete"] for message in tapped.messages())


def test_a_message_holds_the_request_and_its_answer(proxy: Callable[[Handler], Proxy]) -> None:
    body = b'{"a":1}'
    tapped = proxy(
        answering(
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n[1, true]\r\n"
        )
    )

    tapped.talk(b"POST /v2/x/?n=1&n=2&e HTTP/1.1\r\nContent-Length: 7\r\nA: 1\r\na: 2\r\n\r\n" + body)

    (message,) = tapped.messages()
    assert message.hop == "registry"
    assert message.summary == "POST /v2/x/ -> 201"
    assert message.fields | {"request_sha256": "", "response_sha256": ""} == {
        "method": "POST",
        "target": "/v2/x/?n=1&n=2&e",
        "path": "/v2/x/",
        "query": {"n": ["1", "2"], "e": ""},
        "status": 201,
        "reason": "Created",
        "request_headers": {"content-length": "7", "a": "1, 2"},
        "request_body": '{"a":1}',
        "request_json": {"a": 1},
        "request_length": 7,
        "request_sha256": "",
        "response_headers": {"content-type": "application/json", "content-length": "11"},
        "response_body": "[1, true]\r\n",
        "response_json": [1, True],
        "response_length": 11,
        "response_sha256": "",
        "complete": True,
        "error": None,
    }


def test_two_requests_on_one_connection_are_two_messages_in_order(proxy: Callable[[Handler], Proxy]) -> None:
    def handler(connection: socket.socket) -> None:
        for number in (1, 2):
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    tapped = proxy(handler)
    client = tapped.client()

    for number in (b"1", b"2"):
        client.sendall(b"GET /%s HTTP/1.1\r\n\r\n" % number)
        read_head(client)
        assert read_exactly(client, 1) == number
        # Recorded before the answer's last byte was passed on: no waiting here.
        assert tapped.recorder.since(0)[-1].summary == f"GET /{number.decode()} -> 200"


def test_each_chunk_is_passed_on_as_it_comes(proxy: Callable[[Handler], Proxy]) -> None:
    go_on = threading.Semaphore(0)

    def handler(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            assert go_on.acquire(timeout=WAIT)
            connection.sendall(part)

    tapped = proxy(handler)
    client = tapped.client()
    client.sendall(GET)

    assert read_head(client).startswith(b"HTTP/1.1 200")
    for part in (b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
        go_on.release()
        assert read_exactly(client, len(part)) == part


def test_expect_100_continue_reaches_both_sides_in_time(proxy: Callable[[Handler], Proxy]) -> None:
    def handler(connection: socket.socket) -> None:
        assert b"Expect" in read_head(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert read_exactly(connection, 3) == b"abc"
        connection.sendall(OK)

    tapped = proxy(handler)
    client = tapped.client()
    client.sendall(b"PUT /v2/x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert read_head(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"abc")

    assert read_head(client).startswith(b"HTTP/1.1 200")
    (message,) = tapped.messages()
    assert (message.fields["status"], message.fields["request_body"]) == (200, "abc")


HIJACKS = {
    "101 after an upgrade": (
        (
            b"POST /v1.40/containers/x/attach?stream=1 HTTP/1.1\r\nHost: \r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            b"Content-Length: 0\r\n\r\n"
        ),
        (
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        ),
    ),
    "200 without an upgrade": (
        b"POST /v1.40/exec/x/start HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n",
    ),
    "a websocket": (
        b"GET /containers/x/attach/ws?stream=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ),
}


@pytest.mark.parametrize("name", HIJACKS)
def test_a_hijacked_connection_carries_both_half_closes(proxy: Callable[[Handler], Proxy], name: str) -> None:
    request, head = HIJACKS[name]

    def handler(connection: socket.socket) -> None:
        assert read_exactly(connection, len(request)) == request
        connection.sendall(head)
        # Not HTTP any more: neither what looks like a request nor what looks like an answer is one.
        assert read_all(connection) == b"GET / HTTP/1.1\r\n\r\n\x00\xff"
        connection.sendall(b"\x01\0\0\0\0\0\0\x03bye")

    tapped = proxy(handler)
    client = tapped.client()
    client.sendall(request)
    assert read_exactly(client, len(head)) == head
    client.sendall(b"GET / HTTP/1.1\r\n\r\n\x00\xff")
    client.shutdown(socket.SHUT_WR)

    assert read_all(client) == b"\x01\0\0\0\0\0\0\x03bye"
    assert not tapped.errors
    (message,) = tapped.messages()
    assert message.fields["complete"] is True
    assert message.fields["response_length"] == 11
    assert message.fields["upstream_stream_body"] == b"GET / HTTP/1.1\r\n\r\n\x00\xff"


def test_the_upstreams_half_close_leaves_the_clients_side_open(proxy: Callable[[Handler], Proxy]) -> None:
    request, head = HIJACKS["101 after an upgrade"]
    late: list[bytes] = []
    done = threading.Event()

    def handler(connection: socket.socket) -> None:
        read_exactly(connection, len(request))
        connection.sendall(head + b"out")
        connection.shutdown(socket.SHUT_WR)
        late.append(read_all(connection))
        done.set()

    tapped = proxy(handler)
    client = tapped.client()
    client.sendall(request)
    assert read_all(client) == head + b"out"
    client.sendall(b"late stdin")
    client.close()

    assert done.wait(WAIT)
    assert late == [b"late stdin"]
    assert tapped.messages()[0].fields["response_body"] == "out"


def test_bytes_before_the_answer_to_an_attach_wait_for_it(proxy: Callable[[Handler], Proxy]) -> None:
    request = b"POST /containers/x/attach HTTP/1.1\r\nContent-Length: 0\r\n\r\n"

    def handler(connection: socket.socket) -> None:
        read_exactly(connection, len(request))
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        assert read_head(connection) == GET
        connection.sendall(OK)

    tapped = proxy(handler)
    client = tapped.client()
    client.sendall(request + GET)

    assert read_head(client).startswith(b"HTTP/1.1 404")
    assert read_head(client).startswith(b"HTTP/1.1 200")
    assert [message.summary for message in tapped.messages()] == [
        "POST /containers/x/attach -> 404",
        "GET /v2/ -> 200",
    ]


def test_a_body_above_the_limit_is_passed_on_whole_and_kept_in_part(
    proxy: Callable[[Handler], Proxy],
) -> None:
    size = 3 * 1024 * 1024
    digest = hashlib.sha256(bytes(size)).hexdigest()
    tapped = proxy(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)))

    answer = tapped.talk(GET)

    assert answer.endswith(bytes(size))
    fields = tapped.messages()[0].fields
    assert (fields["response_length"], fields["response_sha256"]) == (size, digest)
    assert (len(str(fields["response_body"])), fields["response_truncated"]) == (65536, True)


@pytest.mark.parametrize(
    ("garbage", "error"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "not HTTP: starts with b'\\x16\\x03\\x01\\x02\\x00\\x01'"),
        (b"HELLO\r\n", "not a start line: b'HELLO\\r'"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "not a header line: b'no colon'"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 65536, "a head of more than 65536 bytes"),
        (b"PUT / HTTP/1.1\r\nContent-Length: many\r\n\r\n", "not a Content-Length: 'many'"),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not a chunk size: b'zz\\r\\n'"),
        (b"GET / HT", "the client closed its side inside a request"),
        (b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", "the client closed its side inside a request"),
    ],
)
def test_garbage_closes_its_own_connection_and_is_recorded(
    proxy: Callable[[Handler], Proxy], garbage: bytes, error: str
) -> None:
    tapped = proxy(answering(OK))

    assert tapped.talk(garbage) == b""
    (message,) = tapped.messages()
    assert (message.fields["complete"], message.fields["error"]) == (False, error)
    assert tapped.talk(GET) == OK


def test_an_upstream_that_answers_nonsense_is_recorded(proxy: Callable[[Handler], Proxy]) -> None:
    tapped = proxy(answering(b"SSH-2.0-x\r\n"))

    assert tapped.talk(GET) == b""
    (message,) = tapped.messages()
    assert message.summary == "GET /v2/ -> no answer"
    assert message.fields["error"] == "not a start line: b'SSH-2.0-x\\r'"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "the upstream closed the connection before it answered"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "the upstream closed the connection inside an answer",
        ),
    ],
)
def test_an_upstream_that_breaks_off_is_recorded(
    proxy: Callable[[Handler], Proxy], answer: bytes, error: str
) -> None:
    tapped = proxy(answering(answer))

    assert tapped.talk(GET) == answer
    (message,) = tapped.messages()
    assert (message.fields["complete"], message.fields["error"]) == (False, error)


def test_an_upstream_that_is_not_there_is_recorded_with_the_reason(tmp_path: Path) -> None:
    recorder = Recorder()
    listener = socket.create_server(("127.0.0.1", 0))
    place = listener.getsockname()
    upstream = Address("nobody", unix=tmp_path / "nobody.sock")

    with HttpTap(listener, upstream, Hop.ENGINE, recorder), socket.create_connection(place, WAIT) as client:
        client.sendall(GET)
        assert client.recv(1) == b""

    (message,) = recorder.since(0)
    assert "the upstream can't be reached: " in str(message.fields["error"])


def test_a_client_that_vanishes_is_recorded(proxy: Callable[[Handler], Proxy]) -> None:
    gone = threading.Event()

    def handler(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert gone.wait(WAIT)
        try:
            while True:
                connection.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
        except OSError:
            return

    tapped = proxy(handler)
    client = tapped.client()
    client.sendall(GET)
    read_head(client)
    client.close()
    gone.set()

    (message,) = tapped.messages()
    assert message.fields["complete"] is False
    assert str(message.fields["error"]).startswith("the client broke off")


def test_closing_the_tap_finishes_what_is_open(proxy: Callable[[Handler], Proxy]) -> None:
    asked = threading.Event()

    def handler(connection: socket.socket) -> None:
        read_head(connection)
        asked.set()
        assert connection.recv(1) == b""

    tapped = proxy(handler)
    idle, client = tapped.client(), tapped.client()
    client.sendall(GET)
    assert asked.wait(WAIT)

    tapped.tap.close()

    assert client.recv(1) == idle.recv(1) == b""
    assert [message.fields["error"] for message in tapped.messages()] == ["the tap was closed"]


def test_closing_the_tap_ends_connections_that_just_came(proxy: Callable[[Handler], Proxy]) -> None:
    tapped = proxy(lambda connection: None)
    client = tapped.client()

    tapped.tap.close()

    # Reset when it was still in the listener's queue.
    with suppress(ConnectionResetError):
        assert client.recv(1) == b""


def test_many_connections_at_once(proxy: Callable[[Handler], Proxy]) -> None:
    everybody = threading.Barrier(20)

    def handler(connection: socket.socket) -> None:
        read_head(connection)
        everybody.wait(WAIT)
        connection.sendall(OK)

    tapped = proxy(handler)
    clients = [tapped.client() for _ in range(20)]
    for client in clients:
        client.sendall(GET)

    assert [read_exactly(client, len(OK)) for client in clients] == [OK] * 20
    assert len(tapped.messages()) == 20


def test_a_connector_replaces_the_address() -> None:
    ours, theirs = socket.socketpair()
    recorder = Recorder()
    listener = socket.create_server(("127.0.0.1", 0))
    place = listener.getsockname()
    tap = HttpTap(listener, Address("elsewhere"), Hop.ENGINE, recorder, connector=lambda: theirs)

    with tap, ours, socket.create_connection(place, WAIT) as client:
        ours.settimeout(WAIT)
        client.sendall(GET)
        assert read_exactly(ours, len(GET)) == GET
        ours.sendall(OK)
        assert read_exactly(client, len(OK)) == OK


def test_a_tap_starts_once() -> None:
    tap = HttpTap(socket.create_server(("127.0.0.1", 0)), Address("x"), Hop.ENGINE, Recorder())
    with tap, pytest.raises(InternalError, match="started before"):
        tap.start()
    tap.close()
