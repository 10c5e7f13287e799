"""The other registry, seen from a mirror: one request at a time, with whatever authentication it asks for.

The protocol of challenges is Docker's ("Token Authentication Specification"): try, read the challenge, fetch a token
for the repository, try again. Tokens are kept until they end.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import BasicAuth, ClientError, ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from sixhops.registry.storage.manifests import SIZE_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

CONNECT_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 60.0
_TOKEN_SECONDS: Final = 60
_TOKEN_LIMIT: Final = 1 << 20
_KEPT: Final = 1024
_NEXT: Final = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


class RemoteError(Exception):
    """The other registry can't be reached, or refused; `status` is its answer's, 0 for none."""

    def __init__(self, reason: str, status: int = 0, retry_after: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Remote:
    """The registry at `url`, asked as `user` when that is not empty. Make it inside of the event loop."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        self._url = url
        self._basic = BasicAuth(user, password) if user else None
        # A digest names the bytes that travel, so nothing is decompressed.
        self._session = ClientSession(
            connector=TCPConnector(limit=0),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS),
            auto_decompress=False,
            trust_env=False,
        )
        # Repository -> the header to send, and when it ends.
        self._headers: dict[str, tuple[str, float]] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, repository: str, accept: str = "*/*"
    ) -> AsyncIterator[ClientResponse]:
        """Send a request for a `path` below /v2/ and give its answer, whose status is 200.

        Raises RemoteError: not reachable, another status, or the answer breaks off while it is read.
        """
        try:
            response = await self._send(method, path, repository, accept)
            if response.status == 401:
                challenge = response.headers.get("WWW-Authenticate", "")
                response.release()
                await self._answer(challenge, repository)
                response = await self._send(method, path, repository, accept)
            async with response:
                if response.status != 200:
                    raise RemoteError(
                        f"{self._url}: {method} {path} answered {response.status}",
                        response.status,
                        response.headers.get("Retry-After", ""),
                    )
                yield response
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            raise RemoteError(
                f"{self._url}: {method} {path}: {str(error) or type(error).__name__}"
            ) from error

    async def _send(self, method: str, path: str, repository: str, accept: str) -> ClientResponse:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        header, ends = self._headers.get(repository, ("", 0.0))
        if header and time.monotonic() < ends:
            headers["Authorization"] = header
        # The path is ours, of checked names; a second round of quoting would change it.
        return await self._session.request(
            method, URL(f"{self._url}/v2/{path}", encoded=True), headers=headers
        )

    async def _answer(self, challenge: str, repository: str) -> None:
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic" and self._basic is not None:
            self._remember(repository, self._basic.encode(), float("inf"))
        elif scheme == "bearer":
            found = dict(_PARAMETER.findall(challenge))
            query = {"scope": f"repository:{repository}:pull"}
            if "service" in found:
                query["service"] = found["service"]
            realm = URL(found.get("realm", "")).update_query(query)
            if realm.scheme not in {"http", "https"}:
                raise RemoteError(f"{self._url}: a challenge without a token service: {challenge[:200]}", 401)
            async with self._session.get(realm, auth=self._basic) as response:
                if response.status != 200:
                    raise RemoteError(f"{realm.origin()}: the token service answered {response.status}", 401)
                document = json.loads(await _bounded(response, _TOKEN_LIMIT))
            token, seconds = _token(document)
            self._remember(repository, f"Bearer {token}", time.monotonic() + max(seconds - 5, 1))

    def _remember(self, repository: str, header: str, ends: float) -> None:
        self._headers[repository] = (header, ends)
        if len(self._headers) > _KEPT:
            del self._headers[next(iter(self._headers))]

    async def document(self, path: str, repository: str) -> tuple[Any, str]:
        """Return a JSON answer, and the path of its next page or "". Raises RemoteError."""
        async with self.ask("GET", path, repository) as response:
            document = json.loads(await _bounded(response, SIZE_LIMIT))
            following = _NEXT.search(response.headers.get("Link", ""))
            return document, "" if following is None else following[1].partition("/v2/")[2]

    async def content(self, path: str, repository: str, accept: str) -> tuple[bytes, str]:
        """Return the bytes of a manifest and its media type, at most 4 MiB. Raises RemoteError."""
        async with self.ask("GET", path, repository, accept) as response:
            return await _bounded(response, SIZE_LIMIT), response.content_type

    async def head(self, path: str, repository: str, accept: str = "*/*") -> dict[str, str]:
        """Return the headers of a HEAD's answer, lower-case. Raises RemoteError."""
        async with self.ask("HEAD", path, repository, accept) as response:
            return {name.lower(): value for name, value in response.headers.items()}


async def _bounded(response: ClientResponse, limit: int) -> bytes:
    found = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        found += chunk
        if len(found) > limit:
            raise RemoteError(f"{response.url}: the answer is longer than {limit} bytes")
    return bytes(found)


def _token(document: Any) -> tuple[str, float]:
    if not isinstance(document, dict):
        raise RemoteError("the token service's answer is no JSON object", 401)
    token = document.get("token") or document.get("access_token")
    seconds = document.get("expires_in", _TOKEN_SECONDS)
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RemoteError("the token service gave no token", 401)
    return token, float(seconds) if isinstance(seconds, int) else _TOKEN_SECONDS
