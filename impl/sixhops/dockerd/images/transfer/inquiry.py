"""Questions to a registry that bring no image: does it take these credentials, and what is behind a name.

As dockerd 20.10 asks them (moby, registry/auth.go and api/server/router/distribution).
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from multidict import CIMultiDict

from sixhops.dockerd import gourl
from sixhops.dockerd.api import gojson
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.transfer.authorization import Authorizer
from sixhops.dockerd.images.transfer.endpoints import endpoints_for
from sixhops.dockerd.images.transfer.refusals import NotAuthorized, RemoteError
from sixhops.dockerd.images.transfer.remote import Remote, Unusable, get, open_session, ping
from sixhops.wire.image import (
    DocumentError,
    SignatureError,
    digest_of,
    media,
    parse_index,
    parse_manifest,
    verify_pretty,
)

if TYPE_CHECKING:
    from sixhops.dockerd.images.transfer.authorization import Credentials
    from sixhops.dockerd.images.transfer.pull import PullSettings

__all__ = ["describe", "log_in"]

_HUB: Final = "index.docker.io"
_OK: Final = 200
#: Which statuses the codes of a registry's refusals have at the Engine API.
_STATUSES: Final = {
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
    "UNAVAILABLE": 503,
    "MANIFEST_UNKNOWN": 404,
    "NAME_UNKNOWN": 404,
    "BLOB_UNKNOWN": 404,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "TAG_INVALID": 400,
    "DIGEST_INVALID": 400,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNVERIFIED": 400,
    "SIZE_INVALID": 400,
}
_CERTIFICATES: Final = "/etc/docker/certs.d"


async def log_in(address: str, credentials: Credentials, settings: PullSettings, agent: str) -> str:
    """Show credentials to a registry; return the identity token that it gives for them, "" for none.

    Raises EngineError: 401 when its token server refuses, 400 for an address that is none, else 500.
    """
    written = _host(address)
    host = written.removesuffix(":")
    if not host:
        raise system(f'Get "https:{"//" if written else ""}/v2/": http: no Host in request URL')
    failure: RemoteError | None = None
    for endpoint in await asyncio.to_thread(endpoints_for, host, (), settings.insecure):
        try:
            opened = open_session(endpoint)
        except RemoteError as error:
            raise system(str(error)) from error
        async with opened as session:
            authorizer = Authorizer(replace(credentials, registry_token=""), agent, offline=True)
            headers = CIMultiDict({"User-Agent": agent, "Accept-Encoding": "gzip", "Connection": "close"})
            url = f"{endpoint.url}/v2/"
            try:
                await ping(session, endpoint, authorizer, headers.copy())
                async with get(session, url, headers, authorizer) as response:
                    if response.status == _OK:
                        return authorizer.identity_token
                    text = f"failed with status: {response.status} {response.reason}"
                    raise system(f"login attempt to {url} {text}")
            except Unusable as error:
                failure = error
            except NotAuthorized as error:
                raise EngineError(401 if error.reason.code == "UNAUTHORIZED" else 500, str(error)) from error
            except RemoteError as error:
                raise system(str(error)) from error
    raise system(str(failure))


async def describe(text: str, credentials: Credentials, settings: PullSettings, agent: str) -> dict[str, Any]:
    """Return GET /distribution/{name}/json: the manifest's descriptor, and for which platforms it is.

    Raises EngineError with the status of what the registry has refused, 400 for a name that is none.
    """
    if re.fullmatch(r"(?:sha256:)?[0-9a-f]{64}", text):
        raise system("no manifest found for full image ID")
    wanted = references.parse(text)
    if wanted.path == "library/scratch" and wanted.domain == references.DEFAULT_DOMAIN:
        raise invalid("'scratch' is a reserved name")
    wanted = wanted.or_latest()
    failure: RemoteError | None = None
    for endpoint in await asyncio.to_thread(
        endpoints_for, wanted.domain, settings.mirrors, settings.insecure
    ):
        try:
            async with Remote(endpoint, wanted, credentials, agent) as remote:
                return await _described(remote, wanted)
        except Unusable as error:
            failure = error
        except RemoteError as error:
            raise EngineError(_STATUSES.get(error.code, 500), str(error)) from error
    raise system(str(failure))


async def _described(remote: Remote, wanted: references.Reference) -> dict[str, Any]:
    digest, size = wanted.digest, 0
    if not digest:
        found = await remote.head_manifest(wanted.tag)
        digest = found or ""
    data, kind = await remote.get_manifest(digest or wanted.tag)
    if not digest:
        digest = digest_of(data)
    size = size or len(data)
    return {
        "Descriptor": {"mediaType": kind, "digest": digest, "size": size},
        "Platforms": await _platforms(remote, data, kind) or None,
    }


async def _platforms(remote: Remote, data: bytes, kind: str) -> list[dict[str, Any]]:
    """Return for which platforms a manifest is; dockerd does not know it of a single OCI image."""
    try:
        if kind in media.INDEXES:
            entries = parse_index(data, kind).manifests
            return [entry.platform.document() for entry in entries if entry.platform is not None]
        if kind == media.DOCKER_MANIFEST:
            return await _platform_of(remote, parse_manifest(data, kind).config.digest)
        if kind in {media.DOCKER_SCHEMA1, media.DOCKER_SCHEMA1_SIGNED}:
            payload = gojson.decode(verify_pretty(data)[0])
            return [{"architecture": payload.get("architecture") or "", "os": "linux"}]
    except (DocumentError, SignatureError, gojson.GoJsonError) as error:
        raise system(str(error)) from error
    return []


async def _platform_of(remote: Remote, config: str) -> list[dict[str, Any]]:
    """Return what a configuration says; one that can't be had says nothing."""
    data = b""
    try:
        async for piece in remote.read_blob(config):
            data += piece
        document = gojson.decode_whole(data)
    except (RemoteError, gojson.GoJsonError):
        return []
    members = ("architecture", "os", "os.version", "os.features", "variant")
    found = {member: document[member] for member in members if document.get(member)}
    if not (found.get("os") or found.get("architecture")):
        return []
    return [{"architecture": "", "os": ""} | found]


def _host(address: str) -> str:
    """Return the host of a server's address, with its port. Raises EngineError 400."""
    if not address:
        return _HUB
    url = address if address.startswith(("https://", "http://")) else f"https://{address}"
    try:
        host = gourl.parse(url).host
    except gourl.GoUrlError as error:
        raise invalid(f"unable to parse server address: {error}") from error
    certificates = f"{_CERTIFICATES}/{host}"
    try:
        Path(certificates).stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        # dockerd looks there for the registry's certificates, so what can't be a file's name can't be a registry's
        raise invalid(f"open {certificates}: {os.strerror(error.errno or 0).lower()}") from error
    return host
