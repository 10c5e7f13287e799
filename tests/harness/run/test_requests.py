"""What a `request` step puts on the wire, and which facets its answer has. Bytes are compared at the socket."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.run.result import ScenarioRun

if TYPE_CHECKING:
    from socket_engine import FakeTarget, Seen, SocketEngine

Run = Callable[[str], ScenarioRun]

OUT = b"\x01\0\0\0\0\0\0\x04out\n"
ERR = b"\x02\0\0\0\0\0\0\x04err\n"
HEAD_101 = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
HEAD_200 = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"


def step(run: Run, text: str) -> dict[str, object]:
    """Run one step and return its facets; the step must have had no error."""
    result = run(f"steps:\n  - {text}")
    assert result.exchanges[0].error is None
    return result.exchanges[0].facets


REQUESTS = {
    "a plain GET": (
        "request: GET /info",
        b"GET /v1.40/info HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\n\r\n",
        b"",
    ),
    "a POST without a body": (
        "request: POST /x",
        b"POST /v1.40/x HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\nContent-Length: 0\r\n\r\n",
        b"",
    ),
    "a path is sent as it is written": (
        "{request: GET //a/%2e%2E/b%20?x=%zz&y, api: none}",
        b"GET //a/%2e%2E/b%20?x=%zz&y HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\n\r\n",
        b"",
    ),
    "a query is encoded and joined": (
        "{request: GET /x?a=1, query: {b: [1, true], filters: {label: [é]}}, api: '1.41'}",
        (
            b"GET /v1.41/x?a=1&b=1&b=true&filters=%7B%22label%22%3A%5B%22%C3%A9%22%5D%7D HTTP/1.1\r\n"
            b"Host: docker\r\nUser-Agent: sixhops/0.1\r\n\r\n"
        ),
        b"",
    ),
    "json is compact": (
        "{request: POST /x, json: {b: [1, 2.5, null], a: é}}",
        (
            b"POST /v1.40/x HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 29\r\n\r\n"
        ),
        '{"b":[1,2.5,null],"a":"é"}'.encode(),
    ),
    "json null is a body": (
        "{request: POST /x, json: null}",
        (
            b"POST /v1.40/x HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 4\r\n\r\n"
        ),
        b"null",
    ),
    "headers replace and remove the default ones": (
        "{request: GET /x, headers: {hOST: '', User-Agent: null, X-A: '1'}}",
        b"GET /v1.40/x HTTP/1.1\r\nhOST: \r\nX-A: 1\r\n\r\n",
        b"",
    ),
    "no header at all": (
        "{request: GET /x, headers: {Host: null, User-Agent: null}}",
        b"GET /v1.40/x HTTP/1.1\r\n\r\n",
        b"",
    ),
    "a text body": (
        "{request: PUT /x, body: 'hi é'}",
        b"PUT /v1.40/x HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\nContent-Length: 5\r\n\r\n",
        "hi é".encode(),
    ),
    "a hexadecimal body repeated": (
        "{request: PUT /x, body: {hex: 00ff, repeat: 3}}",
        b"PUT /v1.40/x HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\nContent-Length: 6\r\n\r\n",
        b"\x00\xff" * 3,
    ),
    "a chunked body": (
        "{request: PUT /x, body: {base64: YWJj, chunked: true}}",
        (
            b"PUT /v1.40/x HTTP/1.1\r\nHost: docker\r\nUser-Agent: sixhops/0.1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        ),
        b"abc",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_sent_byte_for_byte(run: Run, engine: SocketEngine, name: str) -> None:
    text, head, body = REQUESTS[name]
    head = head.replace(b"Content-Length: 29", b"Content-Length: %d" % len(body)) if body else head

    step(run, text)

    sent = [seen for seen in engine.seen if seen.line.partition(" ")[2] not in COMMON]
    assert [(seen.head, seen.body) for seen in sent] == [(head, body)]


COMMON = {"/images/json?all=1", "/containers/json?all=1", "/networks", "/volumes"}


def test_credentials_travel_as_url_safe_base64(run: Run, engine: SocketEngine) -> None:
    step(run, "{request: POST /images/create, auth: {username: ü?>, password: p}}")

    (seen,) = [seen for seen in engine.seen if "create" in seen.line]
    value = dict(seen.headers)["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(value)) == {"username": "ü?>", "password": "p"}
    assert set(value).isdisjoint("+/")


def test_a_tar_body_is_an_archive(run: Run, engine: SocketEngine) -> None:
    step(run, "{request: PUT /containers/x/archive?path=/, tar: [{file: /a, text: hello}]}")

    (seen,) = [seen for seen in engine.seen if "archive" in seen.line]
    assert dict(seen.headers)["Content-Type"] == "application/x-tar"
    assert b"hello" in seen.body
    assert len(seen.body) % 512 == 0


ANSWERS = {
    "a JSON value": (
        (
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 9\r\n\r\n"
            b'{"a":12}\n'
        ),
        {
            "status": 201,
            "reason": "Created",
            "json": {"a": 12},
            "stream": [{"a": 12}],
            "body": '{"a":12}\n',
            "headers": {"content-type": "application/json", "x-a": "1, 2", "content-length": "9"},
        },
    ),
    "several JSON values": (
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'5\r\n{"a":\r\n5\r\n1}\r\n{\r\n4\r\n}\r\n2\r\n0\r\n\r\n'
        ),
        {"stream": [{"a": 1}, {}, 2], "body": '{"a":1}\r\n{}\r\n2'},
    ),
    "a JSON value of several lines": (
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\n  "a": [1]\n}',
        {"json": {"a": [1]}},
    ),
    "text": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nOK",
        {"body": "OK"},
    ),
    "text that only begins like JSON": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{} [oops",
        {"body": "{} [oops"},
    ),
    "bytes": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xfe\x00",
        {"body": b"\xff\xfe\x00"},
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", {"status": 204, "body": ""}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_becomes_facets(run: Run, engine: SocketEngine, name: str) -> None:
    answer, wanted = ANSWERS[name]
    engine.raw("GET /x", answer)

    facets = step(run, "request: GET /x")

    assert {key: facets[key] for key in wanted} == wanted
    assert facets["eof"] is True
    for key in {"json", "stream", "stdout", "frames", "output"} - wanted.keys():
        assert key not in facets or key == "stream"


def test_what_is_not_json_has_neither_json_nor_stream(run: Run, engine: SocketEngine) -> None:
    engine.raw("GET /x", ANSWERS["text that only begins like JSON"][0])

    facets = step(run, "request: GET /x")

    assert facets.keys() == {"status", "reason", "headers", "body", "eof"}


FRAMES = {
    "frames": [{"stream": "stdout", "data": "out\n"}, {"stream": "stderr", "data": "err\n"}],
    "stdout": "out\n",
    "stderr": "err\n",
    "output": "out\nerr\n",
}
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n"
    + OUT
    + b"\r\nc\r\n"
    + ERR
    + b"\r\n0\r\n\r\n"
)
OUTPUTS = {
    "attach without an upgrade": ("POST /containers/x/attach?stream=1", HEAD_200 + OUT + ERR, FRAMES),
    "logs without a content type, as 20.10 sends them": ("GET /containers/x/logs?stdout=1", CHUNKED, FRAMES),
    "a multiplexed stream by its media type, anywhere": (
        "GET /libpod/anything",
        HEAD_200.replace(b"raw-stream", b"multiplexed-stream") + OUT + ERR,
        FRAMES,
    ),
    "exec start": ("POST /exec/x/start", HEAD_200 + OUT + ERR, FRAMES),
    "an error of a hijacked endpoint is text": (
        "POST /containers/x/attach",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nNo such container: x\r\n",
        {"status": 404, "body": "No such container: x\r\n"},
    ),
    "frames that are none are kept as they came": (
        "POST /containers/x/attach",
        HEAD_200 + OUT + b"$ ls\r\n and more",
        {"stdout": "out\n", "frame_error": "there is no stream 36 (at byte 12 of the stream)"},
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_container_output_is_taken_apart(run: Run, engine: SocketEngine, name: str) -> None:
    line, answer, wanted = OUTPUTS[name]
    engine.raw(".*", answer)
    engine.routes.append(engine.routes.pop(0))

    facets = step(run, f"request: {line}")

    assert {key: facets[key] for key in wanted} == wanted
    if "stdout" not in wanted:
        assert "stdout" not in facets


def test_json_in_a_terminals_log_that_is_sent_as_a_raw_stream(run: Run, engine: SocketEngine) -> None:
    engine.raw(".*", HEAD_200 + b'{"a": 1}\r\n')
    engine.routes.append(engine.routes.pop(0))

    facets = step(run, "{request: GET /containers/x/logs?stdout=1, tty: true}")

    assert (facets["json"], facets["output"]) == ({"a": 1}, '{"a": 1}\r\n')


def test_a_terminals_output_is_taken_as_it_comes(run: Run, engine: SocketEngine) -> None:
    engine.raw("POST /containers/x/attach", HEAD_200 + b"\x01\0\0\0\r\n")

    facets = step(run, "{request: POST /containers/x/attach, tty: true}")

    assert facets["output"] == "\x01\0\0\0\r\n"
    assert "frames" not in facets


@pytest.mark.parametrize("together", [True, False], ids=["in one packet", "apart"])
def test_an_upgraded_stream_goes_both_ways(run: Run, engine: SocketEngine, together: bool) -> None:
    """Bytes that come in the packet of the head must not get lost."""

    def attach(seen: Seen) -> None:
        if together:
            seen.connection.sendall(HEAD_101 + OUT)
        else:
            seen.connection.sendall(HEAD_101)
            seen.connection.sendall(OUT)
        assert seen.read_to_end() == b"typed\n"
        seen.connection.sendall(ERR)

    engine.on("POST /containers/x/attach.*", attach)

    facets = step(run, r'{request: "POST /containers/x/attach?stream=1", upgrade: tcp, stdin: "typed\n"}')

    assert facets["status"] == 101
    assert {key: facets[key] for key in FRAMES} == FRAMES
    assert facets["eof"] is True
    (seen,) = [seen for seen in engine.seen if "attach" in seen.line]
    assert seen.head.endswith(b"Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")


def test_stdin_larger_than_any_buffer_does_not_block_the_reader(run: Run, engine: SocketEngine) -> None:
    size = 4 * 1024 * 1024

    def echo(seen: Seen) -> None:
        seen.connection.sendall(HEAD_101)
        left = size
        while left:
            part = seen.connection.recv(65536)
            left -= len(part)
            seen.connection.sendall(part)
        assert seen.connection.recv(1) == b""

    engine.on("POST /exec/x/start", echo)

    facets = step(
        run,
        "{request: POST /exec/x/start, upgrade: tcp, tty: true, stdin: {text: 0123456789abcdef, repeat: 262144}}",
    )

    assert len(str(facets["output"])) == size


def test_without_half_close_the_container_sees_no_end(run: Run, engine: SocketEngine) -> None:
    def attach(seen: Seen) -> None:
        seen.connection.sendall(HEAD_101)
        assert seen.read(2) == b"hi"
        seen.connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            seen.connection.recv(1)

    engine.on("POST /containers/x/attach", attach)

    step(run, "{request: POST /containers/x/attach, upgrade: tcp, stdin: hi, half_close: false}")


BROKEN = {
    "no answer": (b"", "closed the connection without an answer"),
    "half a head": (
        b"HTTP/1.1 200 OK\r\nCont",
        "closed the connection without an answer after b'HTTP/1.1 200",
    ),
    "no HTTP": (b"SSH-2.0\r\n", "does not answer in HTTP: not a start line"),
    "a body that ends early": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "closed the connection inside the body",
    ),
    "a broken chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        "does not answer in HTTP: a chunk is longer than its size said",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_the_exchanges_error(run: Run, engine: SocketEngine, name: str) -> None:
    answer, message = BROKEN[name]
    engine.raw("GET /x", answer)

    result = run("steps:\n  - request: GET /x")

    assert message in str(result.exchanges[0].error)
    assert result.verdict.status == "failed"


def test_what_came_before_a_break_is_still_there(run: Run, engine: SocketEngine) -> None:
    engine.raw("GET /x", BROKEN["a body that ends early"][0])

    result = run("steps:\n  - request: GET /x")

    facets = result.exchanges[0].facets
    assert (facets["status"], facets["body"], facets["eof"]) == (200, "abc", False)


def test_a_step_ends_when_its_time_is_over(run: Run, engine: SocketEngine) -> None:
    engine.on("GET /x", lambda seen: seen.read_to_end() and None)

    result = run("steps:\n  - {request: GET /x, timeout: 0.02s}")

    assert result.exchanges[0].error == "waited for the head of the answer until the step's time was over"


def test_an_early_answer_is_read_although_the_body_was_refused(run: Run, engine: SocketEngine) -> None:
    def refuse(connection: Seen) -> None:
        connection.reply({"message": "too large"}, "413 Request Entity Too Large")

    # The engine answers before it has read the body: the route runs as soon as the head is there.
    engine.on("HEAD /never", refuse)
    engine.json("PUT /x", {"message": "too large"}, "413 Request Entity Too Large")

    facets = step(run, "{request: PUT /x, body: {text: abcd, repeat: 10}}")

    assert facets["status"] == 413


def test_a_registry_step_goes_to_the_registry(run: Run, engine: SocketEngine, target: FakeTarget) -> None:
    from sixhops.harness.target import RegistryAccess

    target.registry = RegistryAccess(engine.address, mirrored=True, prefix="registry:5000")
    engine.json("GET /v2/x/tags/list", {"tags": ["a"]})

    facets = step(run, "registry: GET /v2/x/tags/list")

    assert facets["json"] == {"tags": ["a"]}
    (seen,) = [seen for seen in engine.seen if "tags" in seen.line]
    assert dict(seen.headers)["Host"] == "registry:5000"


def test_an_engine_that_is_not_there_is_named(run: Run, engine: SocketEngine, target: FakeTarget) -> None:
    from sixhops.harness.errors import TargetError
    from sixhops.harness.target import Address

    target.engine = Address("tcp://127.0.0.1:1", host="127.0.0.1", port=1)

    with pytest.raises(TargetError, match=r"tcp://127\.0\.0\.1:1 can't be reached: Connection refused"):
        run("steps:\n  - request: GET /x")


def test_requests_of_many_threads_do_not_disturb_each_other(run: Run, engine: SocketEngine) -> None:
    together = threading.Barrier(3)

    def wait(seen: Seen) -> None:
        together.wait(20)
        seen.reply({"path": seen.line})

    engine.on("GET /w.*", wait)

    result = run(
        "steps:\n"
        "  - {background: a, request: GET /w1}\n"
        "  - {background: b, request: GET /w2}\n"
        "  - {request: GET /w3, expect: {json: {path: GET /w3}}}\n"
        "  - {join: a, expect: {json: {path: GET /w1}}}\n"
        "  - {join: b, expect: {json: {path: GET /w2}}}\n"
    )

    assert result.passed
