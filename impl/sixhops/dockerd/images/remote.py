"""A registry as the engine sees it: endpoints to try, authentication, manifests and blobs.

One connection a request, as Docker does. Facts: distribution's HTTP API V2 and token specifications; the
order of requests,
headers and the texts of errors as observed on dockerd 20.10. Errors of the transport are worded as Go words
them, since that is what
users of Docker search for.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from multidict import CIMultiDict

from sixhops.dockerd.errors import EngineError, system
from sixhops.wire.image import media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sixhops.dockerd.images.reference import Reference

__all__ = ["BrokenOff", "Credentials", "Endpoint", "Remote", "RemoteError", "TooLong", "endpoints_for"]

_HUB = "registry-1.docker.io"
_HUB_DOMAIN = "docker.io"
_PIECE = 256 * 1024
_LONGEST_MANIFEST = 4 << 20
_MANIFEST_TYPES = (
    media.DOCKER_MANIFEST,
    media.DOCKER_LIST,
    media.OCI_INDEX,
    media.DOCKER_SCHEMA1_SIGNED,
    "application/json",
    media.OCI_MANIFEST,
)
# distribution-spec, "Error Codes", as distribution words them
_OWN_MESSAGES = {
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "BLOB_UNKNOWN": "blob unknown to registry",
    "TOOMANYREQUESTS": "too many requests",
}
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the user's X-Registry-Auth header holds; empty for anonymous."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One base URL to try: `http://127.0.0.1:5000`. A mirror's failure is never final."""

    url: str
    mirror: bool = False
    verify: bool = True


class RemoteError(Exception):
    """A request to a registry failed; `status` and `code` are its answer's, 0 and "" when there was none."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BrokenOff(RemoteError):  # noqa: N818 - it tells what happened to the blob
    """A blob had begun to come and ended too early."""


class TooLong(RemoteError):  # noqa: N818 - it tells what is the matter with the blob
    """More bytes came than the answer's head had declared; what it declared can't be told from them any more."""


def endpoints_for(domain: str, mirrors: Sequence[str], insecure: Sequence[str]) -> list[Endpoint]:
    """Return the endpoints of a registry in the order of trying.

    docker.io: the mirrors, then the Hub. A registry on the loopback, or one named by --insecure-registry
    (host, or network in
    CIDR form): https without verification, then plain http. Any other: https.
    """
    if domain == _HUB_DOMAIN:
        return [*(Endpoint(url.rstrip("/"), mirror=True) for url in mirrors), Endpoint(f"https://{_HUB}")]
    if _is_insecure(domain, insecure):
        return [Endpoint(f"https://{domain}", verify=False), Endpoint(f"http://{domain}")]
    return [Endpoint(f"https://{domain}")]


def _is_insecure(domain: str, insecure: Sequence[str]) -> bool:
    host = domain.rsplit(":", 1)[0].strip("[]")
    if domain in insecure or host in insecure:
        return True
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    networks = ["127.0.0.0/8", "::1/128", *(entry for entry in insecure if "/" in entry)]
    return any(
        ipaddress.ip_address(address) in ipaddress.ip_network(network)
        for address in addresses
        for network in networks
    )


class Remote:
    """One repository at one endpoint. Use as an async context manager: it holds no connection between requests."""

    def __init__(
        self, endpoint: Endpoint, reference: Reference, credentials: Credentials, agent: str
    ) -> None:
        self.endpoint = endpoint
        self._path = reference.path
        self._credentials = credentials
        self._agent = agent
        self._authorization = ""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Remote:
        """Open the session and ask /v2/ whether this is a registry and which authentication it wants."""
        tls: ssl.SSLContext | bool = True
        if not self.endpoint.verify:
            tls = ssl.create_default_context()
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            auto_decompress=False,
        )
        try:
            await self._ping()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close the session."""
        assert self._session is not None
        await self._session.close()

    async def head_manifest(self, tag: str) -> str | None:
        """Return the digest that a tag points to; None when HEAD does not tell (a failure of HEAD is never final)."""
        async with self._request("HEAD", f"manifests/{tag}", _MANIFEST_TYPES) as response:
            if response.status != 200:
                return None
            return response.headers.get("Docker-Content-Digest")

    async def get_manifest(self, tag_or_digest: str) -> tuple[bytes, str]:
        """Return a manifest's bytes and media type. RemoteError with the registry's error code otherwise."""
        async with self._request("GET", f"manifests/{tag_or_digest}", _MANIFEST_TYPES, gzip=True) as response:
            if response.status != 200:
                raise await _refusal(response)
            data = await response.content.read(_LONGEST_MANIFEST + 1)
            while len(data) <= _LONGEST_MANIFEST and (more := await response.content.read(_LONGEST_MANIFEST)):
                data += more
            if len(data) > _LONGEST_MANIFEST:
                raise RemoteError(f"manifest {tag_or_digest} is larger than {_LONGEST_MANIFEST} bytes")
            return data, response.headers.get("Content-Type", "").partition(";")[0].strip()

    async def read_blob(self, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Give a blob's bytes from `offset` on. RemoteError when refused, BrokenOff when it ends early."""
        async with self._request("GET", f"blobs/{digest}", gzip=True, offset=offset) as response:
            if response.status == 404:
                raise RemoteError("unknown blob", 404, "BLOB_UNKNOWN")
            if response.status not in ({206} if offset else {200}):
                raise await _refusal(response)
            try:
                async for piece in response.content.iter_chunked(_PIECE):
                    yield piece
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise BrokenOff("unexpected EOF") from error

    async def _ping(self) -> None:
        url = f"{self.endpoint.url}/v2/"
        async with self._open("GET", url, self._headers(gzip=True)) as response:
            if response.status == 401:
                await self._authenticate(response.headers.getall("Www-Authenticate", []))

    async def _authenticate(self, challenges: Sequence[str]) -> None:
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            fields = dict(_CHALLENGE.findall(rest))
            if scheme.lower() == "bearer" and "realm" in fields:
                self._authorization = f"Bearer {await self._token(fields)}"
                return
            if scheme.lower() == "basic" and self._credentials.username:
                self._authorization = self._basic()
                return

    async def _token(self, fields: dict[str, str]) -> str:
        if self._credentials.registry_token:
            return self._credentials.registry_token
        headers = CIMultiDict({"User-Agent": self._agent})
        if self._credentials.username:
            headers["Authorization"] = self._basic()
        assert self._session is not None
        query = {"scope": f"repository:{self._path}:pull"}
        if "service" in fields:
            query["service"] = fields["service"]
        try:
            async with self._session.get(fields["realm"], params=query, headers=headers) as response:
                if response.status != 200:
                    raise await _refusal(response)
                document = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError) as error:
            raise RemoteError(_go_words("Get", fields["realm"], error)) from error
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token:
            raise RemoteError("authorization server did not include a token in the response")
        return token

    def _basic(self) -> str:
        pair = f"{self._credentials.username}:{self._credentials.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def _headers(
        self, accept: Sequence[str] = (), *, gzip: bool = False, offset: int = 0
    ) -> CIMultiDict[str]:
        headers = CIMultiDict({"User-Agent": self._agent})
        for media_type in accept:
            headers.add("Accept", media_type)
        if self._authorization:
            headers["Authorization"] = self._authorization
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if gzip:
            headers["Accept-Encoding"] = "gzip"
        headers["Connection"] = "close"
        return headers

    def _request(
        self, method: str, path: str, accept: Sequence[str] = (), *, gzip: bool = False, offset: int = 0
    ) -> _Opened:
        url = f"{self.endpoint.url}/v2/{self._path}/{path}"
        return self._open(method, url, self._headers(accept, gzip=gzip, offset=offset))

    def _open(self, method: str, url: str, headers: CIMultiDict[str]) -> _Opened:
        assert self._session is not None
        return _Opened(self._session, method, url, headers)


class _Opened:
    """One request; entering it sends it, and words what goes wrong as Go's client does."""

    def __init__(
        self, session: aiohttp.ClientSession, method: str, url: str, headers: CIMultiDict[str]
    ) -> None:
        self._session = session
        self._method = method
        self._url = url
        self._headers = headers
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            self._response = await self._session.request(self._method, self._url, headers=self._headers)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            words = _go_words(self._method.capitalize(), self._url, error)
            # llhttp's words for bytes behind the last answer of a connection. Go's client leaves them unread.
            behind = isinstance(error, aiohttp.ClientResponseError) and "Data after" in error.message
            raise (TooLong if behind else RemoteError)(words) from error
        return self._response

    async def __aexit__(self, *_exception: object) -> None:
        if self._response is not None:
            self._response.close()


def _go_words(verb: str, url: str, error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f'{verb} "{url}": dial tcp: lookup {error.host}: {error.os_error.strerror or "no such host"}'.replace(
            "Name or service not known", "no such host"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error
        text = os.strerror(reason.errno).lower() if reason.errno and reason.errno > 0 else str(reason)
        return f'{verb} "{url}": dial tcp {error.host}:{error.port}: connect: {text}'
    if isinstance(error, TimeoutError):
        return (
            f'{verb} "{url}": net/http: request canceled while waiting for connection '
            "(Client.Timeout exceeded while awaiting headers)"
        )
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f'{verb} "{url}": EOF'
    return f'{verb} "{url}": {error}'


async def _refusal(response: aiohttp.ClientResponse) -> RemoteError:
    """Word a registry's refusal: `code: message` of its errors, or the status when the body says nothing."""
    data = await response.content.read(64 * 1024)
    try:
        errors = json.loads(data)["errors"]
        first: dict[str, Any] = errors[0]
        code, message = str(first["code"]), str(first.get("message") or "")
    except (ValueError, KeyError, IndexError, TypeError):
        if response.status == 404:
            return RemoteError("manifest unknown", 404, "MANIFEST_UNKNOWN")
        return RemoteError(
            f"received unexpected HTTP status: {response.status} {response.reason}", response.status
        )
    text = code.lower().replace("_", " ")
    # Go's registry client leaves out a message that is the code's own and comes without detail
    said = message and (message != _OWN_MESSAGES.get(code) or first.get("detail") is not None)
    return RemoteError(f"{text}: {message}" if said else text, response.status, code)


def as_engine_error(error: RemoteError, reference: Reference) -> EngineError:
    """Return what the user of the Engine API is told about a failed pull of `reference`."""
    if error.code in {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}:
        return EngineError(
            404, f"manifest for {reference.familiar} not found: manifest unknown: manifest unknown"
        )
    if error.code == "DENIED":
        return EngineError(
            404,
            f"pull access denied for {reference.familiar_name}, "
            f"repository does not exist or may require 'docker login': {error}",
        )
    return system(str(error))
