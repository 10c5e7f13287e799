"""The reader of requests: heads and bodies whole, byte by byte, with bytes left over; and what real dockerd refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sixhops.dockerd.api.requests import BadRequestError, Body, BodyError, RequestReader


class FakeProtocol:
    """What a body tells of its fill."""

    def pause_reading(self) -> None:
        pass

    def resume_reading(self, resume_parser: bool = True) -> None:
        pass


HEAD = b"POST /a?b=c HTTP/1.1\r\nHost: d\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = HEAD + b"Content-Length: 5\r\n\r\n"


def pieces(data: bytes, whole: bool) -> list[bytes]:
    return [data] if whole else [data[at : at + 1] for at in range(len(data))]


def read(data: bytes, *, whole: bool = True, eof: bool = False) -> tuple[Any, bytes, str, bytes]:
    """Return the first message, its body, what the body failed with, and what is left behind it."""

    async def scene() -> tuple[Any, bytes, str, bytes]:
        protocol: Any = FakeProtocol()
        reader = RequestReader(protocol, asyncio.get_running_loop())
        found: list[tuple[Any, Body]] = []
        for piece in pieces(data, whole):
            found += reader.feed_data(piece)[0]
        if eof:
            reader.feed_eof()
        assert len(found) == 1
        message, body = found[0]
        failed = ""
        content = b""
        try:
            async with asyncio.timeout(20):
                while piece := await body.readany():
                    content += piece
        except BodyError as error:
            failed = str(error)
        return message, content, failed, reader.take_rest()

    return asyncio.run(scene())


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("left", [b"", b"GET / HTTP/1.1\r\n"])
@pytest.mark.parametrize(
    ("data", "content"),
    [
        (HEAD + b"\r\n", b""),
        (HEAD.replace(b"\r\n", b"\n") + b"\n", b""),
        (LENGTH + b"hello", b"hello"),
        (CHUNKED + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"0005\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", b"hello"),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ],
)
def test_request_with_what_comes_behind_it(data: bytes, content: bytes, left: bytes, whole: bool) -> None:
    message, body, failed, rest = read(data + left, whole=whole)

    assert (message.method, message.path, body, failed, rest) == ("POST", "/a?b=c", content, "", left)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("body", "content", "failed"),
    [
        (b"zz\r\n", b"", "invalid byte in chunk length"),
        (b"\r\n", b"", "empty hex number for chunk length"),
        (b"1" * 20 + b"\r\n", b"", "http chunk length too large"),
        (b"1" * 5000, b"", "header line too long"),
        (b"1\r\nab\r\n", b"a", "malformed chunked encoding"),
    ],
)
def test_broken_chunks_fail_where_they_are_read(
    body: bytes, content: bytes, failed: str, whole: bool
) -> None:
    assert read(CHUNKED + body, whole=whole)[1:3] == (content, failed)


@pytest.mark.parametrize("data", [CHUNKED + b"5\r\nhe", LENGTH + b"he"])
def test_body_that_ends_early(data: bytes) -> None:
    assert read(data, eof=True)[1:3] == (b"he", "unexpected EOF")


# each of these was sent to dockerd 20.10.24; reason phrase and body of its answer are the same text
@pytest.mark.parametrize(
    ("head", "status", "text"),
    [
        (
            b"GET /_ping HTTP/2.0\r\nHost: d\r\n",
            505,
            "HTTP Version Not Supported: unsupported protocol version",
        ),
        (b"GET /_ping HTTP/1.1x\r\nHost: d\r\n", 400, "Bad Request"),
        (b"\r\nGET /_ping HTTP/1.1\r\nHost: d\r\n", 400, "Bad Request"),
        (b"GET /_ping\r\nHost: d\r\n", 400, "Bad Request"),
        (b"GE(T /_ping HTTP/1.1\r\nHost: d\r\n", 400, "Bad Request"),
        (b"GET _ping HTTP/1.1\r\nHost: d\r\n", 400, "Bad Request"),
        (b"GET /_p\x01ing HTTP/1.1\r\nHost: d\r\n", 400, "Bad Request"),
        (b"GET /_ping?a b HTTP/1.1\r\nHost: d\r\n", 400, "Bad Request"),
        (b"GET /_ping HTTP/1.1\r\n", 400, "Bad Request: missing required Host header"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nHost: e\r\n", 400, "Bad Request"),
        (b"GET /_ping HTTP/1.1\r\nHost: d e\r\n", 400, "Bad Request: malformed Host header"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nfoo\r\n", 400, "Bad Request"),
        (b"GET /_ping HTTP/1.1\r\n Host: d\r\n", 400, "Bad Request"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nX : y\r\n", 400, "Bad Request: invalid header name"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nX: a\x01b\r\n", 400, "Bad Request: invalid header value"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n", 400, "Bad Request"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: +1\r\n", 400, "Bad Request"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400, "Bad Request"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: gzip\r\n", 501, "Not Implemented"),
    ],
)
def test_what_is_no_request_is_refused(head: bytes, status: int, text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read(head + b"\r\n")

    assert (caught.value.code, caught.value.text) == (status, text)


@pytest.mark.parametrize(
    ("head", "path"),
    [
        (b"GET /_ping HTTP/1.7\r\nHost: d\r\n", "/_ping"),
        (b"GET /_ping HTTP/1.0\r\n", "/_ping"),
        (b"GET /_ping HTTP/1.1\r\nHost:\r\n", "/_ping"),
        (b"GET /_ping HTTP/1.1\r\nHost: d\r\n: x\r\n", "/_ping"),
        (b"GET http://x/_ping?a HTTP/1.1\r\nHost: d\r\n", "/_ping?a"),
        (b"GET http://x HTTP/1.1\r\nHost: d\r\n", "/"),
        (b"get /_ping HTTP/1.1\r\nHost: d\r\nX: a\r\n b\r\n", "/_ping"),
    ],
)
def test_what_is_odd_and_yet_a_request(head: bytes, path: str) -> None:
    assert read(head + b"\r\n")[0].path == path


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["no end yet", "all at once"])
def test_head_beyond_a_megabyte_is_too_large(end: bytes) -> None:
    with pytest.raises(BadRequestError, match="Request Header Fields Too Large"):
        read(b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"a" * (1 << 21) + end)


def test_next_request_waits_until_the_present_one_is_finished() -> None:
    async def scene() -> list[str]:
        protocol: Any = FakeProtocol()
        reader = RequestReader(protocol, asyncio.get_running_loop())
        first, _, _ = reader.feed_data(HEAD + b"\r\n" + HEAD.replace(b"/a", b"/second") + b"\r\n")
        reader.finished()
        second, _, _ = reader.feed_data(b"")
        return [message.path for message, _ in first + second]

    assert asyncio.run(scene()) == ["/a?b=c", "/second?b=c"]
