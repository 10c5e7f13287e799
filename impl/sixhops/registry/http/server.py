"""Routes, and what happens to every request: clean paths, authentication, headers, errors.

aiohttp's low-level server is used without its application layer, which costs more per request than a
manifest does.
"""

from __future__ import annotations

import logging
import posixpath
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from sixhops.registry.access.token_requests import give_token
from sixhops.registry.access.tokens import Access, TokenService
from sixhops.registry.http import lists, pull, push
from sixhops.registry.http.calls import Call, Registry, decorate, empty, refuse
from sixhops.registry.http.errors import Refusal
from sixhops.registry.mirroring.mirror import Mirror
from sixhops.registry.mirroring.remote import Remote
from sixhops.registry.names import is_repository
from sixhops.registry.storage.blobs import BlobStore
from sixhops.registry.storage.files import Staging
from sixhops.registry.storage.manifests import ManifestStore
from sixhops.registry.storage.referrers import Referrers
from sixhops.registry.storage.upkeep import Upkeep
from sixhops.registry.storage.uploads import UploadStore
from sixhops.wire.image.layout import Layout

if TYPE_CHECKING:
    from sixhops.registry.access.auth import PasswordFile
    from sixhops.registry.settings.config import Config

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

_log = logging.getLogger("sixhops.registry")
_READ_BUFFER: Final = 1 << 18
HEAD_SECONDS: Final = 75.0
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

CATALOG: Final[dict[str, Handler]] = {"GET": lists.list_repositories}
TAGS: Final[dict[str, Handler]] = {"GET": lists.list_tags}
REFERRERS: Final[dict[str, Handler]] = {"GET": lists.list_referrers}
MANIFEST: Final[dict[str, Handler]] = {
    "GET": pull.get_manifest,
    "HEAD": pull.get_manifest,
    "PUT": push.put_manifest,
    "DELETE": push.delete_manifest,
}
BLOB: Final[dict[str, Handler]] = {"GET": pull.get_blob, "HEAD": pull.get_blob, "DELETE": push.delete_blob}
UPLOAD: Final[dict[str, Handler]] = {
    "GET": push.upload_status,
    "HEAD": push.upload_status,
    "POST": push.start_upload,
    "PATCH": push.continue_upload,
    "PUT": push.finish_upload,
    "DELETE": push.cancel_upload,
}


class Service:
    """The registry as an aiohttp request handler. Make it inside of the event loop; `close` when done."""

    def __init__(
        self, config: Config, users: PasswordFile | None = None, tokens: TokenService | None = None
    ) -> None:
        layout = Layout(config.root)
        self._staging = Staging(layout.staging)
        blobs = BlobStore(layout, self._staging)
        manifests = ManifestStore(layout, self._staging, blobs)
        mirror = None
        if config.remote:
            remote = Remote(config.remote, config.remote_user, config.remote_password)
            mirror = Mirror(remote, self._staging, blobs, manifests)
        uploads, referrers = UploadStore(layout, blobs), Referrers(layout, self._staging, manifests)
        self.registry = Registry(config, blobs, manifests, uploads, referrers, mirror)
        self._upkeep = Upkeep(config, layout, self.registry.uploads)
        self._users = users
        self._tokens = tokens
        self._refused = _WRITES if config.read_only else frozenset[str]()

    def server(self, *, head_seconds: float = HEAD_SECONDS) -> web.Server:
        """Return the protocol factory to listen with.

        A connection that sends no whole head for `head_seconds` is closed.
        """
        return web.Server(
            self.handle,
            access_log=None,
            keepalive_timeout=head_seconds,
            read_bufsize=_READ_BUFFER,
            # A digest names the bytes that travel, and nobody shall make us unpack a bomb.
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Finish writes and remove unfinished files that no upload needs."""
        await self._upkeep.close()
        if self.registry.mirror is not None:
            await self.registry.mirror.close()
        self.registry.uploads.close()
        self._staging.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; what is returned after the client has left goes nowhere."""
        started = time.monotonic()
        response: web.StreamResponse
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = refuse(refusal)
        except ConnectionError as error:
            _log.debug("%s %s: the client has left: %s", request.method, request.raw_path, error)
            if request.transport is not None:
                request.transport.abort()
            response = empty(400)
            response.force_close()
        except Exception:  # noqa: BLE001 - a defect of ours is logged and answered; the server stays up
            _log.exception("%s %s failed", request.method, request.path)
            response = refuse(Refusal("UNKNOWN", detail={}))
        if not response.prepared:
            decorate(self.registry.config, request, response)
            if request.headers.get("Expect") and not request.content.is_eof():
                # The client waits for our word before it sends the body; it won't get it, so the body may
                # never come.
                response.force_close()
        if self.registry.config.access_log:
            took = (time.monotonic() - started) * 1000
            _log.info(
                "%s %s %d %.1fms",
                request.method,
                request.raw_path,
                response.status,
                took,
            )
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/":
            return empty(200, {"Cache-Control": "no-cache"})
        if not self._upkeep.healthy:
            raise Refusal("UNAVAILABLE", detail="health check failed: the storage can't be used")
        clean = _clean(path)
        if clean != path:
            return empty(301, {"Location": _redirect(request, clean)})
        prefix = self.registry.config.prefix
        if not path.startswith(prefix):
            return _page(404, "404 page not found\n")
        path = path.removeprefix(prefix)
        if path == "/token" and self._tokens is not None:
            return await give_token(self._tokens, Call(self.registry, request))
        if path == "/v2/":
            await self._authorize(request, "", "")
            return pull.ping()
        found = _route(path)
        if found is None:
            return _page(404, "404 page not found\n")
        if isinstance(found, str):
            return _moved(request, prefix + found)
        methods, name, reference = found
        if name and not is_repository(name):
            raise Refusal("NAME_INVALID", detail={"name": name[:255]})
        await self._authorize(request, name, request.rel_url.query.get("from", ""))
        if self.registry.mirror is not None and request.method in _WRITES and request.method in methods:
            raise Refusal("UNSUPPORTED")
        allowed = sorted(methods.keys() - self._refused)
        if request.method not in allowed:
            headers = {"Allow": ", ".join(allowed)}
            return (
                empty(200, headers)
                if request.method == "OPTIONS"
                else _page(405, "Method not allowed\n", headers)
            )
        return await methods[request.method](Call(self.registry, request, name, reference))

    async def _authorize(self, request: web.BaseRequest, name: str, source: str) -> None:
        needed = _access(request, name, source)
        detail = [
            {"Type": item.type, "Class": "", "Name": item.name, "Action": item.action} for item in needed
        ]
        header = request.headers.get("Authorization", "")
        if self._tokens is not None:
            reason = self._tokens.refusal(header, needed)
            if reason is not None:
                text = self._tokens.challenge(Call(self.registry, request).url("/token"), needed, reason)
                raise Refusal("UNAUTHORIZED", detail=detail or None, headers={"WWW-Authenticate": text})
        if self._users is None:
            return
        if await self._users.user(header) is None:
            challenge = {"WWW-Authenticate": f'Basic realm="{self._users.realm}"'}
            raise Refusal("UNAUTHORIZED", detail=detail or None, headers=challenge)


def _access(request: web.BaseRequest, name: str, source: str) -> list[Access]:
    """Return the rights that a request needs, as docker-registry asks for them."""
    if not name and request.path.endswith("/v2/_catalog"):
        return [Access("registry", "catalog", "*")]
    if not name:
        return []
    actions = {"GET": ["pull"], "HEAD": ["pull"], "DELETE": ["delete"]}.get(request.method, ["pull", "push"])
    found = [Access("repository", name, action) for action in actions]
    if source:
        found.append(Access("repository", source, "pull"))
    return found


def _route(path: str) -> tuple[dict[str, Handler], str, str] | str | None:
    """Return (methods, repository, reference), the path to redirect to, or None for no such page."""
    if not path.startswith("/v2/"):
        return "/v2/" if path == "/v2" else None
    parts = path[4:].split("/")
    if parts[0] == "_catalog" and len(parts) <= 2:
        return (CATALOG, "", "") if len(parts) == 1 else "/v2/_catalog" if not parts[1] else None
    if parts[-3:] == ["tags", "list", ""]:
        return path[:-1]
    if len(parts) >= 3 and parts[-2:] == ["tags", "list"]:
        return TAGS, "/".join(parts[:-2]), ""
    if len(parts) >= 4 and parts[-3:-1] == ["blobs", "uploads"]:
        return UPLOAD, "/".join(parts[:-3]), parts[-1]
    if len(parts) < 3 or not parts[-1]:
        return None
    kind, name, reference = parts[-2], "/".join(parts[:-2]), parts[-1]
    if kind == "blobs" and reference == "uploads":
        return f"{path}/"
    methods = {"manifests": MANIFEST, "blobs": BLOB, "referrers": REFERRERS}.get(kind)
    return None if methods is None else (methods, name, reference)


def _clean(path: str) -> str:
    """Return the path that a browser would mean; docker-registry redirects all others there."""
    if not path.startswith("/"):
        return path
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean


def _redirect(request: web.BaseRequest, path: str) -> str:
    query = request.rel_url.raw_query_string
    return quote(path, safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")


def _moved(request: web.BaseRequest, path: str) -> web.Response:
    location = _redirect(request, path)
    if request.method not in {"GET", "HEAD"}:
        return empty(301, {"Location": location})
    body = f'<a href="{location}">Moved Permanently</a>.\n\n'.encode()
    return web.Response(
        status=301, body=body, headers={"Location": location, "Content-Type": "text/html; charset=utf-8"}
    )


def _page(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    plain = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=text.encode(), headers=plain | (headers or {}))
