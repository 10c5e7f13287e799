"""Images as one tar: what `docker save` writes, and what `docker load` reads (Docker's form, or an OCI image layout).

An archive is read from a file, since its table of contents may stand at its end. Nothing of it is believed: layers are
verified against the configuration, and their entries unpacked by the same chrooted worker as those of a pull.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from sixhops.dockerd.errors import system
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.blob import BlobSink, VerificationError
from sixhops.dockerd.images.progress import Meter
from sixhops.wire.image import (
    DocumentError,
    chain_ids,
    digest_of,
    media,
    parse_config,
    parse_index,
    parse_manifest,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sixhops.dockerd.images.progress import Emit
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.linux.forkserver import ForkServer

__all__ = ["Archived", "load", "save"]

_PIECE = 1 << 20
_LONGEST_DOCUMENT = 32 << 20
_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Archived:
    """One image of an archive: its configuration, the members with its layers (lowest first), and its names."""

    config: bytes
    layers: tuple[str, ...]
    names: tuple[Reference, ...]


async def load(
    path: Path, store: ImageStore, forks: ForkServer, emit: Emit, *, quiet: bool
) -> list[tuple[Image, tuple[Reference, ...]]]:
    """Bring every image of the archive at `path` into the store, with its names; return them.

    Raises EngineError 500 for a file that is no archive, or whose layers do not fit its configurations.
    """
    try:
        with tarfile.open(path) as tar:
            found = []
            for archived in await asyncio.to_thread(_contents, tar):
                image = await _load_image(tar, archived, store, forks, emit, quiet=quiet)
                for name in archived.names:
                    _name(store, name, image, emit)
                found.append((image, archived.names))
            return found
    except (tarfile.TarError, EOFError) as error:
        raise system("Error processing tar file(exit status 1): unexpected EOF") from error
    except (DocumentError, ValueError, KeyError, TypeError) as error:
        raise system(f"invalid archive: {error}") from error


def save(texts: Sequence[str], store: ImageStore, target: IO[bytes]) -> None:
    """Write the images that `texts` name in Docker's form. Raises EngineError 404, and 500 for a layer that has changed.

    An id saves the image without names, a name without a tag all tags of the repository.
    """
    wanted: dict[str, list[Reference]] = {}
    for text in texts:
        image = store.resolve(text)
        kept = wanted.setdefault(image.id, [])
        if not _is_id(text, image):
            name = references.parse(text)
            if name.digest == "":
                kept.append(name.or_latest())
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        manifest: list[dict[str, Any]] = []
        repositories: dict[str, dict[str, str]] = {}
        written: set[str] = set()
        for identity, names in wanted.items():
            image = store.resolve(identity)
            folders = _save_layers(tar, store, image, written)
            config_name = f"{identity.removeprefix('sha256:')}.json"
            _add(tar, config_name, store.config_bytes(identity))
            manifest.append(
                {
                    "Config": config_name,
                    "RepoTags": [name.familiar for name in names] or None,
                    "Layers": [f"{folder}/layer.tar" for folder in folders],
                }
            )
            for name in names:
                if folders:
                    repositories.setdefault(name.familiar_name, {})[name.tag] = folders[-1]
        _add(tar, "manifest.json", json.dumps(manifest, separators=(",", ":")).encode() + b"\n")
        if repositories:
            _add(tar, "repositories", json.dumps(repositories, separators=(",", ":")).encode() + b"\n")


def _save_layers(tar: tarfile.TarFile, store: ImageStore, image: Image, written: set[str]) -> list[str]:
    """Write the layers of one image that are not written yet; return the folders of all, lowest first."""
    folders: list[str] = []
    for number, layer in enumerate(reversed(store.layers.chain(image.chain_id))):
        is_top = number == len(image.diff_ids) - 1
        old_form: dict[str, Any] = {"created": "1970-01-01T00:00:00Z"}
        if is_top:
            old_form = {key: image.config[key] for key in _OLD_MEMBERS if key in image.config}
        below = {"parent": folders[-1]} if folders else {}
        identity = hashlib.sha256(
            json.dumps(old_form | below | {"layer_id": layer.chain_id}, sort_keys=True).encode()
        ).hexdigest()
        folders.append(identity)
        if identity in written:
            continue
        written.add(identity)
        directory = tarfile.TarInfo(f"{identity}/")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(directory)
        _add(tar, f"{identity}/VERSION", b"1.0")
        _add(tar, f"{identity}/json", json.dumps({"id": identity, **below, **old_form}).encode())
        with store.layers.open_tar(layer) as content:
            member = tarfile.TarInfo(f"{identity}/layer.tar")
            member.size = content.seek(0, 2)
            content.seek(0)
            tar.addfile(member, content)
    return folders


_OLD_MEMBERS = (
    "comment",
    "created",
    "container",
    "container_config",
    "docker_version",
    "author",
    "config",
    "architecture",
    "os",
)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _is_id(text: str, image: Image) -> bool:
    return text == image.id or image.id.removeprefix("sha256:").startswith(text)


def _contents(tar: tarfile.TarFile) -> list[Archived]:
    names = set(tar.getnames())
    if "manifest.json" in names:
        return [
            Archived(
                _read(tar, str(entry["Config"])),
                tuple(str(layer) for layer in entry["Layers"] or ()),
                tuple(references.parse(str(tag)) for tag in entry["RepoTags"] or ()),
            )
            for entry in json.loads(_read(tar, "manifest.json"))
        ]
    if "index.json" in names:
        return _oci_contents(tar)
    raise system("open manifest.json: no such file or directory")


def _oci_contents(tar: tarfile.TarFile) -> list[Archived]:
    found: list[Archived] = []
    entries = [
        (entry, entry.annotations)
        for entry in parse_index(_read(tar, "index.json"), media.OCI_INDEX).manifests
    ]
    while entries:
        entry, annotations = entries.pop(0)
        data = _blob(tar, entry.digest)
        if entry.media_type in media.INDEXES:
            # the first one is for this machine, or the archive is not
            entries[:0] = [
                (inner, annotations) for inner in parse_index(data, entry.media_type).manifests[:1]
            ]
            continue
        manifest = parse_manifest(data, entry.media_type)
        name = annotations.get(_NAME) or annotations.get(_REF_NAME) or ""
        names = (references.parse(name).or_latest(),) if ":" in name or "/" in name else ()
        found.append(
            Archived(
                _blob(tar, manifest.config.digest),
                tuple(_blob_path(layer.digest) for layer in manifest.layers),
                names,
            )
        )
    return found


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _blob(tar: tarfile.TarFile, digest: str) -> bytes:
    data = _read(tar, _blob_path(digest))
    if digest_of(data) != digest:
        raise ValueError(f"blob {digest} has other content")
    return data


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    if content is None:
        raise ValueError(f"{name} is no file")
    data = content.read(_LONGEST_DOCUMENT + 1)
    if len(data) > _LONGEST_DOCUMENT:
        raise ValueError(f"{name} is too long")
    return data


async def _load_image(
    tar: tarfile.TarFile, archived: Archived, store: ImageStore, forks: ForkServer, emit: Emit, *, quiet: bool
) -> Image:
    expected = parse_config(archived.config).diff_ids
    if len(expected) != len(archived.layers):
        raise system(
            f"invalid manifest, layers length mismatch: expected {len(archived.layers)}, got {len(expected)}"
        )
    chains = chain_ids(expected)
    for number, (member, diff_id) in enumerate(zip(archived.layers, expected, strict=True)):
        if store.layers.get(chains[number]) is None:
            parent = chains[number - 1] if number else ""
            await _load_layer(tar, member, diff_id, (chains[number], parent), store, forks, emit, quiet=quiet)
    return store.add(archived.config)


async def _load_layer(
    tar: tarfile.TarFile,
    member: str,
    diff_id: str,
    place: tuple[str, str],
    store: ImageStore,
    forks: ForkServer,
    emit: Emit,
    *,
    quiet: bool,
) -> None:
    digest, size = await asyncio.to_thread(_digest, tar, member)
    sink = BlobSink(store.layers, forks, digest)
    meter = Meter(emit if not quiet else _silence, "Loading layer", short(diff_id), size)
    try:
        content = tar.extractfile(member)
        assert content is not None
        while piece := await asyncio.to_thread(content.read, _PIECE):
            await sink.write(piece)
            meter.add(len(piece))
        try:
            sink.size = await sink.finish()
        except VerificationError as error:
            raise system(str(error)) from error
        if sink.diff_id != diff_id:
            raise system(
                f"invalid diffID for layer: expected {json.dumps(diff_id)}, got {json.dumps(sink.diff_id)}"
            )
        sink.commit(*place)
    finally:
        await asyncio.to_thread(sink.abandon)


def _digest(tar: tarfile.TarFile, member: str) -> tuple[str, int]:
    content = tar.extractfile(member)
    if content is None:
        raise ValueError(f"{member} is no file")
    found, size = hashlib.sha256(), 0
    while piece := content.read(_PIECE):
        found.update(piece)
        size += len(piece)
    return f"sha256:{found.hexdigest()}", size


def _name(store: ImageStore, name: Reference, image: Image, emit: Emit) -> None:
    previous = store.name(name, image.id)
    if previous not in (None, image.id):
        emit(
            {
                "stream": f"The image {name.familiar} already exists, renaming the old one with ID {previous} "
                "to empty string\n"
            }
        )


def _silence(_line: dict[str, Any]) -> None:
    """Take a progress object and print nothing."""
