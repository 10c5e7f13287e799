"""How the engine proves to a registry who is asking: basic, bearer tokens from a token server, or a token of the user's own.

Facts: distribution's specification of token authentication (basic and OAuth2); registry/client/auth for what is asked for
when. A token is good for a minute unless its server says otherwise, and is asked for again before a request that finds it
stale. Without credentials a registry that wants basic authentication is not asked at all.
"""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDict

from sixhops.dockerd.images.transfer.refusals import NoCredentials, RemoteError, go_words, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Authorizer", "Credentials"]

_FIELD = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CLIENT: Final = "docker"
#: What a token is good for at least, in seconds.
_SHORTEST_LIFE: Final = 60
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the user's X-Registry-Auth header holds; empty for anonymous."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def can_log_in(self) -> bool:
        """Whether there is something to show to a registry at all."""
        return bool(self.registry_token or (self.username and self.password))


class Authorizer:
    """Makes the Authorization header of each request. `scopes` are those of token authentication, "" for none."""

    def __init__(
        self, credentials: Credentials, agent: str, scopes: Sequence[str] = (), *, offline: bool = False
    ) -> None:
        """`offline`: ask the token server for a token that lasts, which then is `identity_token`."""
        self._credentials = credentials
        self._agent = agent
        self._scopes = list(scopes)
        self._offline = offline
        self._challenges: list[tuple[str, dict[str, str]]] = []
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self.identity_token = credentials.identity_token

    def challenge(self, headers: Sequence[str]) -> None:
        """Take the WWW-Authenticate headers of a 401."""
        for header in headers:
            scheme, _, rest = header.partition(" ")
            self._challenges.append((scheme.lower(), dict(_FIELD.findall(rest))))

    async def header(self, session: aiohttp.ClientSession, source: str = "") -> str:
        """Return the header's value, "" for none; `source` is a repository to mount from. Raises RemoteError."""
        value = ""
        for scheme, fields in self._challenges:
            if scheme == "bearer":
                value = f"Bearer {await self._token(session, fields, source)}"
            elif scheme == "basic" and not self._credentials.registry_token:
                value = self._basic()
        return value

    def _basic(self) -> str:
        login = self._credentials
        if not (login.username and login.password):
            raise NoCredentials("no basic auth credentials")
        pair = f"{login.username}:{login.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    async def _token(self, session: aiohttp.ClientSession, fields: dict[str, str], source: str) -> str:
        if self._credentials.registry_token:
            return self._credentials.registry_token
        scopes = [*self._scopes, *([f"repository:{source}:pull"] if source else [])]
        key = (fields.get("realm", ""), fields.get("service", ""), *scopes)
        token, expires = self._tokens.get(key, ("", 0.0))
        if expires <= time.time():
            token, expires = await self._ask(session, fields, scopes)
            self._tokens[key] = (token, expires)
        return token

    async def _ask(
        self, session: aiohttp.ClientSession, fields: dict[str, str], scopes: list[str]
    ) -> tuple[str, float]:
        """Ask a token server; return a token and when it ends."""
        realm, service = fields.get("realm", ""), fields.get("service", "")
        if not realm:
            raise RemoteError("no token auth challenge")
        refreshed = bool(self.identity_token)
        try:
            if refreshed:
                request = session.post(
                    realm,
                    data={
                        "client_id": _CLIENT,
                        "grant_type": "refresh_token",
                        "refresh_token": self.identity_token,
                        "scope": " ".join(scopes),
                        "service": service,
                    },
                    headers=CIMultiDict({"User-Agent": self._agent}),
                )
            else:
                request = session.get(realm, params=self._question(service, scopes), headers=self._headers())
            async with request as response:
                if response.status != _OK:
                    raise await refusal(response)
                document = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            verb = "Post" if refreshed else "Get"
            raise RemoteError(go_words(verb, realm, error)) from error
        if not isinstance(document, dict):
            raise RemoteError("unable to decode token response: json: cannot unmarshal")
        if isinstance(fresh := document.get("refresh_token"), str) and fresh:
            self.identity_token = fresh
        if refreshed:
            return str(document.get("access_token") or ""), _end_of(document)
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token:
            raise RemoteError("authorization server did not include a token in the response")
        return token, _end_of(document)

    def _question(self, service: str, scopes: list[str]) -> list[tuple[str, str]]:
        login = self._credentials
        pairs = [("scope", scope) for scope in scopes]
        if service:
            pairs.append(("service", service))
        if self._offline:
            pairs += [("offline_token", "true"), ("client_id", _CLIENT)]
        if login.username and login.password:
            pairs.append(("account", login.username))
        return sorted(pairs, key=lambda pair: pair[0])

    def _headers(self) -> CIMultiDict[str]:
        headers = CIMultiDict({"User-Agent": self._agent})
        if self._credentials.username and self._credentials.password:
            headers["Authorization"] = self._basic()
        return headers


def _end_of(document: dict[str, object]) -> float:
    life = document.get("expires_in")
    seconds = life if isinstance(life, int) and life > _SHORTEST_LIFE else _SHORTEST_LIFE
    issued = document.get("issued_at")
    try:
        begun = datetime.fromisoformat(str(issued)).timestamp() if issued else time.time()
    except ValueError:
        begun = datetime.now(UTC).timestamp()
    return begun + seconds
