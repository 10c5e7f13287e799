"""The client's HTTP codec: every answer whole, byte by byte, and with bytes left over."""

from __future__ import annotations

import pytest

from sixhops.docker.engine.http import Answer, ProtocolError, request

ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: a\r\n\r\n",
        200,
        b"hello!",
    ),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", 201, b"{}"),
    (b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", 101, b""),
]


@pytest.mark.parametrize(("data", "status", "body"), ANSWERS)
@pytest.mark.parametrize("step", [1, 3, 4096])
def test_an_answer_however_it_is_cut(data, status, body, step):
    answer = Answer("GET")
    got = b"".join(answer.feed(data[i : i + step]) for i in range(0, len(data), step))

    assert (answer.status, got, answer.done) == (status, body, True)


@pytest.mark.parametrize(("data", "status", "body"), ANSWERS)
def test_what_follows_an_answer_is_kept(data, status, body):
    answer = Answer("GET")

    assert answer.feed(data + b"\x01\x00raw") == body
    assert answer.rest == b"\x01\x00raw"


def test_a_body_without_length_ends_with_the_connection():
    answer = Answer("POST")

    assert answer.feed(b"HTTP/1.1 404 Not Found\r\n\r\nNo such") == b"No such"
    assert not answer.done
    assert answer.feed(b"") == b""
    assert (answer.done, answer.keep_alive) == (True, False)


def test_an_answer_to_head_has_no_body():
    answer = Answer("HEAD")
    answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")

    assert (answer.done, answer.keep_alive) == (True, True)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    ],
)
def test_what_is_no_answer(data):
    with pytest.raises(ProtocolError):
        Answer("GET").feed(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"])
def test_an_end_in_the_middle(data):
    answer = Answer("GET")
    if data:
        answer.feed(data)

    with pytest.raises(ProtocolError, match="EOF"):
        answer.feed(b"")


def test_headers_stand_in_dockers_order():
    data = request(
        "POST", "/v1.41/x", {"Content-Type": "text/plain", "User-Agent": "D", "Host": "docker"}, b""
    )

    assert data.split(b"\r\n") == [
        b"POST /v1.41/x HTTP/1.1",
        b"Host: docker",
        b"User-Agent: D",
        b"Content-Length: 0",
        b"Content-Type: text/plain",
        b"",
        b"",
    ]


def test_a_line_break_can_not_be_smuggled_into_the_head():
    with pytest.raises(ProtocolError):
        request("GET", "/x\nEvil: 1", {"Host": "docker"}, None)
