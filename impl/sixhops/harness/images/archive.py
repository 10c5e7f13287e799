"""Image archives as files: for `docker load`, and as OCI image layouts. Layers are streamed, never held."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import Mark, UsageError
from sixhops.harness.images.entries import Entry
from sixhops.harness.images.store import uncompressed
from sixhops.harness.images.tar import file_member, member
from sixhops.wire.image import Descriptor, encode, media

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.images.built import BuiltImage

__all__ = ["docker_archive", "oci_archive"]


def docker_archive(built: BuiltImage, path: Path) -> None:
    """Write what `POST /images/load` and `docker load` take: manifest.json, repositories, the config, layer
    tars.

    A list has no such form; the member that fits this machine is written.
    """
    config_name = f"{built.image_id.removeprefix('sha256:')}.json"
    folders = [hashlib.sha256(layer.chain_id.encode()).hexdigest() for layer in built.layers]
    manifest = {
        "Config": config_name,
        "RepoTags": [f"{built.familiar_name}:{tag}" for tag in built.tags],
        "Layers": [f"{folder}/layer.tar" for folder in folders],
    }
    repositories = {built.familiar_name: dict.fromkeys(built.tags, folders[-1])} if folders else {}

    def parts() -> Iterator[bytes]:
        yield from _text(config_name, built.config_bytes)
        for folder, layer in zip(folders, built.layers, strict=True):
            yield from _directory(folder)
            yield from _text(f"{folder}/VERSION", b"1.0")
            with tempfile.TemporaryFile(dir=path.parent) as tar:
                # The header needs the size, which only unpacking tells.
                for piece in uncompressed(built.blobs[layer.digest]):
                    tar.write(piece)
                size = tar.tell()
                tar.seek(0)
                yield from file_member(f"{folder}/layer.tar", size, iter(lambda: tar.read(1 << 16), b""))
        yield from _text("manifest.json", encode([manifest]))
        yield from _text("repositories", encode(repositories))
        yield bytes(1024)

    _write(path, parts())


def oci_archive(built: BuiltImage, path: Path) -> None:
    """Write an OCI image layout as one tar: oci-layout, index.json, blobs. Raises UsageError for schema1
    images."""
    if built.top.media_type == media.DOCKER_SCHEMA1_SIGNED:
        raise UsageError(f"{built.reference} is a schema1 image, and an OCI layout can't hold one")
    entries = [
        Descriptor(
            built.top.media_type,
            built.digest,
            len(built.top.data),
            built.top.platform,
            {"org.opencontainers.image.ref.name": tag},
        ).document()
        for tag in built.tags
    ]

    def parts() -> Iterator[bytes]:
        yield from _text("oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
        yield from _text("index.json", encode({"schemaVersion": 2, "manifests": entries}))
        yield from _directory("blobs")
        yield from _directory("blobs/sha256")
        for manifest in built.manifests:
            yield from _text(f"blobs/sha256/{manifest.digest.removeprefix('sha256:')}", manifest.data)
        for digest, blob in built.blobs.items():
            with blob.open("rb") as file:
                pieces = iter(lambda file=file: file.read(1 << 16), b"")  # type: ignore[misc]  # bound now, on purpose
                yield from file_member(
                    f"blobs/sha256/{digest.removeprefix('sha256:')}", blob.stat().st_size, pieces
                )
        yield bytes(1024)

    _write(path, parts())


def _write(path: Path, parts: Iterator[bytes]) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            for piece in parts:
                file.write(piece)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    Path(file.name).replace(path)


def _text(name: str, data: bytes) -> Iterator[bytes]:
    return file_member(name, len(data), iter((data,)))


def _directory(name: str) -> Iterator[bytes]:
    return member(Entry("dir", name, Mark("archive", 1, 1), 0o755), None)
