"""Bearer tokens and the service that gives them out, in one process.

The protocol is Docker's ("Token Authentication Specification", distribution/spec/auth): the registry
refuses with a challenge that names the service and the scope, the client asks the service with its password
(or without), the service answers with a token that says what it allows. Both ends are this process, so a
keyed hash over the claims is enough: nobody else has to verify it, and after a restart clients fetch a new
one on the next 401.

Who may what: a user of the password file may do everything; without a password, pull, if the configuration
says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sixhops.registry.access.auth import PasswordFile

LIFETIME_SECONDS: Final = 300
SCOPES_LIMIT: Final = 64
_ACTIONS: Final = frozenset({"pull", "push", "delete", "*"})


class Access(NamedTuple):
    """One right: `repository` NAME `pull`, `push` or `delete`, or `registry` `catalog` `*`."""

    type: str
    name: str
    action: str


class WrongPassword(Exception):  # noqa: N818 - an answer, not a defect
    """Credentials were given and do not hold."""


class TokenService:
    """Gives out and checks tokens; those of another process too when both have the same `secret`.

    `clock` returns seconds since the epoch.
    """

    def __init__(
        self,
        users: PasswordFile,
        service: str,
        *,
        anonymous_pull: bool,
        secret: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = users
        self.service = service
        self._anonymous_pull = anonymous_pull
        self._clock = clock
        self._secret = hashlib.sha256(secret.encode()).digest() if secret else os.urandom(32)

    async def issue(self, authorization: str, scopes: Iterable[str]) -> dict[str, Any]:
        """Return the answer to a token request: a token for what may be granted of `scopes`, maybe nothing.

        `authorization`: the Basic header, or "" for nobody. Raises WrongPassword.
        """
        user = ""
        if authorization:
            proven = await self._users.user(authorization)
            if proven is None:
                raise WrongPassword
            user = proven
        granted = [item for item in _wanted(scopes) if user or self._open(item)]
        now = int(self._clock())
        claims = {
            "sub": user,
            "aud": self.service,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "access": granted,
        }
        token = self._sign(json.dumps(claims, separators=(",", ":")).encode())
        issued = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"token": token, "access_token": token, "expires_in": LIFETIME_SECONDS, "issued_at": issued}

    def _open(self, access: Access) -> bool:
        return self._anonymous_pull and access.type == "repository" and access.action == "pull"

    def _sign(self, claims: bytes) -> str:
        text = base64.urlsafe_b64encode(claims).decode()
        return f"{text}.{hmac.digest(self._secret, text.encode(), hashlib.sha256).hex()}"

    def refusal(self, header: str, needed: Sequence[Access]) -> str | None:
        """Return None when an Authorization header allows all that is needed, else why not (RFC 6750's words).

        "" means that there was no token at all.
        """
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return ""
        text, _, proof = token.strip().partition(".")
        expected = hmac.digest(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hex()
        if not hmac.compare_digest(expected.encode(), proof.encode("utf-8", "replace")):
            return "invalid_token"
        try:
            claims = json.loads(base64.urlsafe_b64decode(text))
        except (binascii.Error, ValueError):
            return "invalid_token"
        if claims["exp"] <= self._clock():
            return "invalid_token"
        granted = {tuple(item) for item in claims["access"]}
        return None if all(_covers(granted, item) for item in needed) else "insufficient_scope"

    def challenge(self, realm: str, needed: Sequence[Access], reason: str) -> str:
        """Return the WWW-Authenticate header that sends a client to the token service at URL `realm`."""
        text = f'Bearer realm="{realm}",service="{self.service}"'
        if needed:
            text += f',scope="{scope_of(needed)}"'
        return f'{text},error="{reason}"' if reason else text


def scope_of(needed: Sequence[Access]) -> str:
    """Return rights in the notation of a scope parameter: actions of one resource together."""
    actions: dict[tuple[str, str], list[str]] = {}
    for item in needed:
        actions.setdefault((item.type, item.name), []).append(item.action)
    return " ".join(f"{kind}:{name}:{','.join(names)}" for (kind, name), names in actions.items())


def _covers(granted: set[tuple[str, ...]], needed: Access) -> bool:
    return tuple(needed) in granted or (needed.type, needed.name, "*") in granted


def _wanted(scopes: Iterable[str]) -> list[Access]:
    """Read scope parameters, each maybe several scopes; what is malformed is granted to nobody."""
    found: dict[Access, None] = {}
    for scope in [part for text in scopes for part in text.split()][:SCOPES_LIMIT]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind in {"repository", "registry"} and name:
            found.update(
                (Access(kind, name, action), None) for action in actions.split(",") if action in _ACTIONS
            )
    return list(found)
