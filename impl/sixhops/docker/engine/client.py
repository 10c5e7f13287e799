"""The Engine API client: addresses, version negotiation, requests, streams of answers, hijacked connections.

One idle connection is kept and used again, as docker's client does, so a plain command needs one connection and an
attached `run` three. The first request of a command is preceded by HEAD /_ping, which tells the API version to speak.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from sixhops.docker.engine import streams
from sixhops.docker.engine.answers import Hijacked, Pending, Reply, refused
from sixhops.docker.engine.http import Answer, ProtocolError, request
from sixhops.docker.errors import ConnectError, DockerError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    #: parameters of a request; a list is a parameter that comes several times
    Query = Mapping[str, str | Sequence[str]]

    from sixhops.docker.config import Settings
    from sixhops.docker.engine.streams import Stream

__all__ = ["API_VERSION", "NULL", "VERSION", "Client"]

#: The engine API that this client knows, and the release of Docker whose client it behaves as.
API_VERSION = "1.41"
VERSION = "20.10.24+sixhops"
_AGENT = f"Docker-Client/{VERSION} (linux)"
#: An engine that does not say its version is as old as this one (the last before the header).
_ASSUMED = "1.24"
#: A document that is null.
NULL = object()
#: The host that requests name when ssh carries them: the engine's own is known on the other side only.
_SSH_HOST = "docker.example.com"


class Client:
    """One engine. `version` is the API version to speak, without the `v`; `server_os` what the ping said."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.version = os.environ.get("DOCKER_API_VERSION", "").removeprefix("v") or API_VERSION
        self.server_os = ""
        self._negotiated = False
        self._is_silent = False
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
            # as docker: options are judged by what this client knows, and the request that fails too is the oldest
            self._is_silent = not os.environ.get("DOCKER_API_VERSION")
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
        query: Query | None = None,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        missing: tuple[str, str] | None = None,
    ) -> Reply:
        """Send a request and return the answer once its head is here.

        `document` is sent as JSON (NULL: as null, which is something else than no body). `missing` is the kind and name
        of what a 404 says is not there: docker's client words that itself for some requests. Raises ApiError for a
        status of 400 and above, ConnectError when there is no engine.
        """
        self.negotiate()
        sent = dict(headers or {})
        body: bytes | None = b"" if method in ("POST", "PUT") else None
        if document is not None:
            body = _encode(None if document is NULL else document)
            sent["Content-Type"] = "application/json"
        elif body is not None:
            sent["Content-Type"] = "text/plain"
        reply = self._send(method, self._target(path, query), sent, body)
        return _checked(reply, path, missing)

    def upload(
        self,
        method: str,
        path: str,
        query: Query | None,
        pieces: Iterable[bytes],
        kind: str = "text/plain",
        *,
        missing: tuple[str, str] | None = None,
    ) -> Reply:
        """Send a body that is made while it is sent, in chunks, and return the answer once its head is here.

        The engine may answer before it has seen all; the rest is sent while the answer is read. Raises as `call`, and
        whatever DockerError `pieces` raises.
        """
        from sixhops.docker.engine.upload import Upload  # noqa: PLC0415 - needs threads, which most commands don't

        self.negotiate()
        headers = {**self._headers(), "Content-Type": kind, "Transfer-Encoding": "chunked"}
        target = self._target(path, query)
        upload = Upload(self._connect(), pieces)
        answer, first = upload.begin(
            method, request(method, target, headers, None), self._named(method, target)
        )
        return _checked(Reply(upload.close, upload.stream, answer, first), path, missing)

    def begin(self, method: str, path: str, query: Query | None = None) -> Pending:
        """Send a request without a body on a connection of its own and do not wait for the answer."""
        self.negotiate()
        stream = self._connect()
        headers = {**self._headers(), "Content-Type": "text/plain"}
        stream.send(request(method, self._target(path, query), headers, b""))
        return Pending(self.give_back, stream, path)

    def json(self, method: str, path: str, query: Query | None = None, document: Any = None) -> Any:
        """Send a request and return the answer's JSON value. Raises as `call`."""
        return self.call(method, path, query, document).json()

    def look(self, kind: str, name: str, query: Query | None = None) -> Any:
        """Return what the engine knows of a container or an image. Raises NotFoundError, and as `call`."""
        path = f"/{kind}s/{quote(name, safe='/:@')}/json"
        return self.call("GET", path, query, missing=(kind, name)).json()

    def hijack(self, path: str, query: Query | None = None, document: Any = None) -> Hijacked:
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
            raise refused(Reply(self.give_back, stream, answer, first), path)
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

    def _target(self, path: str, query: Query | None) -> str:
        text = urlencode(sorted((query or {}).items()), doseq=True)
        return f"/v{_ASSUMED if self._is_silent else self.version}{path}{'?' + text if text else ''}"

    def _headers(self) -> dict[str, str]:
        host = {"unix": "docker", "npipe": "docker", "ssh": _SSH_HOST}.get(self._scheme, self._address)
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
                # docker looks for these words, wherever they come from
                if self._scheme == "ssh" and re.search("connection refused|dial unix", str(error)):
                    raise ConnectError(_nobody_at(f"http://{_SSH_HOST}")) from error
                raise ConnectError(f"error during connect: {self._named(method, target)}: {error}") from error
            return Reply(self.give_back, stream, answer, first)

    def _named(self, method: str, target: str) -> str:
        """Return a request as messages name it."""
        scheme = "https" if self.settings.tls and self._scheme == "tcp" else "http"
        place = {"unix": quote(self._address, safe=""), "ssh": _SSH_HOST}.get(self._scheme, self._address)
        return f'{method.capitalize()} "{scheme}://{place}{target}"'

    def connect(self) -> Stream:
        """Return a new connection to the engine, before any request. Raises ConnectError, DockerError."""
        return self._connect()

    def _connect(self) -> Stream:
        if self._scheme == "ssh":
            from sixhops.docker.engine import ssh  # noqa: PLC0415 - only there

            return ssh.connect(self.settings.host)
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
                raise ConnectError(_nobody_at(self.host)) from error
            raise ConnectError(f"error during connect: {self._why(error)}") from error

    def _why(self, error: OSError) -> str:
        return f"dial {self._scheme} {self._address}: {error.strerror or error}"


def _nobody_at(place: str) -> str:
    return f"Cannot connect to the Docker daemon at {place}. Is the docker daemon running?"


def _encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _checked(reply: Reply, path: str, missing: tuple[str, str] | None) -> Reply:
    if reply.status == 404 and missing is not None:
        reply.body()
        raise NotFoundError(*missing)
    if reply.status >= 400:
        raise refused(reply, path)
    return reply


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _host_and_port(address: str, tls: bool) -> tuple[str, int]:
    host, colon, port = address.split("/", maxsplit=1)[0].rpartition(":")
    if not colon:
        host, port = port, "2376" if tls else "2375"
    if not port.isdigit():
        raise DockerError(f"unable to parse docker host `tcp://{address}`")
    return host.strip("[]") or "127.0.0.1", int(port)
