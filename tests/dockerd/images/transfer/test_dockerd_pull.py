"""The pull against a registry made in the test: what is asked for, what is printed, what is refused."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.layers import LayerStore
from sixhops.dockerd.images.reference import with_tag_or_digest
from sixhops.dockerd.images.store import ImageStore
from sixhops.dockerd.images.transfer.authorization import Credentials
from sixhops.dockerd.images.transfer.pull import Puller, PullSettings
from sixhops.dockerd.state import State
from sixhops.wire.image import Platform, digest_of, media

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.linux import forkserver

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are unpacked in a chroot")


class Memory:
    """Manifests kept in a dictionary instead of in containerd."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.held: dict[str, str] = {}

    async def read(self, digest: str, domain: str, repository: str) -> bytes | None:
        return self.kept.get(digest)

    async def write(self, digest: str, media_type: str, data: bytes, domain: str, repository: str) -> None:
        self.kept[digest] = data

    async def hold(self, image: str, digest: str) -> None:
        self.held[image] = digest

    async def release(self, image: str) -> None:
        self.held.pop(image, None)


@dataclass
class Registry:
    """One repository, `library/app`, with one image of some layers, and a log of what it was asked for."""

    layers: list[bytes]
    asked: list[str] = field(default_factory=list)
    cut: int | None = None
    spoil: str = ""

    def __post_init__(self) -> None:
        diff_ids = [digest_of(gzip.decompress(layer)) for layer in self.layers]
        self.config = json.dumps(
            {
                "os": "linux",
                "architecture": "amd64",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
        ).encode()
        self.blobs = {digest_of(data): data for data in [self.config, *self.layers]}
        entries = [
            {"mediaType": media.DOCKER_LAYER + ".gzip", "size": len(x), "digest": digest_of(x)}
            for x in self.layers
        ]
        config = {
            "mediaType": media.DOCKER_CONFIG,
            "size": len(self.config),
            "digest": digest_of(self.config),
        }
        document = {
            "schemaVersion": 2,
            "mediaType": media.DOCKER_MANIFEST,
            "config": config,
            "layers": entries,
        }
        self.manifest = json.dumps(document).encode()
        self.digest = digest_of(self.manifest)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path.removeprefix('/v2/library/app/')}")
        kind, _, name = request.path.removeprefix("/v2/library/app/").partition("/")
        if request.path == "/v2/":
            return web.json_response({})
        if kind == "manifests" and name in {"latest", self.digest}:
            headers = {"Docker-Content-Digest": self.digest}
            return web.Response(body=self.manifest, content_type=media.DOCKER_MANIFEST, headers=headers)
        if kind == "blobs" and name in self.blobs:
            return await self.blob(request, name)
        error = {"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": {"Tag": name}}
        return web.json_response({"errors": [error]}, status=404)

    async def blob(self, request: web.Request, name: str) -> web.StreamResponse:
        data = self.blobs[name]
        if name == self.spoil:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = int(request.headers["Range"][6:-1]) if "Range" in request.headers else 0
        response = web.StreamResponse(
            status=206 if start else 200, headers={"Content-Length": str(len(data) - start)}
        )
        await response.prepare(request)
        if self.cut is not None and name == digest_of(self.layers[0]):
            end, self.cut = self.cut, None
            await response.write(data[start:end])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(data[start:])
        return response


def layer(name: str, size: int = 10) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = size
        archive.addfile(info, io.BytesIO(os.urandom(size)))
    return gzip.compress(data.getvalue(), mtime=0)


@dataclass
class Engine:
    """The room under test with everything it stands on."""

    images: ImageStore
    contents: Memory
    forks: forkserver.ForkServer

    def pull(self, registry: Registry, name: str = "app", tag: str = "latest") -> list[dict[str, Any]]:
        """Pull through a mirror; return the progress objects. EngineError as the pull raises it."""
        lines: list[dict[str, Any]] = []

        async def run() -> None:
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", registry.answer)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            settings = PullSettings((), (), Platform("amd64"), "docker/test", retry_delay=0)
            puller = Puller(self.images, self.contents, self.forks, replace(settings))
            reference = with_tag_or_digest(f"127.0.0.1:{port}/library/{name}", tag)
            try:
                await puller.pull(reference, lines.append, Credentials(), "", None)
            finally:
                await runner.cleanup()

        asyncio.run(run())
        return lines


@pytest.fixture
def engine(tmp_path: Path, forks: forkserver.ForkServer) -> Iterator[Engine]:
    state = State(tmp_path / "state.db")
    layers = LayerStore(tmp_path / "overlay2", state)
    yield Engine(ImageStore(state, layers), Memory(), forks)
    layers.close()
    state.close()
    # nothing half made stays, whatever happened
    assert [item.name for item in (tmp_path / "overlay2").iterdir() if item.name.startswith(".")] == []


def statuses(lines: list[dict[str, Any]]) -> list[str]:
    return [line["status"] for line in lines if line["status"] not in {"Downloading", "Extracting"}]


def test_a_cold_pull_asks_and_prints_in_order(engine: Engine) -> None:
    registry = Registry([layer("a")])

    lines = engine.pull(registry)

    assert registry.asked[:3] == ["GET /v2/", "HEAD manifests/latest", f"GET manifests/{registry.digest}"]
    assert sorted(registry.asked[3:]) == sorted(f"GET blobs/{digest}" for digest in registry.blobs)
    assert statuses(lines) == [
        "Pulling from library/app",
        "Pulling fs layer",
        "Verifying Checksum",
        "Download complete",
        "Pull complete",
        f"Digest: {registry.digest}",
        lines[-1]["status"],
    ]
    assert lines[-1]["status"].startswith("Status: Downloaded newer image for 127.0.0.1:")
    assert [image.id for image in engine.images.all()] == [digest_of(registry.config)]
    assert engine.contents.held == {digest_of(registry.config): registry.digest}


def test_a_layer_that_is_here_is_not_asked_for(engine: Engine) -> None:
    shared = layer("a")
    engine.pull(Registry([shared]))
    second = Registry([shared, layer("b")])

    lines = engine.pull(second)

    assert f"GET blobs/{digest_of(shared)}" not in second.asked
    assert statuses(lines)[1:3] == ["Already exists", "Pulling fs layer"]


def test_an_interrupted_layer_goes_on_where_it_broke_off(engine: Engine) -> None:
    registry = Registry([layer("a", 300_000)], cut=100_000)

    engine.pull(registry)

    assert registry.asked.count(f"GET blobs/{digest_of(registry.layers[0])}") == 2
    assert len(engine.images.all()) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("layer", "filesystem layer verification failed for digest {}"),
        ("config", "error pulling image configuration: image config verification failed for digest {}"),
    ],
)
def test_what_is_not_its_digest_is_refused(engine: Engine, spoil: str, message: str) -> None:
    registry = Registry([layer("a", 5000)])
    registry.spoil = digest_of(registry.layers[0] if spoil == "layer" else registry.config)

    with pytest.raises(EngineError) as caught:
        engine.pull(registry)

    assert (caught.value.status, caught.value.message) == (500, message.format(registry.spoil))
    assert engine.images.all() == []


def test_a_tag_that_the_registry_does_not_have(engine: Engine) -> None:
    with pytest.raises(
        EngineError,
        match=r"^manifest for .*/library/app:nosuch not found: manifest unknown: manifest unknown$",
    ) as caught:
        engine.pull(Registry([layer("a")]), tag="nosuch")

    assert caught.value.status == 404


def test_layers_that_the_configuration_does_not_name_are_refused(engine: Engine) -> None:
    registry = Registry([layer("a")])
    other = layer("b")
    registry.blobs[digest_of(other)] = other
    registry.manifest = registry.manifest.replace(
        digest_of(registry.layers[0]).encode(), digest_of(other).encode()
    )
    registry.manifest = registry.manifest.replace(
        f'"size": {len(registry.layers[0])}'.encode(), f'"size": {len(other)}'.encode()
    )
    registry.digest = digest_of(registry.manifest)

    with pytest.raises(EngineError, match="layers from manifest don't match image configuration"):
        engine.pull(registry)
