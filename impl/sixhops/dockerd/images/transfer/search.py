"""Search: the question goes to a registry's old index, `/v1/search`, whichever registry the term begins with.

As dockerd 20.10 has it: a term with a host before its first slash is for that registry, any other for Docker Hub's index.
Registries of today have no such index, and their 404 is what the user is told.
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from multidict import CIMultiDict

from sixhops.dockerd.api import gojson
from sixhops.dockerd.errors import invalid, system
from sixhops.dockerd.images.transfer.authorization import Authorizer
from sixhops.dockerd.images.transfer.endpoints import Endpoint, is_insecure
from sixhops.dockerd.images.transfer.refusals import RemoteError, go_words
from sixhops.dockerd.images.transfer.remote import get, open_session, ping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.dockerd.images.transfer.authorization import Credentials
    from sixhops.dockerd.images.transfer.pull import PullSettings

__all__ = ["check_filters", "passes", "search"]

_HUB: Final = "index.docker.io"
_HUB_NAMES: Final = frozenset({"docker.io", _HUB})
_FILTERS: Final = frozenset({"is-automated", "is-official", "stars"})
_MOST: Final = 100
_LONGEST_ANSWER: Final = 16 << 20
_OK: Final = 200
_MEMBERS: Final[dict[str, Any]] = {
    "star_count": 0,
    "is_official": False,
    "name": "",
    "is_automated": False,
    "description": "",
}


def check_filters(filters: Mapping[str, Sequence[str]]) -> None:
    """Raise EngineError 400 for filters that a search does not have."""
    for key in filters:
        if key not in _FILTERS:
            raise invalid(f"Invalid filter '{key}'")
    for key in ("is-automated", "is-official"):
        values = filters.get(key, ())
        if values and list(values) not in (["true"], ["false"]):
            raise invalid(f"Invalid filter '{key}=[{' '.join(values)}]'")
    for value in filters.get("stars", ()):
        if not re.fullmatch(r"[+-]?\d+", value):
            raise invalid(f"Invalid filter 'stars={value}'")


def passes(found: Mapping[str, Any], filters: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether a result is one that the filters let through."""
    for key, member in (("is-automated", "is_automated"), ("is-official", "is_official")):
        if filters.get(key) and found[member] is not (list(filters[key]) == ["true"]):
            return False
    return bool(found["star_count"] >= max([0, *(int(value) for value in filters.get("stars", ()))]))


async def search(
    term: str,
    limit: int,
    settings: PullSettings,
    login: Credentials,
    agent: str,
    meta: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return what a registry finds for a term. Raises EngineError."""
    if "://" in term:
        raise system('Invalid repository name (ex: "registry.domain.tld/myrepos")')
    host, name = _split(term)
    insecure = host != _HUB and is_insecure(host, settings.insecure)
    try:
        opened = open_session(Endpoint(f"https://{host}", verify=not insecure))
    except RemoteError as error:
        raise system(str(error)) from error
    async with opened as session:
        headers = CIMultiDict({"User-Agent": agent, "Accept-Encoding": "gzip"})
        headers.extend(meta)
        base = f"https://{host}/v1/"
        if host != _HUB:
            base = await _ping(session, host, headers, insecure=insecure)
        if not 1 <= limit <= _MOST:
            raise invalid(f"Limit {limit} is outside the range of [1, {_MOST}]")
        headers["X-Docker-Token"] = "true"
        url = f"{base}search?q={urllib.parse.quote_plus(name)}&n={limit}"
        try:
            authorizer = await _authorizer(session, base, login, agent, headers)
            async with get(session, url, headers, authorizer) as response:
                if response.status != _OK:
                    raise system(f"Unexpected status code {response.status}")
                data = await response.content.read(_LONGEST_ANSWER)
        except RemoteError as error:
            raise system(str(error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise system(go_words("Get", url, error)) from error
    return _results(data)


async def _authorizer(
    session: aiohttp.ClientSession, base: str, login: Credentials, agent: str, headers: CIMultiDict[str]
) -> Authorizer:
    """Return who asks: by a token when there is an identity token, otherwise by name and password. Raises RemoteError."""
    authorizer = Authorizer(login, agent, ["registry:catalog:search"], offline=True)
    if login.identity_token and login.username:
        endpoint = Endpoint(base.removesuffix("/v1/"))
        await ping(session, endpoint, authorizer, CIMultiDict({"User-Agent": agent}))
    elif login.username:
        pair = f"{login.username}:{login.password}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return authorizer


def _split(term: str) -> tuple[str, str]:
    first, slash, rest = term.partition("/")
    if not slash or not (any(mark in first for mark in ".:") or first == "localhost"):
        return _HUB, term.removeprefix("library/")
    return (_HUB, rest.removeprefix("library/")) if first in _HUB_NAMES else (first, rest)


async def _ping(
    session: aiohttp.ClientSession, host: str, headers: CIMultiDict[str], *, insecure: bool
) -> str:
    """Return the address of a registry's old API, once something has answered there. Raises EngineError 500."""
    failures: list[str] = []
    for scheme in ("https", "http"):
        url = f"{scheme}://{host}/v1/_ping"
        try:
            async with session.get(url, headers=headers):
                return f"{scheme}://{host}/v1/"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failures.append(go_words("Get", url, error))
        if not insecure:
            raise system(
                f"invalid registry endpoint https://{host}/v1/: {failures[0]}. If this private registry supports only "
                f"HTTP or HTTPS with an unknown CA certificate, please add `--insecure-registry {host}` to the daemon's "
                "arguments. In the case of HTTPS, if you have access to the registry's CA certificate, no need for the "
                f"flag; simply place the CA certificate at /etc/docker/certs.d/{host}/ca.crt"
            )
    raise system(
        f'invalid registry endpoint "http://{host}/v1/". HTTPS attempt: {failures[0]}. HTTP attempt: {failures[1]}'
    )


def _results(data: bytes) -> list[dict[str, Any]]:
    try:
        document = gojson.decode(data)
    except gojson.GoJsonError as error:
        raise system(f"error decoding registry search results: {error}") from error
    found = document.get("results") if isinstance(document, dict) else None
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    return [{member: entry.get(member, default) for member, default in _MEMBERS.items()} for entry in entries]
