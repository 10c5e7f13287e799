"""Archives of images, out and in: docker save, docker load, and archives that nobody should have made."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.images.archive import saving
from sixhops.dockerd.images.archive.loading import Loader
from sixhops.dockerd.images.layers import LayerStore
from sixhops.dockerd.images.reference import parse
from sixhops.dockerd.images.store import ImageStore
from sixhops.dockerd.state import State
from sixhops.wire.image import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.linux import forkserver

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are unpacked in a chroot")


@dataclass
class Engine:
    store: ImageStore
    forks: forkserver.ForkServer
    directory: Path
    lines: list[dict[str, Any]] = field(default_factory=list)

    def load(self, data: bytes, *, quiet: bool = True) -> list[str]:
        path = self.directory / "archive.tar"
        path.write_bytes(data)
        loader = Loader(self.store, self.forks, self.lines.append, quiet=quiet)
        asyncio.run(loader.load(path))
        return [image.id for image in loader.loaded]

    def refused(self, data: bytes) -> str:
        with pytest.raises(EngineError) as caught:
            self.load(data)
        assert caught.value.status == 500
        assert self.store.layers.sizes().keys() <= {image.chain_id for image in self.store.all()}
        return caught.value.message


@pytest.fixture
def engine(tmp_path: Path, forks: forkserver.ForkServer) -> Iterator[Engine]:
    state = State(tmp_path / "state.db")
    layers = LayerStore(tmp_path / "overlay2", state)
    yield Engine(ImageStore(state, layers), forks, tmp_path)
    layers.close()
    state.close()


def tar(*entries: tuple[str, bytes | str | None]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            elif content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
    return data.getvalue()


LAYER = tar(("file", b"content"))


def config(**members: Any) -> bytes:
    root = {"type": "layers", "diff_ids": [digest_of(LAYER)]}
    return json.dumps(
        {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": root} | members
    ).encode()


def manifest(**members: Any) -> bytes:
    return json.dumps([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]} | members]).encode()


def archive(**members: Any) -> bytes:
    return tar(("manifest.json", manifest(**members)), ("c.json", config()), ("l.tar", LAYER))


def test_what_is_saved_is_loaded_again_and_saved_the_same(engine: Engine) -> None:
    (identity,) = engine.load(archive())
    first, second = io.BytesIO(), io.BytesIO()
    saving.write(saving.plan(["app:1"], engine.store), engine.store, first)
    engine.store.unname(parse("app:1"))
    engine.store.remove(identity)
    assert engine.store.layers.sizes() == {}

    assert engine.load(first.getvalue(), quiet=False) == [identity]
    saving.write(saving.plan(["app"], engine.store), engine.store, second)

    assert second.getvalue() == first.getvalue()
    assert engine.lines[-1] == {"stream": "Loaded image: app:1\n"}
    assert {"Loading layer"} == {line["status"] for line in engine.lines if "status" in line}


def test_a_layer_may_be_a_link_inside_the_archive(engine: Engine) -> None:
    data = tar(
        ("manifest.json", manifest(Layers=["b/layer.tar"])),
        ("c.json", config()),
        ("a/layer.tar", LAYER),
        ("b/layer.tar", "../a/layer.tar"),
    )

    assert len(engine.load(data)) == 1


def test_the_old_form_has_an_image_for_each_layer(engine: Engine) -> None:
    upper = tar(("two", b"2"))
    engine.load(
        tar(
            ("aa/json", json.dumps({"id": "aa", "container_config": {"Cmd": ["x", "y"]}}).encode()),
            ("aa/layer.tar", LAYER),
            ("bb/json", json.dumps({"id": "bb", "parent": "aa", "comment": "c"}).encode()),
            ("bb/layer.tar", upper),
            ("repositories", json.dumps({"old": {"1": "bb"}}).encode()),
        )
    )

    image = engine.store.resolve("old:1")

    assert image.diff_ids == [digest_of(LAYER), digest_of(upper)]
    assert [step.get("created_by", "") for step in image.config["history"]] == ["x y", ""]
    assert engine.store.by_id(image.parent) is not None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive(Layers=[]), "invalid manifest, layers length mismatch: expected 0, got 1"),
        (archive(RepoTags=["UP"]), "invalid reference format: repository name must be lowercase"),
        (archive(RepoTags=["up"]), 'invalid tag "up"'),
        (tar(("manifest.json", b"{")), "unexpected EOF"),
        (
            tar(("manifest.json", b"{}")),
            "json: cannot unmarshal object into Go value of type []tarexport.manifestItem",
        ),
        (tar(("manifest.json", manifest()), ("c.json", b"{}")), "invalid image JSON, no RootFS key"),
        (
            tar(("manifest.json", manifest()), ("c.json", config(os="windows")), ("l.tar", LAYER)),
            "cannot load windows image on linux",
        ),
        (
            tar(("manifest.json", manifest()), ("c.json", config()), ("l.tar", b"x" * 1000)),
            "Error processing tar file(exit status 1): archive/tar: invalid tar header",
        ),
        (b"x" * 2000, "Error processing tar file(exit status 1): archive/tar: invalid tar header"),
        (archive()[:1100], "Error processing tar file(exit status 1): unexpected EOF"),
        (tar(("repositories", b'{"a":{"1":"b"}}')), "invalid target ID: b"),
    ],
)
def test_what_can_not_be_loaded(engine: Engine, data: bytes, message: str) -> None:
    assert engine.refused(data) == message


def test_another_layer_than_the_configuration_says(engine: Engine) -> None:
    wrong = tar(("other", b"1"))

    message = engine.refused(tar(("manifest.json", manifest()), ("c.json", config()), ("l.tar", wrong)))

    assert message == (f'invalid diffID for layer 0: expected "{digest_of(LAYER)}", got "{digest_of(wrong)}"')


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/passwd", "link"])
def test_no_path_leads_out_of_the_archive(engine: Engine, path: str) -> None:
    data = tar(("manifest.json", manifest(Config=path)), ("link", "/etc/passwd"), ("l.tar", LAYER))

    message = engine.refused(data)

    assert "no such file or directory" in message or "evalSymlinksInScope" in message


def test_links_that_go_round_lead_nowhere(engine: Engine) -> None:
    data = tar(("manifest.json", manifest(Config="a")), ("a", "b"), ("b", "a"))

    assert engine.refused(data).endswith("/a: no such file or directory")
