"""Answers as Go's HTTP server sends them: which headers, in which order, and when a body has a length.

Facts (dockerd 20.10): the handler's headers in alphabetical order, then Date, then Content-Length or
Transfer-Encoding; a body below 2048 bytes has a length, a longer one is chunked; 204 and 304 have neither body nor length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDict

from sixhops.dockerd.api.connection import Connection
from sixhops.dockerd.api.gojson import encode
from sixhops.dockerd.version import API_VERSION, SERVER

if TYPE_CHECKING:
    from sixhops.dockerd.errors import EngineError

__all__ = [
    "BUFFER",
    "COMMON",
    "arrange",
    "bare",
    "failure",
    "guessed",
    "json_answer",
    "nothing",
    "plain",
    "stream",
]

#: What Go's server buffers before it gives up on a Content-Length.
BUFFER = 2048
_JSON = "application/json"
#: Marks a type that Go's server guesses from the body, and therefore writes last.
_GUESSED = "sixhops-guessed"
_TYPELESS = "sixhops-typeless"
#: Marks an answer that comes before any handler, so without the engine's own headers.
_BARE = "sixhops-bare"
COMMON = {
    "Api-Version": API_VERSION,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": SERVER,
}
_LAST = ("Date", "Content-Length", "Connection", "Transfer-Encoding")


async def arrange(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put a response's headers into Go's order; connect to the application's `on_response_prepare`."""
    headers = CIMultiDict(response.headers)
    if headers.pop(_TYPELESS, None) is not None or response.status in {204, 304}:
        headers.popall(hdrs.CONTENT_TYPE, None)
    if headers.pop(_BARE, None) is None:
        headers.update(COMMON)
        if isinstance(request.protocol, Connection):
            headers.update(request.protocol.common)
    else:
        headers.popall(hdrs.SERVER, None)
    if request.method == hdrs.METH_HEAD and hdrs.CONTENT_LENGTH not in headers:
        # a body that is not sent has a length all the same
        headers[hdrs.CONTENT_LENGTH] = str(_size(response))
    guessed = headers.pop(_GUESSED, None) is not None
    last = [(name, headers.pop(name)) for name in _LAST if name in headers]
    response.headers.clear()
    response.headers.extend(sorted(headers.items()))
    response.headers.extend(last)
    if guessed and request.method != hdrs.METH_HEAD:
        for name in (hdrs.CONTENT_TYPE, hdrs.CONNECTION):
            if name in response.headers:
                response.headers[name] = response.headers.pop(name)


async def json_answer(request: web.BaseRequest, value: Any, status: int = 200) -> web.StreamResponse:
    """Return (and for a long one: send) a JSON answer."""
    data = encode(value, html=False)
    if len(data) <= BUFFER:
        return web.Response(status=status, body=data, headers={hdrs.CONTENT_TYPE: _JSON})
    response = await stream(request, _JSON, status=status)
    await response.write(data)
    return response


def failure(error: EngineError) -> web.Response:
    """Return the answer to a request that failed."""
    if error.status in {204, 304}:
        return nothing(error.status)
    body = encode({"message": error.message}, html=False)
    return web.Response(status=error.status, body=body, headers={hdrs.CONTENT_TYPE: _JSON})


def nothing(status: int = 204) -> web.Response:
    """Return an answer without a body; with a length of 0 unless the status has none."""
    return web.Response(status=status, headers={_TYPELESS: "1"})


def bare(response: web.Response) -> web.Response:
    """Return an answer as one that no handler of the engine has made: it does not say which engine this is."""
    response.headers[_BARE] = "1"
    return response


def plain(text: str, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Return text."""
    fields = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8"} | (headers or {})
    return web.Response(status=status, body=text.encode(), headers=fields)


def guessed(text: str, headers: dict[str, str]) -> web.Response:
    """Return text whose type nobody has set."""
    return plain(text, 200, headers | {_GUESSED: "1"})


async def stream(
    request: web.BaseRequest,
    content_type: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> web.StreamResponse:
    """Send the head of a chunked answer at once; `content_type` "" for none, `headers` are more of them."""
    fields = {hdrs.CONTENT_TYPE: content_type} if content_type else {_TYPELESS: "1"}
    response = web.StreamResponse(status=status, headers=fields | (headers or {}))
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    else:
        response.force_close()
    if isinstance(request.protocol, Connection):
        request.protocol.answer_has_begun = True
    await response.prepare(request)
    return response


def _size(response: web.StreamResponse) -> int:
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, (bytes, bytearray)) else 0
