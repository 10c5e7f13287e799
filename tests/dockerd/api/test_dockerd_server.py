"""The API's front on a real unix socket, with routes and containers of the test's own; bytes are compared as they travel."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.api import answers, hijack
from sixhops.dockerd.api.gojson import Kind
from sixhops.dockerd.api.server import Call, Server, route, unix_listener
from sixhops.dockerd.errors import EngineError, conflict, not_found

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from aiohttp import web

    from sixhops.dockerd.containers.streams.connection import AttachOptions, ClientStream

PATIENCE = 20.0
COMMON = "Api-Version: 1.41\r\n"
RAW = "Content-Type: application/vnd.docker.raw-stream\r\n"


class Echo:
    """A session that gives back what it reads, and says when input has ended."""

    tty = True

    async def run(self, stream: ClientStream) -> None:
        while data := await stream.read():
            await stream.write(data.upper())
        await stream.write(b"<end>")
        stream.close()


class FakeContainers:
    """As much of the containers room as attach and exec start need."""

    async def attach(self, text: str, options: AttachOptions) -> Echo:
        if text != "c":
            raise not_found(f"No such container: {text}")
        return Echo()

    async def exec_start(self, id_: str, detach: bool, tty: bool) -> Echo | None:
        if id_ == "run":
            raise conflict("Error: Exec command run has already run")
        if id_ != "e":
            raise not_found(f"No such exec instance: {id_}")
        return None if detach else Echo()


async def small(call: Call) -> web.StreamResponse:
    return await answers.json_answer(call.request, {"number": call.number("n"), "flag": call.flag("f")})


async def large(call: Call) -> web.StreamResponse:
    return await answers.json_answer(call.request, ["x" * 3000])


async def nothing(call: Call) -> web.StreamResponse:
    return answers.nothing()


async def refused(call: Call) -> web.StreamResponse:
    raise EngineError(409, 'a "name" <x>')


async def body(call: Call) -> web.StreamResponse:
    return await answers.json_answer(call.request, await call.value(Kind("map[string]string", "map")))


async def bug(call: Call) -> web.StreamResponse:
    raise KeyError("x")


async def filters(call: Call) -> web.StreamResponse:
    return await answers.json_answer(call.request, call.filters())


def run(path: Path, client: Callable[[Any, Any], Coroutine[Any, Any, bytes]]) -> str:
    """Serve on a socket, let `client` talk over one connection, and return what it read."""

    async def scene() -> bytes:
        containers: Any = FakeContainers()
        server = Server(
            [
                route("GET", "/small", small),
                route("GET", "/large", large),
                route("POST", "/nothing", nothing),
                route("GET", "/refused", refused),
                route("GET", "/bug", bug),
                route("POST", "/body", body),
                route("GET", "/filters", filters),
                *hijack.routes(containers),
            ]
        )
        await server.start([unix_listener(path)])
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    return await client(reader, writer)
                finally:
                    writer.close()
        finally:
            await server.close()

    return asyncio.run(scene()).decode()


def ask(path: Path, line: str, fields: str = "", body: str = "") -> str:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"{line} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{fields}\r\n{body}".encode())
        return await reader.read()

    return re.sub(r"Date: [^\r]*", "Date: D", run(path, client))


def test_small_answer_has_go_s_header_order(tmp_path: Path) -> None:
    assert ask(tmp_path / "s", "GET /v1.40/small?n=-5&f=True") == (
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nDocker-Experimental: false\r\n"
        "Ostype: linux\r\nServer: Docker/20.10.24+sixhops (linux)\r\nDate: D\r\nContent-Length: 25\r\n"
        'Connection: close\r\n\r\n{"number":-5,"flag":true}\n'
    ).replace("Content-Length: 25", "Content-Length: 26")


def test_large_answer_is_chunked(tmp_path: Path) -> None:
    found = ask(tmp_path / "s", "GET /large")

    assert "Transfer-Encoding: chunked\r\n" in found
    assert "Content-Length" not in found


def test_no_content_has_neither_type_nor_length(tmp_path: Path) -> None:
    found = ask(tmp_path / "s", "POST /nothing")

    assert found.startswith("HTTP/1.1 204 No Content\r\n")
    assert "Content-" not in found


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("GET /v1.40/nosuch", 404, "page not found"),
        ("PUT /small", 404, "page not found"),
        ("GET /small/", 404, "page not found"),
        ("GET /v1.99/small", 400, "client version 1.99 is too new. Maximum supported API version is 1.41"),
        ("GET /refused", 409, 'a "name" <x>'),
        ("GET /bug", 500, "the engine has a bug; its log says which"),
        ("GET /small?n=x", 500, 'strconv.Atoi: parsing "x": invalid syntax'),
        (
            "GET /small?n=99999999999999999999",
            500,
            'strconv.Atoi: parsing "99999999999999999999": value out of range',
        ),
        ("GET /small?n=%zz", 400, 'invalid URL escape "%zz"'),
        ("GET /filters?filters=x", 500, "invalid character 'x' looking for beginning of value"),
        (
            "GET /filters?filters=%5B%5D",
            500,
            "json: cannot unmarshal array into Go value of type map[string]map[string]bool",
        ),
        ("POST /exec/nosuch/start", 400, "got EOF while reading request body"),
    ],
)
def test_errors_are_json(tmp_path: Path, line: str, status: int, message: str) -> None:
    head, _, body = ask(tmp_path / "s", line).partition("\r\n\r\n")

    assert (int(head.split()[1]), json.loads(body)) == (status, {"message": message})


def test_version_too_old_is_plain_text(tmp_path: Path) -> None:
    found = ask(tmp_path / "s", "GET /v1.1/small")

    assert "Content-Type: text/plain; charset=utf-8\r\n" in found
    assert "X-Content-Type-Options: nosniff\r\n" in found
    assert found.endswith(
        "Minimum supported API version is 1.12, please upgrade your client to a newer version\n"
    )


def test_unclean_path_is_redirected(tmp_path: Path) -> None:
    found = ask(tmp_path / "s", "GET //small?n=1")

    assert found.startswith("HTTP/1.1 301 Moved Permanently\r\n")
    assert "Location: /small?n=1\r\n" in found


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"),
        ("GET / HTTP/1.1\r\nHost: d\r\nX Y: 1\r\n\r\n", "400 Bad Request: invalid header name"),
        ("GET / HTTP/1.1\r\nHost: d\r\nContent-Length: x\r\n\r\n", "400 Bad Request"),
    ],
)
def test_what_is_no_http_gets_go_s_words(tmp_path: Path, text: str, answer: str) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(text.encode())
        return await reader.read()

    assert run(tmp_path / "s", client).partition("\r\n\r\n")[2] == answer


@pytest.mark.parametrize("together", [True, False])
def test_attach_takes_the_connection_over_with_bytes_that_came_early(tmp_path: Path, together: bool) -> None:
    head = "POST /v1.41/containers/c/attach?stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        if together:
            writer.write(head.encode() + b"early ")
        else:
            for byte in head.encode():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(b"early ")
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"late")
        writer.write_eof()
        return answer + await reader.read()

    assert run(tmp_path / "s", client) == (
        f"HTTP/1.1 101 UPGRADED\r\n{RAW}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nEARLY LATE<end>"
    )


def test_attach_to_nothing_is_text_on_the_connection(tmp_path: Path) -> None:
    assert ask(tmp_path / "s", "POST /containers/nosuch/attach?stream=1") == (
        f"HTTP/1.1 404 Not Found\r\n{RAW}\r\nNo such container: nosuch\r\n"
    )


def test_exec_start_sends_the_common_headers_but_no_date(tmp_path: Path) -> None:
    fields = "Content-Type: application/json\r\nContent-Length: 2\r\n"

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"POST /exec/e/start HTTP/1.1\r\nHost: d\r\n{fields}\r\n{{}}ab".encode())
        writer.write_eof()
        return await reader.read()

    assert run(tmp_path / "s", client) == (
        f"HTTP/1.1 200 OK\r\n{RAW}{COMMON}Docker-Experimental: false\r\nOstype: linux\r\n"
        "Server: Docker/20.10.24+sixhops (linux)\r\n\r\nAB<end>"
    )


def test_exec_that_fails_late_says_so_in_its_output(tmp_path: Path) -> None:
    fields = "Content-Type: application/json\r\nContent-Length: 2\r\n"

    found = ask(tmp_path / "s", "POST /exec/run/start", fields, "{}")

    assert found.startswith("HTTP/1.1 200 OK\r\n")
    assert found.endswith("\r\n\r\n\x01\0\0\0\0\0\0)Error: Exec command run has already run\r\n")


def test_requests_behind_a_declined_hijack_are_answered(tmp_path: Path) -> None:
    fields = "Host: d\r\nContent-Type: application/json\r\n"

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(f"POST /exec/no/start HTTP/1.1\r\n{fields}Content-Length: 2\r\n\r\n{{}}".encode())
        writer.write(b"GET /small HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        return await reader.read()

    found = run(tmp_path / "s", client)

    assert [line for line in found.splitlines() if line.startswith("HTTP")] == [
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 200 OK",
    ]


def exchange(path: Path, *pieces: str) -> str:
    """Send pieces, each once what came before it was answered, and return all that comes until the connection ends."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        found = b""
        for piece in pieces:
            if found:
                found += await reader.readuntil(b"\r\n\r\n")
            writer.write(piece.encode())
            found = found or b" "
        return found[1:] + await reader.read()

    return re.sub(r"Date: [^\r]*", "Date: D", run(path, client))


def test_who_waits_for_it_is_told_to_go_on_when_the_body_is_wanted(tmp_path: Path) -> None:
    head = "POST /body HTTP/1.1\r\nHost: d\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"

    found = exchange(tmp_path / "s", head, "{}")

    assert found.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        # nobody reads it, so that nobody knows what of it comes
        ("POST /nothing", "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", "204 No Content"),
        ("POST /body", "Expect: something\r\n\r\n", "417 Expectation Failed"),
        ("POST /body", "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "400 Bad Request"),
        ("POST /body", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA b\r\n\r\n", "200 OK"),
    ],
)
def test_a_connection_whose_body_is_unclear_ends(tmp_path: Path, line: str, fields: str, status: str) -> None:
    found = exchange(tmp_path / "s", f"{line} HTTP/1.1\r\nHost: d\r\n{fields}")

    assert found.startswith(f"HTTP/1.1 {status}\r\n")
    assert "\r\nConnection: close\r\n" in found


def test_a_length_beyond_64_bits_is_none(tmp_path: Path) -> None:
    found = exchange(tmp_path / "s", f"POST /body HTTP/1.1\r\nHost: d\r\nContent-Length: {2**63}\r\n\r\n")

    assert found.startswith("HTTP/1.1 400 Bad Request\r\n")


def test_a_long_error_is_chunked(tmp_path: Path) -> None:
    found = ask(tmp_path / "s", "GET /filters?filters=" + "x" * 3000)

    assert found.startswith("HTTP/1.1 500 ")


def test_filters_without_a_value_are_none(tmp_path: Path) -> None:
    found = ask(tmp_path / "s", "GET /filters?filters=%7B%22name%22:%5B%22a%22%5D,%22id%22:null%7D")

    assert found.endswith('{"name":["a"],"id":[]}\n')
