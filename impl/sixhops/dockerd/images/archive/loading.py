"""What `docker load` reads: Docker's archive, its form of before 2015, or an OCI image layout, each as one tar.

Nothing of an archive is believed: names in it are looked up in its own table of contents and nowhere else, layers are
verified against the configuration, and unpacked by the same chrooted worker as those of a pull. Messages are those of
dockerd 20.10, which knows no OCI layouts yet; later ones do.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from sixhops.dockerd.api import gojson
from sixhops.dockerd.api.gojson import Kind, Struct
from sixhops.dockerd.errors import EngineError, system
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.archive.contents import Contents
from sixhops.dockerd.images.transfer.progress import Meter
from sixhops.dockerd.images.unpacking.blob import BlobSink, VerificationError
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
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.linux.forkserver import ForkServer

__all__ = ["Loader"]

_PIECE: Final = 1 << 20
_NAME: Final = "io.containerd.image.name"
_REF_NAME: Final = "org.opencontainers.image.ref.name"
_STRING = Kind("string", "string")
_STRINGS = Kind("[]string", "list", _STRING)
_MANIFEST = Kind(
    "[]tarexport.manifestItem",
    "list",
    Struct(
        "manifestItem",
        {"Config": _STRING, "RepoTags": _STRINGS, "Layers": _STRINGS, "Parent": _STRING},
        "tarexport",
    ),
)
_REPOSITORIES = Kind("map[string]map[string]string", "map", Kind("map[string]string", "map", _STRING))
#: Members of an old configuration that its image does not keep.
_OLD_ONLY: Final = frozenset({"id", "parent", "Size", "parent_id", "layer_id", "throwaway"})


class Loader:
    """Brings the images of one archive into a store; `loaded` are those that came, also when a later one fails."""

    def __init__(self, store: ImageStore, forks: ForkServer, emit: Emit, *, quiet: bool) -> None:
        self._store = store
        self._forks = forks
        self._emit = emit
        self._quiet = quiet
        self.loaded: list[Image] = []
        self._claim: Callable[[str], None]

    async def load(self, path: Path) -> None:
        """Load the archive at `path`, a tar that is not compressed. Raises EngineError 500."""
        with (
            self._store.layers.claims() as self._claim,
            await asyncio.to_thread(Contents.of, path) as contents,
        ):
            try:
                if contents.has("manifest.json"):
                    await self._load(contents)
                elif contents.has("index.json"):
                    await self._load_layout(contents)
                else:
                    await _OldForm(self, contents).load()
            except gojson.GoJsonError as error:
                raise system(str(error)) from error
            except (DocumentError, ValueError) as error:
                raise system(f"invalid archive: {error}") from error

    async def _load(self, contents: Contents) -> None:
        manifest = gojson.check(gojson.decode(contents.read("manifest.json")), _MANIFEST)
        links: dict[str, str] = {}
        identities, named = "", 0
        for entry in manifest or ():
            config = contents.read(str(entry.get("Config") or ""))
            image = await self.add(contents, config, [str(layer) for layer in entry.get("Layers") or ()])
            identities += f"Loaded image ID: {image.id}\n"
            named = 0
            for text in entry.get("RepoTags") or ():
                name = _tagged(str(text))
                self.name(name, image)
                self._emit({"stream": f"Loaded image: {name.familiar}\n"})
                named += 1
            links[image.id] = str(entry.get("Parent") or "")
            self.loaded.append(image)
        for identity, parent in links.items():
            if parent in links and parent != identity:
                self._set_parent(identity, parent)
        if not named:
            self._emit({"stream": identities} if identities else {})

    async def _load_layout(self, contents: Contents) -> None:
        index = parse_index(contents.read("index.json"), media.OCI_INDEX)
        entries = [(entry, entry.annotations) for entry in index.manifests]
        while entries:
            entry, annotations = entries.pop(0)
            data = _blob(contents, entry.digest)
            if entry.media_type in media.INDEXES:
                # the first one is for this machine, or the archive is not
                inner = parse_index(data, entry.media_type).manifests[:1]
                entries[:0] = [(below, annotations) for below in inner]
                continue
            manifest = parse_manifest(data, entry.media_type)
            layers = [_blob_path(layer.digest) for layer in manifest.layers]
            image = await self.add(contents, _blob(contents, manifest.config.digest), layers)
            text = annotations.get(_NAME) or annotations.get(_REF_NAME) or ""
            if ":" in text or "/" in text:
                name = references.parse(text).or_latest()
                self.name(name, image)
                self._emit({"stream": f"Loaded image: {name.familiar}\n"})
            else:
                self._emit({"stream": f"Loaded image ID: {image.id}\n"})
            self.loaded.append(image)

    async def add(self, contents: Contents, config: bytes, layers: Sequence[str]) -> Image:
        """Bring the layers of an image that are not here, and register it. Raises EngineError."""
        document = gojson.decode_whole(config)
        if not isinstance(document, dict) or document.get("rootfs") is None:
            raise system("invalid image JSON, no RootFS key")
        check_system(str(document.get("os") or ""))
        expected = parse_config(config).diff_ids
        if len(expected) != len(layers):
            raise system(
                f"invalid manifest, layers length mismatch: expected {len(layers)}, got {len(expected)}"
            )
        for number, path in enumerate(layers):
            self._claim(chain_ids(expected[: number + 1])[-1])
            if self._store.layers.get(chain_ids(expected[: number + 1])[-1]) is None:
                await self.add_layer(contents, path, expected[:number], expected[number], number)
        return self._store.add(config)

    async def add_layer(
        self, contents: Contents, path: str, below: Sequence[str], expected: str, number: int
    ) -> str:
        """Unpack a layer on top of those with the diff ids `below`; return its own.

        `expected` is what that must be, "" when nobody knows. Raises EngineError.
        """
        with contents.open(path) as content:
            sink = BlobSink(self._store.layers, self._forks, "")
            try:
                meter = self._meter(
                    short(expected) if expected else path.partition("/")[0][:12], content.size
                )
                while piece := await asyncio.to_thread(content.read, _PIECE):
                    await sink.write(piece)
                    if meter is not None:
                        meter.add(len(piece))
                if meter is not None:
                    meter.end()
                try:
                    sink.size = await sink.finish()
                except VerificationError as error:
                    raise system(str(error)) from error
                if expected and sink.diff_id != expected:
                    pair = f"expected {json.dumps(expected)}, got {json.dumps(sink.diff_id)}"
                    raise system(f"invalid diffID for layer {number}: {pair}")
                parent = chain_ids(below)[-1] if below else ""
                self._claim(chain_ids([*below, sink.diff_id])[-1])
                sink.commit(chain_ids([*below, sink.diff_id])[-1], parent)
            finally:
                await asyncio.to_thread(sink.abandon)
        return sink.diff_id

    def register(self, config: bytes, parent: str) -> Image:
        """Register an image whose layers are here, as the child of another."""
        return self._store.add(config, parent)

    def name(self, name: Reference, image: Image) -> None:
        """Name an image, and say so when another had the name."""
        previous = self._store.name(name, image.id)
        if previous not in (None, image.id):
            self._emit(
                {
                    "stream": f"The image {name.familiar} already exists, renaming the old one with ID {previous} "
                    "to empty string\n"
                }
            )

    def _meter(self, identity: str, size: int) -> Meter | None:
        return None if self._quiet else Meter(self._emit, "Loading layer", identity, size)

    def _set_parent(self, identity: str, parent: str) -> None:
        image, above = self._store.by_id(identity), self._store.by_id(parent)
        assert image is not None
        assert above is not None
        own, other = image.config.get("history") or [], above.config.get("history") or []
        if (own or other) and own[:-1] != other:
            raise system(f"image {parent} is not a valid parent for {identity}")
        self._store.set_parent(identity, parent)


class _OldForm:
    """An archive in which each layer is an image of its own, with one parent; `repositories` names them."""

    def __init__(self, loader: Loader, contents: Contents) -> None:
        self._loader = loader
        self._contents = contents
        self._images: dict[str, Image] = {}

    async def load(self) -> None:
        for folder in self._contents.folders():
            await self._load(folder, frozenset())
        repositories = gojson.check(gojson.decode(self._contents.read("repositories")), _REPOSITORIES)
        for repository, tags in (repositories or {}).items():
            for tag, identity in tags.items():
                if identity not in self._images:
                    raise system(f"invalid target ID: {identity}")
                self._loader.name(_parsed(repository).tagged(tag), self._images[identity])

    async def _load(self, folder: str, below: frozenset[str]) -> Image:
        """Load a folder's image, its parents first. `below` are the folders that wait for it."""
        if folder in self._images:
            return self._images[folder]
        if folder in below:
            raise system(f"image {folder} is its own parent")
        document = gojson.decode_whole(self._contents.read(f"{folder}/json"))
        if not isinstance(document, dict):
            raise system("json: cannot unmarshal into Go value of type struct { OS string; Parent string }")
        check_system(str(document.get("os") or ""))
        above = document.get("parent")
        parent = await self._load(str(above), below | {folder}) if above else None
        diff_ids = list(parent.diff_ids) if parent is not None else []
        history = list((parent.config.get("history") or ()) if parent is not None else ())
        diff_ids.append(
            await self._loader.add_layer(self._contents, f"{folder}/layer.tar", diff_ids, "", len(diff_ids))
        )
        config = {key: value for key, value in document.items() if key not in _OLD_ONLY}
        config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
        config["history"] = [*history, _step(document)]
        data = gojson.encode(dict(sorted(config.items()))).rstrip(b"\n")
        image = self._loader.register(data, parent.id if parent is not None else "")
        self._images[folder] = image
        return image


def check_system(name: str) -> None:
    """Refuse an image of another operating system. Raises EngineError 500."""
    if name == "windows":
        raise system("cannot load windows image on linux")
    if name not in {"", "linux"}:
        raise system("operating system is not supported")


def _step(document: dict[str, Any]) -> dict[str, Any]:
    command = (document.get("container_config") or {}).get("Cmd") or ()
    step = {
        "created": document.get("created") or "0001-01-01T00:00:00Z",
        "author": document.get("author"),
        "created_by": " ".join(command),
        "comment": document.get("comment"),
    }
    return {key: value for key, value in step.items() if value}


def _parsed(text: str) -> Reference:
    try:
        return references.parse(text)
    except EngineError as error:
        raise system(error.message) from error


def _tagged(text: str) -> Reference:
    name = _parsed(text)
    if not name.tag:
        raise system(f"invalid tag {json.dumps(text)}")
    return name


def _blob_path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _blob(contents: Contents, digest: str) -> bytes:
    data = contents.read(_blob_path(digest))
    if digest_of(data) != digest:
        raise system(f"blob {digest} has other content")
    return data
