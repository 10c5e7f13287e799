"""The Engine API client: addresses, version negotiation, requests, streams of answers, hijacked connections.

One idle connection is kept and used again, as docker's client does, so a plain command needs one connection and an
attached `run` three. The first request of a command is preceded by HEAD /_ping, which tells the API version to speak.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from sixhops.docker import streams
from sixhops.docker.errors import ApiError, ConnectError, DockerError, NotFoundError
from sixhops.docker.http import Answer, ProtocolError, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sixhops.docker.config import Settings
    from sixhops.docker.streams import Stream

__all__ = ["API_VERSION", "VERSION", "Client", "Hijacked", "Pending", "Reply"]

#: The engine API that this client knows, and the release of Docker whose client it behaves as.
API_VERSION = "1.41"
VERSION = "20.10.24+sixhops"
_AGENT = f"Docker-Client/{VERSION} (linux)"
#: An engine that does not say its version is as old as this one (the last before the header).
_ASSUMED = "1.24"


class Reply:
    """An answer that is being received. `body` reads the rest at once, `pieces` as it comes."""

    def __init__(self, client: Client, stream: Stream, answer: Answer, first: bytes) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._client = client
        self._stream = stream
        self._answer = answer
        self._first = first
        if answer.done:
            self._release()

    def fileno(self) -> int:
        """Return the descriptor to wait on before `receive`."""
        return self._stream.fileno()

    @property
    def done(self) -> bool:
        """Tell whether the whole answer is here."""
        return self._answer.done and not self._first

    @property
    def buffered(self) -> bool:
        """Tell whether `receive` has something without waiting."""
        return bool(self._first) or self._stream.buffered

    def receive(self) -> bytes:
        """Return the next part of the body, b"" when this read completed none (see `done`)."""
        if self._first:
            data, self._first = self._first, b""
            return data
        if self._answer.done:
            return b""
        try:
            data = self._answer.feed(self._stream.receive())
        except (ProtocolError, OSError) as error:
            self._stream.close()
            raise DockerError(str(error)) from error
        if self._answer.done:
            self._release()
        return data

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        while not self.done:
            data = self.receive()
            if data:
                yield data

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """Return the body as a JSON value. Raises DockerError when it is none."""
        text = self.body()
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise DockerError(f"the engine's answer is not JSON: {error}") from error

    def close(self) -> None:
        """Drop the connection unless the answer was read to its end."""
        if not self._answer.done:
            self._stream.close()

    def _release(self) -> None:
        if self._answer.keep_alive:
            self._client.give_back(self._stream)
        else:
            self._stream.close()


class Pending:
    """A request whose answer has not begun; `advance` when there is something to read, `finish` when `ready`."""

    def __init__(self, client: Client, stream: Stream, path: str) -> None:
        self.ready = False
        self._client = client
        self._stream = stream
        self._path = path
        self._answer = Answer("POST")
        self._first = b""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._stream.fileno()

    @property
    def buffered(self) -> bool:
        """Tell whether `advance` has something without waiting."""
        return self._stream.buffered

    def advance(self) -> bool:
        """Read once; tell whether the answer's head is here. Raises ConnectError when the connection fails."""
        try:
            self._first = self._answer.feed(self._stream.receive())
        except (ProtocolError, OSError) as error:
            self._stream.close()
            raise ConnectError(f"error during connect: {error}") from error
        self.ready = bool(self._answer.status)
        return self.ready

    def finish(self) -> Reply:
        """Return the answer. Raises ApiError for a status of 400 and above."""
        reply = Reply(self._client, self._stream, self._answer, self._first)
        if reply.status >= 400:
            raise _refused(reply, self._path)
        return reply


class Hijacked:
    """A connection that left HTTP: raw bytes both ways. `early` came together with the answer's head."""

    def __init__(self, stream: Stream, early: bytes, headers: dict[str, str]) -> None:
        self.headers = headers
        self._stream = stream
        self._early = early

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._stream.fileno()

    @property
    def buffered(self) -> bool:
        """Tell whether `receive` has something without waiting."""
        return bool(self._early) or self._stream.buffered

    def receive(self) -> bytes:
        """Return what is there, waiting for the first byte; b"" at the end (a reset counts as one)."""
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            return self._stream.receive()
        except ConnectionResetError:
            return b""

    def offer(self, data: bytes) -> None:
        """Queue input for `push`."""
        self._stream.offer(data)

    def push(self) -> bool:
        """Send queued input without blocking; tell whether all is sent. Raises OSError when the other side has gone."""
        return self._stream.push()

    def close_write(self) -> None:
        """Half-close: our input is over, the output goes on."""
        self._stream.close_write()

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()


class Client:
    """One engine. `version` is the API version to speak, without the `v`; `server_os` what the ping said."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.version = os.environ.get("DOCKER_API_VERSION", "").removeprefix("v") or API_VERSION
        self.server_os = ""
        self._negotiated = False
        self._idle: Stream | None = None
        self._scheme, _, self._address = settings.host.partition("://")

    @property
    def host(self) -> str:
        """Return the engine's address as messages name it."""
        return self.settings.host

    def negotiate(self) -> None:
        """Ask the engine for its API version, once, and speak the older of both. An engine that is not there is
        found by the next request.
        """
        if self._negotiated:
            return
        self._negotiated = True
        try:
            reply = self._send("HEAD", "/_ping", {}, None)
            if reply.status not in (200, 500):
                reply.close()
                reply = self._send("GET", "/_ping", {}, None)
                reply.body()
        except DockerError:
            return
        self.server_os = reply.headers.get("ostype", "")
        offered = reply.headers.get("api-version", _ASSUMED)
        if not os.environ.get("DOCKER_API_VERSION") and _number(offered) < _number(self.version):
            self.version = offered

    def skip_negotiation(self) -> None:
        """Speak `version` as it is: another client has asked this engine already."""
        self._negotiated = True

    def at_least(self, version: str) -> bool:
        """Tell whether the API version in use is `version` or newer."""
        self.negotiate()
        return _number(self.version) >= _number(version)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        missing: tuple[str, str] | None = None,
    ) -> Reply:
        """Send a request and return the answer once its head is here.

        `document` is sent as JSON. `missing` is the kind and name of what a 404 says is not there: docker's client
        words that itself for some requests. Raises ApiError for a status of 400 and above, ConnectError when there
        is no engine.
        """
        self.negotiate()
        sent = dict(headers or {})
        body: bytes | None = b"" if method in ("POST", "PUT") else None
        if document is not None:
            body = _encode(document)
            sent["Content-Type"] = "application/json"
        elif body is not None:
            sent["Content-Type"] = "text/plain"
        reply = self._send(method, self._target(path, query), sent, body)
        if reply.status == 404 and missing is not None:
            reply.body()
            raise NotFoundError(*missing)
        if reply.status >= 400:
            raise _refused(reply, path)
        return reply

    def begin(self, method: str, path: str, query: Mapping[str, str] | None = None) -> Pending:
        """Send a request without a body on a connection of its own and do not wait for the answer."""
        self.negotiate()
        stream = self._connect()
        headers = {**self._headers(), "Content-Type": "text/plain"}
        stream.send(request(method, self._target(path, query), headers, b""))
        return Pending(self, stream, path)

    def json(
        self, method: str, path: str, query: Mapping[str, str] | None = None, document: Any = None
    ) -> Any:
        """Send a request and return the answer's JSON value. Raises as `call`."""
        return self.call(method, path, query, document).json()

    def look(self, kind: str, name: str, query: Mapping[str, str] | None = None) -> Any:
        """Return what the engine knows of a container or an image. Raises NotFoundError, and as `call`."""
        path = f"/{kind}s/{quote(name, safe='/:@')}/json"
        return self.call("GET", path, query, missing=(kind, name)).json()

    def hijack(self, path: str, query: Mapping[str, str] | None = None, document: Any = None) -> Hijacked:
        """POST and take the connection over. Raises as `call`, also for an engine that does not upgrade."""
        self.negotiate()
        stream = self._connect()
        body = b"" if document is None else _encode(document)
        kind = "text/plain" if document is None else "application/json"
        headers = {**self._headers(), "Content-Type": kind, "Connection": "Upgrade", "Upgrade": "tcp"}
        answer = Answer("POST")
        try:
            stream.send(request("POST", self._target(path, query), headers, body))
            first = b""
            while not answer.status:
                first = answer.feed(stream.receive())
        except (ProtocolError, OSError) as error:
            stream.close()
            raise ConnectError(f"error during connect: {error}") from error
        if answer.status >= 400:
            raise _refused(Reply(self, stream, answer, first), path)
        # 200 is an engine, or something between, that does not say 101 but hands the connection over just so
        return Hijacked(stream, answer.rest + first, answer.headers)

    def give_back(self, stream: Stream) -> None:
        """Keep a connection for the next request; one is kept."""
        if self._idle is None:
            self._idle = stream
        else:
            stream.close()

    def close(self) -> None:
        """Close the idle connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _target(self, path: str, query: Mapping[str, str] | None) -> str:
        text = urlencode(sorted((query or {}).items()))
        return f"/v{self.version}{path}{'?' + text if text else ''}"

    def _headers(self) -> dict[str, str]:
        host = "docker" if self._scheme in ("unix", "npipe") else self._address
        return {**self.settings.headers, "Host": host, "User-Agent": _AGENT}

    def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        data = request(method, target, {**self._headers(), **headers}, body)
        stream, self._idle = self._idle, None
        used_before = stream is not None
        while True:
            stream = stream or self._connect()
            answer = Answer(method)
            first = b""
            try:
                stream.send(data)
                while not answer.status:
                    first = answer.feed(stream.receive())
            except (ProtocolError, OSError) as error:
                stream.close()
                if used_before and not answer.status:
                    # the engine closed the idle connection meanwhile; a new one decides
                    stream, used_before = None, False
                    continue
                raise ConnectError(
                    f'error during connect: {_verb(method)} "{self._url(target)}": {error}'
                ) from error
            return Reply(self, stream, answer, first)

    def _url(self, target: str) -> str:
        scheme = "https" if self.settings.tls else "http"
        place = quote(self._address, safe="") if self._scheme == "unix" else self._address
        return f"{scheme}://{place}{target}"

    def _connect(self) -> Stream:
        try:
            context = streams.tls_context(self.settings)
        except OSError as error:
            raise DockerError(
                f"unable to resolve docker endpoint: can't use the TLS files: {error}"
            ) from error
        try:
            if self._scheme == "unix":
                return streams.connect_unix(self._address)
            host, port = _host_and_port(self._address, self.settings.tls is not None)
            return streams.connect_tcp(host, port, context)
        except PermissionError as error:
            raise ConnectError(
                "Got permission denied while trying to connect to the Docker daemon socket at "
                f"{self.host}: {self._why(error)}"
            ) from error
        except OSError as error:
            if isinstance(error, FileNotFoundError | ConnectionRefusedError | TimeoutError):
                raise ConnectError(
                    f"Cannot connect to the Docker daemon at {self.host}. Is the docker daemon running?"
                ) from error
            raise ConnectError(f"error during connect: {self._why(error)}") from error

    def _why(self, error: OSError) -> str:
        return f"dial {self._scheme} {self._address}: {error.strerror or error}"


def _encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _verb(method: str) -> str:
    return method.capitalize()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _host_and_port(address: str, tls: bool) -> tuple[str, int]:
    host, colon, port = address.split("/", maxsplit=1)[0].rpartition(":")
    if not colon:
        host, port = port, "2376" if tls else "2375"
    if not port.isdigit():
        raise DockerError(f"unable to parse docker host `tcp://{address}`")
    return host.strip("[]") or "127.0.0.1", int(port)


def _refused(reply: Reply, path: str) -> ApiError:
    """Return the engine's error: the message of its JSON, or its text as it is."""
    text = reply.body().decode(errors="replace").strip()
    if reply.headers.get("content-type", "").startswith("application/json"):
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            message = text
        return ApiError(reply.status, str(message).strip())
    if not text:
        text = f"request returned {reply.status} for API route and version {path}, check if the server supports it"
    return ApiError(reply.status, text)
