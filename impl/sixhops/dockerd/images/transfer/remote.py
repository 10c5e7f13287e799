"""A registry as the engine sees it: one repository's manifests and blobs, to read and to write.

One connection a request, as Docker does. Facts: distribution's HTTP API V2; the order of requests, headers and the texts of
errors as observed on dockerd 20.10. Who asks is `authorization`'s matter, what goes wrong that of `refusals`.
"""

from __future__ import annotations

import ssl
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from sixhops.dockerd.images.transfer import certificates
from sixhops.dockerd.images.transfer.authorization import Authorizer, Credentials
from sixhops.dockerd.images.transfer.refusals import (
    BrokenOff,
    NotAuthorized,
    RemoteError,
    TooLong,
    go_words,
    refusal,
)
from sixhops.wire.image import media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.transfer.endpoints import Endpoint

__all__ = ["Remote", "Unusable", "get", "open_session", "ping"]

_PIECE = 256 * 1024
_LONGEST_MANIFEST = 4 << 20
_NOT_FOUND: Final = 404
_MANIFEST_TYPES = (
    media.DOCKER_MANIFEST,
    media.DOCKER_LIST,
    media.OCI_INDEX,
    media.DOCKER_SCHEMA1_SIGNED,
    "application/json",
    media.OCI_MANIFEST,
)


class Unusable(RemoteError):  # noqa: N818 - it tells what is the matter with the endpoint
    """Nobody answered /v2/ there: another endpoint may be tried."""


class Remote:
    """One repository at one endpoint. Use as an async context manager: it holds no connection between requests."""

    def __init__(
        self,
        endpoint: Endpoint,
        reference: Reference,
        credentials: Credentials,
        agent: str,
        *,
        actions: str = "pull",
        meta: Mapping[str, str] | None = None,
    ) -> None:
        """`actions` is what is to be done, as token scopes say it (`push,pull`); `meta` are headers for every request."""
        self.endpoint = endpoint
        self.path = reference.path
        self._agent = agent
        self._meta = dict(meta or {})
        self._authorizer = Authorizer(credentials, agent, [f"repository:{reference.path}:{actions}"])
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Remote:
        """Open the session and ask /v2/ whether this is a registry and which authentication it wants."""
        self._session = open_session(self.endpoint)
        try:
            await ping(self._session, self.endpoint, self._authorizer, self._headers(gzip=True))
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
                raise await refusal(response)
            data = await response.content.read(_LONGEST_MANIFEST + 1)
            while len(data) <= _LONGEST_MANIFEST and (more := await response.content.read(_LONGEST_MANIFEST)):
                data += more
            if len(data) > _LONGEST_MANIFEST:
                raise RemoteError(f"manifest {tag_or_digest} is larger than {_LONGEST_MANIFEST} bytes")
            return data, response.headers.get("Content-Type", "").partition(";")[0].strip()

    async def put_manifest(self, tag: str, data: bytes, media_type: str) -> None:
        """Name a manifest. RemoteError when it is refused."""
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        async with self._request("PUT", f"manifests/{tag}", headers=headers, body=data) as response:
            if response.status not in {200, 201, 202}:
                raise await refusal(response)

    async def list_tags(self) -> list[str]:
        """Return all tags of the repository, following the registry's pages. RemoteError when refused."""
        path, tags = "tags/list", list[str]()
        while path:
            async with self._request("GET", path, gzip=True) as response:
                if response.status != 200:
                    raise await refusal(response)
                document = await response.json(content_type=None)
                tags += [str(tag) for tag in document.get("tags") or ()]
                following = response.links["next"]["url"] if "next" in response.links else None
                path = f"tags/list?{following.query_string}" if isinstance(following, URL) else ""
        return tags

    async def read_blob(self, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Give a blob's bytes from `offset` on. RemoteError when refused, BrokenOff when it ends early."""
        async with self._request("GET", f"blobs/{digest}", gzip=True, offset=offset) as response:
            if response.status == _NOT_FOUND:
                raise RemoteError("unknown blob", _NOT_FOUND, "BLOB_UNKNOWN")
            if response.status not in ({206} if offset else {200}):
                raise await refusal(response)
            try:
                async for piece in response.content.iter_chunked(_PIECE):
                    yield piece
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise BrokenOff("unexpected EOF") from error

    async def size_of_blob(self, digest: str) -> int | None:
        """Return the size of a blob that the repository has, None when it has not. RemoteError for any other answer."""
        async with self._request("HEAD", f"blobs/{digest}") as response:
            if response.status == _NOT_FOUND:
                return None
            if response.status != 200:
                raise await refusal(response)
            return int(response.headers.get("Content-Length", "0"))

    async def begin_upload(self, digest: str = "", source: str = "") -> str:
        """Begin an upload; return where it goes on. With a digest and a repository that has it, it may be mounted: "".

        Raises RemoteError.
        """
        query = "?" + urllib.parse.urlencode({"from": source, "mount": digest}) if source else ""
        request = self._request(
            "POST", f"blobs/uploads/{query}", headers={"Content-Length": "0"}, source=source
        )
        async with request as response:
            if response.status == 201:
                return ""
            if response.status not in {200, 202}:
                raise await refusal(response)
            location = response.headers.get("Location", "")
            return urllib.parse.urljoin(str(response.url), location)

    async def send(self, location: str, content: AsyncIterator[bytes]) -> str:
        """Send an upload's bytes in one request; return where it goes on. Raises RemoteError."""
        async with self._open("PATCH", location, self._headers(gzip=True), body=content) as response:
            if not 200 <= response.status < 300:
                raise await refusal(response)
            return urllib.parse.urljoin(location, response.headers.get("Location", location))

    async def end_upload(self, location: str, digest: str) -> None:
        """Say that an upload is whole and what it is. Raises RemoteError."""
        address, _, query = location.partition("?")
        pairs = [*urllib.parse.parse_qsl(query, keep_blank_values=True), ("digest", digest)]
        url = f"{address}?{urllib.parse.urlencode(sorted(pairs))}"
        headers = self._headers(gzip=True)
        headers["Content-Length"] = "0"
        async with self._open("PUT", url, headers) as response:
            if not 200 <= response.status < 300:
                raise await refusal(response)

    async def cancel_upload(self, location: str) -> None:
        """Give an upload up; what the registry says to that changes nothing."""
        async with self._open("DELETE", location, self._headers(gzip=True)):
            return

    def _headers(
        self, accept: Sequence[str] = (), *, gzip: bool = False, offset: int = 0
    ) -> CIMultiDict[str]:
        headers = CIMultiDict({"User-Agent": self._agent})
        headers.extend(self._meta)
        for media_type in accept:
            headers.add("Accept", media_type)
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if gzip:
            headers["Accept-Encoding"] = "gzip"
        headers["Connection"] = "close"
        return headers

    def _request(
        self,
        method: str,
        path: str,
        accept: Sequence[str] = (),
        *,
        gzip: bool = False,
        offset: int = 0,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        source: str = "",
    ) -> _Opened:
        url = f"{self.endpoint.url}/v2/{self.path}/{path}"
        fields = self._headers(accept, gzip=gzip, offset=offset)
        fields.update(headers or {})
        return self._open(method, url, fields, body=body, source=source)

    def _open(
        self,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        *,
        body: bytes | AsyncIterator[bytes] | None = None,
        source: str = "",
    ) -> _Opened:
        assert self._session is not None
        return _Opened(self._session, method, url, headers, self._authorizer, body, source)


def open_session(endpoint: Endpoint) -> aiohttp.ClientSession:
    """Return a client for one endpoint, without connections that stay. Raises RemoteError for its certificates."""
    tls: ssl.SSLContext | bool = True
    if endpoint.verify and endpoint.url.startswith("https://"):
        tls = certificates.context_for(endpoint.url.partition("://")[2]) or True
    elif not endpoint.verify:
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        auto_decompress=False,
    )


async def ping(
    session: aiohttp.ClientSession, endpoint: Endpoint, authorizer: Authorizer, headers: CIMultiDict[str]
) -> None:
    """Ask /v2/ and tell the authorizer which authentication is wanted. Raises Unusable when nobody answers."""
    try:
        async with _Opened(session, "GET", f"{endpoint.url}/v2/", headers, None, None, "") as response:
            if response.status == 401:
                authorizer.challenge(response.headers.getall("Www-Authenticate", []))
    except RemoteError as error:
        raise Unusable(str(error)) from error


def get(
    session: aiohttp.ClientSession, url: str, headers: CIMultiDict[str], authorizer: Authorizer
) -> _Opened:
    """Return a request to be entered. It raises RemoteError."""
    return _Opened(session, "GET", url, headers, authorizer, None, "")


class _Opened:
    """One request; entering it sends it, and words what goes wrong as Go's client does."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        authorizer: Authorizer | None,
        body: Any,
        source: str,
    ) -> None:
        self._session = session
        self._method = method
        self._url = url
        self._headers = headers
        self._authorizer = authorizer
        self._body = body
        self._source = source
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        if self._authorizer is not None:
            await self._authorize(self._authorizer)
        try:
            self._response = await self._session.request(
                # an address that names nobody is this machine's own to Go's client
                self._method,
                self._url.replace("://:", "://127.0.0.1:", 1),
                headers=self._headers,
                data=self._body,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            words = go_words(self._method.capitalize(), self._url, error)
            # llhttp's words for bytes behind the last answer of a connection. Go's client leaves them unread.
            behind = isinstance(error, aiohttp.ClientResponseError) and "Data after" in error.message
            raise (TooLong if behind else RemoteError)(words) from error
        return self._response

    async def __aexit__(self, *_exception: object) -> None:
        if self._response is not None:
            self._response.close()

    async def _authorize(self, authorizer: Authorizer) -> None:
        try:
            value = await authorizer.header(self._session, self._source)
        except RemoteError as error:
            raise NotAuthorized(f'{self._method.capitalize()} "{self._url}": {error}', error) from error
        if value:
            self._headers["Authorization"] = value
