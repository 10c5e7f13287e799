"""The API's front: versions in paths, routes, errors, and the listeners.

A handler gets a `Call` and returns an answer, or raises EngineError. It is not disturbed when its client goes away, as the
engine finishes what was asked for; handlers of streams are, and say so with `streams=True`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import posixpath
import re
import socket
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from sixhops.dockerd.api import answers, gojson
from sixhops.dockerd.api.connection import Connection, Taken, refuse
from sixhops.dockerd.api.gojson import Kind
from sixhops.dockerd.api.requests import Body, BodyError
from sixhops.dockerd.api.tls import TlsProtocol
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.version import API_VERSION, MINIMUM_API_VERSION

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from sixhops.dockerd.api.gojson import Struct

    Handler = Callable[["Call"], Awaitable[web.StreamResponse]]

__all__ = ["Call", "Route", "Server", "parse_bool", "route", "unix_listener"]

_log = logging.getLogger(__name__)

_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)", re.DOTALL)
_PARAMETER = re.compile(r"\{(\w+)(:\.\*)?\}")
#: JSON bodies above this are refused; archives are streams and not concerned.
_LONGEST_BODY = 64 << 20
_FILTERS = Kind("map[string]map[string]bool", "map", Kind("map[string]bool", "map", Kind("bool", "bool")))
#: Keys of filters whose values are looked for as whole words, and so with the `true` or `false` beside them.
_WORDS = frozenset({"dangling", "driver", "enabled", "health", "is-task", "scope"})
_FALSE = frozenset({"", "0", "no", "false", "none"})
_BACKLOG = 128
_LOOKED_AT = 10
#: What Go's strconv.ParseBool takes.
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
#: Paths whose handlers never parse the query, so that it may be broken.
_FORMLESS = re.compile(
    r"/(?:_ping|version|info|system/df|auth|session|grpc|build/cancel|swarm(?:/(?:init|join|update|unlock|unlockkey))?"
    r"|(?:nodes|services|secrets|configs)/(?:create|[^/]+/update)|(?:services|tasks|secrets|configs)/[^/]+"
    r"|plugins/.*/(?:json|set)|exec/[^/]+/(?:json|start)|containers/.+/(?:changes|export|json)|images/.*/(?:json|history))"
)
_JSON_ERRORS_SINCE = "1.24"
_CORS = {
    "Access-Control-Allow-Headers": "Origin, X-Requested-With, Content-Type, Accept, X-Registry-Auth",
    "Access-Control-Allow-Methods": "HEAD, GET, POST, DELETE, PUT, OPTIONS",
}
_BROKEN_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
_INT64 = range(-(2**63), 2**63)
#: How long streams may take to end when the engine does, in seconds.
_LAST_WORDS = 0.2


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: `pattern` matches the path without its version."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    streams: bool = False
    hijacks: bool = False


def route(method: str, path: str, handler: Handler, *, streams: bool = False, hijacks: bool = False) -> Route:
    """Return a route for a path such as `/containers/{name}/start`; `{name:.*}` also matches slashes.

    `streams`: the answer goes on until the client goes. `hijacks`: the handler may take the connection over.
    """
    pattern, end = "", 0
    for found in _PARAMETER.finditer(path):
        pattern += re.escape(path[end : found.start()])
        pattern += f"(?P<{found[1]}>{'.*' if found[2] else '[^/]+'})"
        end = found.end()
    return Route(method, re.compile(pattern + re.escape(path[end:]), re.DOTALL), handler, streams, hijacks)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as handlers see it: parameters of the path, the query, the body."""

    request: web.BaseRequest
    parameters: dict[str, str]
    query: dict[str, list[str]] = field(default_factory=dict)
    version: str = API_VERSION

    def __getitem__(self, name: str) -> str:
        """Return a parameter of the path."""
        return self.parameters[name]

    def is_older_than(self, version: str) -> bool:
        """Return whether the client speaks an older version of the API than this one."""
        return _compare(self.version, version) < 0

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a query parameter as Docker reads booleans: anything but a few words of denial is true."""
        if name not in self.query:
            return default
        return self.text(name).strip().lower() not in _FALSE

    def number(self, name: str, *, status: int = 500) -> int | None:
        """Return a whole number, None when it is not there or empty. EngineError with `status` for another text."""
        text = self.text(name)
        if not text:
            return None
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise EngineError(status, f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
        if int(text) not in _INT64:
            raise EngineError(status, f"strconv.Atoi: parsing {quote(text)}: value out of range")
        return int(text)

    def filters(self, *, prefix: str = "", status: int = 500) -> dict[str, list[str]]:
        """Return the `filters` parameter, in its present or its old form. EngineError with `status` for nonsense."""
        text = self.text("filters")
        if not text:
            return {}
        try:
            value = gojson.decode_whole(text.encode())
            # {"label": {"a=b": true}} is how clients since API 1.22 write it, {"label": ["a=b"]} how they did before
            if not _is_old_filters(value):
                gojson.check(value, _FILTERS)
        except gojson.GoJsonError as error:
            raise EngineError(status, f"{prefix}{error}") from error
        found: dict[str, list[str]] = {}
        for key, members in (value or {}).items():
            if isinstance(members, dict):
                found[key] = [
                    item if wanted or key not in _WORDS else _Denied(item) for item, wanted in members.items()
                ]
            else:
                found[key] = [item or "" for item in members or ()]
        return found

    async def raw_body(self) -> bytes:
        """Return the whole body. EngineError when it is longer than any document should be."""
        data = bytearray()
        try:
            async for piece in self._body():
                data += piece
                if len(data) > _LONGEST_BODY:
                    raise system("http: request body too large")
        except BodyError as error:
            raise system(str(error)) from error
        return bytes(data)

    async def archive(self) -> AsyncIterator[bytes]:
        """Give the body's bytes piece by piece. Raises EngineError 500 where it breaks off, in the words for a tar."""
        size = 0
        try:
            async for piece in self._body():
                size += len(piece)
                yield piece
        except BodyError as error:
            # the first bytes are looked at for a compression, and nobody has begun to unpack by then
            text = str(error) if size < _LOOKED_AT else f"Error processing tar file({error}): "
            raise system(text) from error

    async def _body(self) -> AsyncIterator[bytes]:
        """Give the body's bytes, telling a client that waits for it to go on (RFC 9110, 10.1.1). Raises BodyError."""
        if isinstance(self.request.protocol, Connection):
            self.request.protocol.let_go_on()
        async for piece in self.request.content.iter_any():
            yield piece

    def require_json(self) -> None:
        """Raise EngineError 400 when there is a body that does not say that it is JSON."""
        kind = self.request.headers.get("Content-Type", "")
        if not kind and not self.request.can_read_body:
            return
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise invalid(f"Content-Type specified ({kind}) must be 'application/json'")

    async def json(self, kind: Struct, *, status: int = 400, empty: str | None = None) -> dict[str, Any]:
        """Return the body as an object of a type; {} for null. EngineError with `status` for anything else.

        `empty` is the message for no body at all, when it is not just "EOF".
        """
        value = await self.value(kind, status=status, empty=empty)
        return value if isinstance(value, dict) else {}

    async def value(self, kind: Kind | Struct, *, status: int = 400, empty: str | None = None) -> Any:
        """Return the body as a value of a type. Errors as for `json`."""
        try:
            return gojson.check(await self._first_value(), kind)
        except (gojson.GoJsonError, BodyError) as error:
            text = str(error)
            raise EngineError(status, empty if empty is not None and text == "EOF" else text) from error

    async def _first_value(self) -> Any:
        """Return the body's first JSON value, without waiting for what may follow it."""
        data = bytearray()
        enough = 0
        async for piece in self._body():
            data += piece
            if len(data) > _LONGEST_BODY:
                raise system("http: request body too large")
            if len(data) >= enough:
                # tried again once there is twice as much, so that a long body is not read over and over
                enough = 2 * len(data)
                with contextlib.suppress(gojson.IncompleteError):
                    return gojson.decode(bytes(data))
        return gojson.decode(bytes(data))


class _Denied(str):
    """A word beside which a filter has `false`: there as a value, but no word that is looked for is equal to it."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        """It is not."""
        return False

    def __hash__(self) -> int:
        """Return anything: no set finds it."""
        return super().__hash__()


def parse_bool(text: str) -> bool | None:
    """Return what Go's strconv.ParseBool makes of a text, None when it refuses it."""
    return _BOOLS.get(text)


class Server:
    """The API of one engine on any number of listeners."""

    def __init__(self, routes: Sequence[Route], cors: str = "", *, experimental: bool = False) -> None:
        """`cors` is the origin that may use the API from a browser (--api-cors-header), "" for none.

        `experimental` is said in a header of every answer.
        """
        self._routes = list(routes)
        self._common = _CORS | {"Access-Control-Allow-Origin": cors} if cors else {}
        if experimental:
            self._common = self._common | {"Docker-Experimental": "true"}
        self._runner: web.AppRunner | None = None
        self._listeners: list[asyncio.Server] = []
        self._operations: set[asyncio.Future[Any]] = set()

    async def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Serve on sockets that are bound already; with `tls` that is spoken on all but unix sockets."""
        application = web.Application(client_max_size=0)
        application.on_response_prepare.append(cast("Any", answers.arrange))
        application.router.add_route("*", "/{path:.*}", self._answer, expect_handler=_expect)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=_LAST_WORDS)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        manager = server

        def connect() -> Connection:
            return Connection(
                manager,
                loop=loop,
                common=self._common,
                access_log=None,
            )

        for listener in sockets:
            if listener.family == socket.AF_UNIX:
                self._listeners.append(
                    await loop.create_unix_server(connect, sock=listener, backlog=_BACKLOG)
                )
            else:
                factory = connect if tls is None else (lambda context=tls: TlsProtocol(connect(), context))
                self._listeners.append(await loop.create_server(factory, sock=listener, backlog=_BACKLOG))

    def stop_listening(self) -> None:
        """Accept no more connections; those that stand go on."""
        for listener in self._listeners:
            listener.close()

    async def close(self, patience: float = 2.0) -> None:
        """End all connections; wait up to `patience` seconds for operations under way."""
        self.stop_listening()
        if self._operations:
            await asyncio.wait(self._operations, timeout=patience)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, Connection):
            connection.answer_has_begun = False
        try:
            response = await self._route(request)
        except EngineError as error:
            response = _failed(request, error)
        except BodyError as error:
            response = _failed(request, system(str(error)))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the trace
            _log.exception("%s %s", request.method, request.raw_path)
            response = _failed(request, system("the engine has a bug; its log says which"))
        if isinstance(connection, Connection):
            if connection.is_waited_for or (
                isinstance(request.content, Body)
                and request.content.failure is not None
                and not connection.has_half_closed
            ):
                # what may still come of the body is no request
                response.force_close()
                connection.wait_for_no_body()
            connection.decline()
        return response

    async def _route(self, request: web.Request) -> web.StreamResponse:
        raw, _, query = request.raw_path.partition("?")
        if _BROKEN_ESCAPE.search(raw):
            return refuse(request.protocol, 400, "Bad Request", "400 Bad Request")
        path = urllib.parse.unquote(raw)
        clean = posixpath.normpath(path) if path != "/" else "/"
        if path.endswith("/") and clean != "/":
            clean += "/"
        if clean.replace("//", "/") != path:
            location = urllib.parse.quote(clean.replace("//", "/")) + (f"?{query}" if query else "")
            response = answers.bare(answers.nothing(301))
            response.headers["Location"] = location
            return response
        if request.method == "OPTIONS":
            return answers.nothing(200)
        version = API_VERSION
        versioned = _VERSIONED.fullmatch(path)
        if versioned is not None:
            version, path = versioned[1], versioned[2]
        for candidate in self._routes:
            if candidate.method != request.method:
                continue
            found = candidate.pattern.fullmatch(path)
            if found is None:
                continue
            if versioned is not None:
                refusal = _refuse(version)
                if refusal is not None:
                    return refusal
            if query and _FORMLESS.fullmatch(path) is None:
                _check_query(query)
            call = Call(
                request,
                found.groupdict(),
                urllib.parse.parse_qs(query, keep_blank_values=True),
                version,
            )
            return await self._run(candidate, call)
        # no route, so no version either: the answer is JSON whatever stands before the path
        return answers.bare(answers.failure(EngineError(404, "page not found")))

    async def _run(self, found: Route, call: Call) -> web.StreamResponse:
        if found.streams and isinstance(call.request.protocol, Connection):
            call.request.protocol.begin_stream()
        if found.streams or found.hijacks:
            return await found.handler(call)
        operation = asyncio.ensure_future(found.handler(call))
        self._operations.add(operation)
        operation.add_done_callback(self._done)
        return await asyncio.shield(operation)

    def _done(self, operation: asyncio.Future[Any]) -> None:
        self._operations.discard(operation)
        if not operation.cancelled():
            # an error that nobody waits for any more (the client has gone) was the client's to hear
            operation.exception()


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Note that a client waits until its body is wanted; refuse any other expectation."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        response = answers.bare(answers.nothing(417))
        response.force_close()
        return response
    if request.version >= (1, 1):
        assert isinstance(request.protocol, Connection)
        request.protocol.is_waited_for = True
    return None


def _check_query(query: str) -> None:
    for pair in query.split("&"):
        if ";" in pair:
            raise invalid("invalid semicolon separator in query")
        broken = _BROKEN_ESCAPE.search(pair)
        if broken is not None:
            raise invalid(f"invalid URL escape {quote(broken[0])}")


def _is_old_filters(value: object) -> bool:
    return isinstance(value, dict) and all(
        member is None
        or (isinstance(member, list) and all(item is None or isinstance(item, str) for item in member))
        for member in value.values()
    )


def _failed(request: web.BaseRequest, error: EngineError) -> web.StreamResponse:
    if not isinstance(request.protocol, Connection) or not request.protocol.answer_has_begun:
        versioned = _VERSIONED.match(request.raw_path)
        if versioned is not None and _compare(versioned[1], _JSON_ERRORS_SINCE) < 0:
            return answers.plain(f"{error.message}\n", error.status, {"X-Content-Type-Options": "nosniff"})
        answer = answers.failure(error)
        if request.version >= (1, 1) and len(cast("bytes", answer.body or b"")) > answers.BUFFER:
            answer.enable_chunked_encoding()
        return answer
    # what has begun can't become an error any more: the client sees a stream that breaks off
    _log.warning("%s %s: %s", request.method, request.raw_path, error.message)
    if request.transport is not None:
        request.transport.close()
    return Taken()


def _refuse(version: str) -> web.Response | None:
    if _compare(version, API_VERSION) > 0:
        raise invalid(f"client version {version} is too new. Maximum supported API version is {API_VERSION}")
    if _compare(version, MINIMUM_API_VERSION) < 0:
        return answers.plain(
            f"client version {version} is too old. Minimum supported API version is {MINIMUM_API_VERSION}, "
            "please upgrade your client to a newer version\n",
            400,
            {"X-Content-Type-Options": "nosniff"},
        )
    return None


def _compare(one: str, other: str) -> int:
    """Compare versions part by part; a missing part counts as zero, as an unreadable one does."""
    parts = [[int(part) if part.isdigit() else 0 for part in text.split(".")] for text in (one, other)]
    length = max(map(len, parts))
    left, right = ([*numbers, *[0] * (length - len(numbers))] for numbers in parts)
    return (left > right) - (left < right)


def unix_listener(path: Path, mode: int = 0o660) -> socket.socket:
    """Bind a unix socket, taking the place of one that nobody serves any more. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(mode)
    return listener
