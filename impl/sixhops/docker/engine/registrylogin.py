"""`login` when no engine answers: the registry itself is asked who somebody is.

GET /v2/ says how it wants to be told (Basic, or a token of a realm), and is asked again with that. As the engine does, a
registry on this machine is spoken to by HTTPS without verification and then by HTTP, any other by HTTPS alone.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from sixhops.docker.engine.client import VERSION
from sixhops.docker.errors import DockerError
from sixhops.docker.values import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sign_in"]

_BOUND = 15
_OK, _UNAUTHORIZED = 200, 401
_HUB = "registry-1.docker.io"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class _RegistryError(Exception):
    """Why an endpoint did not take somebody; the text is docker's."""


def sign_in(account: dict[str, str]) -> dict[str, str]:
    """Ask the registry `serveraddress` about `username` and `password`; return what an engine's POST /auth would.

    That is Status, and IdentityToken where the registry gave one. Raises DockerError.
    """
    problem = ""
    for address, context in _endpoints(account["serveraddress"]):
        try:
            token = _at(address, context, account)
        except _RegistryError as error:
            problem = str(error)
            _note(problem)
        else:
            return {"Status": "Login Succeeded", "IdentityToken": token}
    raise DockerError(problem)


def _endpoints(server: str) -> Iterator[tuple[str, ssl.SSLContext | None]]:
    """Return where the registry may be found, the safest place first."""
    host = urlsplit(server).netloc or server.partition("/")[0]
    if host == "index.docker.io":
        host = _HUB
    if not _is_here(host.rpartition(":")[0] or host):
        yield f"https://{host}/v2/", ssl.create_default_context()
        return
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    yield f"https://{host}/v2/", unverified
    yield f"http://{host}/v2/", None


def _is_here(name: str) -> bool:
    try:
        found = socket.gethostbyname(name)
    except OSError:
        return False
    return ipaddress.ip_address(found).is_loopback


def _at(address: str, context: ssl.SSLContext | None, account: dict[str, str]) -> str:
    """Sign in at one endpoint; return the identity token, "" for none."""
    basic = f"{account['username']}:{account['password']}".encode()
    headers = {"Authorization": f"Basic {base64.b64encode(basic).decode()}"}
    status, challenge, _ = _get(address, context, {})
    kind, _, rest = challenge.partition(" ")
    token = ""
    if status != _UNAUTHORIZED or kind.lower() not in ("basic", "bearer"):
        headers = {}
    elif kind.lower() == "bearer":
        granted = _token(address, context, dict(_PARAMETER.findall(rest)), account["username"], headers)
        token = str(granted.get("refresh_token") or "")
        headers = {"Authorization": f"Bearer {granted.get('token') or granted.get('access_token') or ''}"}
    status, _, _ = _get(address, context, headers)
    if status != _OK:
        raise _RegistryError(f"login attempt to {address} failed with status: {_named(status)}")
    return token


def _token(
    address: str,
    context: ssl.SSLContext | None,
    challenge: dict[str, str],
    user: str,
    headers: dict[str, str],
) -> dict[str, str]:
    """Ask the realm of a challenge for a token; return its answer."""
    asked = {"account": user, "client_id": "docker", "offline_token": "true"}
    asked |= {name: challenge[name] for name in ("scope", "service") if name in challenge}
    realm = challenge.get("realm", "")
    try:
        status, _, body = _get(f"{realm}?{urlencode(sorted(asked.items()))}", context, headers)
        document = json.loads(body) if body else {}
    except (_RegistryError, ValueError) as error:
        raise _RegistryError(f"Get {quote(address)}: {error}") from error
    if status != _OK:
        raise _RegistryError(f"Get {quote(address)}: {_refusal(status, document)}")
    return document if isinstance(document, dict) else {}


def _refusal(status: int, document: object) -> str:
    """Return what a realm's refusal says."""
    found = document if isinstance(document, dict) else {}
    if found.get("errors"):
        first = found["errors"][0]
        return f"{str(first.get('code', '')).lower().replace('_', ' ')}: {first.get('message', '')}"
    if status == _UNAUTHORIZED and found.get("details"):
        return f"unauthorized: {found['details']}"
    return f"unexpected status code {_named(status)}"


def _get(address: str, context: ssl.SSLContext | None, headers: dict[str, str]) -> tuple[int, str, bytes]:
    """Return status, challenge and body. Raises _RegistryError when there is no answer."""
    asked = urllib.request.Request(
        address, headers={"User-Agent": f"Docker-Client/{VERSION} (linux)", **headers}
    )
    place = urlsplit(address)
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if _is_here(place.hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))  # no proxy stands before this machine
    try:
        with urllib.request.build_opener(*handlers).open(asked, timeout=_BOUND) as answer:
            return answer.status, "", answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("WWW-Authenticate", ""), error.read()
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _RegistryError(
            f"Get {quote(address)}: {_reason(reason, place.hostname, place.port)}"
        ) from error


def _reason(error: object, host: str | None, port: int | None) -> str:
    """Return why there is no answer, as Go says it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"x509: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        # what is no TLS is next to always a server's 400 to the greeting
        plain = error.reason == "WRONG_VERSION_NUMBER"
        return (
            "http: server gave HTTP response to HTTPS client"
            if plain
            else f"remote error: tls: {error.reason}"
        )
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, OSError) and error.strerror:
        return f"dial tcp {host}:{port}: connect: {error.strerror.lower()}"
    return str(error)


def _named(status: int) -> str:
    from http import HTTPStatus  # noqa: PLC0415 - only messages need it

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _note(problem: str) -> None:
    """Say on stderr that an endpoint failed, as docker's log does."""
    text = "Error logging in to endpoint, trying next endpoint"
    if sys.stderr.isatty():
        sys.stderr.write(f"\x1b[36mINFO\x1b[0m[0000] {text:<44} \x1b[36merror\x1b[0m={quote(problem)}\n")
    else:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        zone = "Z" if now.endswith("+0000") else f"{now[-5:-2]}:{now[-2:]}"
        sys.stderr.write(f'time="{now[:-5]}{zone}" level=info msg="{text}" error={quote(problem)}\n')
