"""The push against a registry made in the test: what is asked for in which order, and who is said to ask."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.archive.importing import ImportRequest, import_image
from sixhops.dockerd.images.layers import LayerStore
from sixhops.dockerd.images.reference import parse
from sixhops.dockerd.images.store import ImageStore
from sixhops.dockerd.images.transfer.authorization import Credentials
from sixhops.dockerd.images.transfer.pull import PullSettings
from sixhops.dockerd.images.transfer.push import Pusher
from sixhops.dockerd.state import State
from sixhops.wire.image import Platform, digest_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sixhops.linux import forkserver

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are unpacked in a chroot")

ME = Credentials("me", "secret")


@dataclass
class Registry:
    """Any repositories, with tokens from a server of its own."""

    asked: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    refusals: list[web.Response] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            self.scopes.append(request.query.getall("scope")[-1])
            return web.json_response({"token": "T", "expires_in": 300})
        if request.path == "/v2/":
            realm = f'Bearer realm="http://{request.host}/token",service="here"'
            return web.Response(status=401, headers={"WWW-Authenticate": realm})
        assert request.headers["Authorization"] == "Bearer T"
        repository, _, rest = request.path.removeprefix("/v2/").partition("/blobs/")
        self.asked.append(f"{request.method} {rest.partition('/')[0].partition(':')[0]}")
        if "/manifests/" in request.path:
            self.manifests[request.path.rpartition("/")[2]] = await request.read()
            return web.Response(status=201)
        if request.method == "HEAD":
            data = self.blobs.get((repository, rest))
            headers = {"Content-Length": str(len(data or b""))}
            return web.Response(status=404 if data is None else 200, headers=headers)
        return await self.upload(request, repository)

    async def upload(self, request: web.Request, repository: str) -> web.StreamResponse:
        if request.method == "POST":
            if self.refusals:
                return self.refusals.pop()
            source, digest = request.query.get("from", ""), request.query.get("mount", "")
            if (source, digest) in self.blobs:
                self.blobs[repository, digest] = self.blobs[source, digest]
                return web.Response(status=201)
            name = f"u{len(self.uploads)}"
            return web.Response(
                status=202, headers={"Location": f"/v2/{repository}/blobs/uploads/{name}?a=b"}
            )
        if request.method == "PATCH":
            self.uploads[request.path] = await request.read()
            return web.Response(status=202, headers={"Location": str(request.rel_url)})
        data = self.uploads.pop(request.path)
        assert digest_of(data) == request.query["digest"]
        assert request.query["a"] == "b"
        self.blobs[repository, request.query["digest"]] = data
        return web.Response(status=201)


@dataclass
class Engine:
    store: ImageStore
    forks: forkserver.ForkServer
    registry: Registry
    lines: list[dict[str, Any]] = field(default_factory=list)

    def push(self, *names: str, make: bool = True) -> None:
        """Push each name below the registry's address; the image is made first."""

        async def run() -> None:
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", self.registry.answer)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host = f"127.0.0.1:{runner.addresses[0][1]}"
            settings = PullSettings((), (), Platform("amd64"), "docker/test", retry_delay=0)
            try:
                image = await self.image() if make else None
                for name in names:
                    reference = parse(f"{host}/{name}")
                    if image is not None:
                        self.store.name(reference, image)
                    await Pusher(self.store, settings).push(
                        reference, self.lines.append, ME, "docker/test", {}
                    )
            finally:
                await runner.cleanup()

        asyncio.run(run())

    async def image(self) -> str:
        async def body() -> AsyncIterator[bytes]:
            data = io.BytesIO()
            with tarfile.open(fileobj=data, mode="w") as archive:
                info = tarfile.TarInfo("file")
                info.size = 5
                archive.addfile(info, io.BytesIO(b"bytes"))
            yield data.getvalue()

        request = ImportRequest("-", "", (), "amd64")
        return (await import_image(request, body(), self.store, self.forks, self.lines.append)).id

    @property
    def statuses(self) -> list[str]:
        return [str(line["status"]).partition(":")[0] for line in self.lines if "status" in line]


@pytest.fixture
def engine(tmp_path: Path, forks: forkserver.ForkServer) -> Iterator[Engine]:
    state = State(tmp_path / "state.db")
    layers = LayerStore(tmp_path / "overlay2", state)
    yield Engine(ImageStore(state, layers), forks, Registry())
    layers.close()
    state.close()


def test_everything_is_sent_to_who_has_nothing(engine: Engine) -> None:
    engine.push("a/b:one")

    assert engine.registry.asked == [
        "POST uploads",
        "PATCH uploads",
        "PUT uploads",
        "HEAD sha256",
        "POST uploads",
        "PATCH uploads",
        "PUT uploads",
        "PUT ",
    ]
    assert engine.registry.scopes == ["repository:a/b:push,pull"]
    manifest = json.loads(engine.registry.manifests["one"])
    (layer,) = manifest["layers"]
    assert layer["size"] == len(engine.registry.blobs["a/b", layer["digest"]])
    assert ("a/b", manifest["config"]["digest"]) in engine.registry.blobs
    assert engine.lines[-1]["aux"]["Digest"] == digest_of(engine.registry.manifests["one"])


def test_a_second_repository_gets_the_layer_mounted(engine: Engine) -> None:
    engine.push("a/b:one", "a/c:one")

    assert "Mounted from a/b" in engine.statuses
    assert engine.registry.scopes[-1] == "repository:a/b:pull"


def test_a_second_push_sends_nothing(engine: Engine) -> None:
    engine.push("a/b:one", "a/b:two")

    assert engine.statuses.count("Pushed") == 1
    assert engine.statuses.count("Layer already exists") == 1


def test_an_upload_that_fails_is_tried_again(engine: Engine) -> None:
    engine.registry.refusals += [web.Response(status=500), web.Response(status=502)]

    engine.push("a/b:one")

    assert engine.registry.asked[:3] == ["POST uploads"] * 3
    assert "Pushed" in engine.statuses


def test_what_is_refused_is_not_tried_again(engine: Engine) -> None:
    error = {"errors": [{"code": "DENIED", "message": "not you"}]}
    engine.registry.refusals.append(web.json_response(error, status=403))

    with pytest.raises(EngineError, match=r"^denied: not you$"):
        engine.push("a/b:one")

    assert engine.registry.asked == ["POST uploads"]
    assert engine.registry.manifests == {}
