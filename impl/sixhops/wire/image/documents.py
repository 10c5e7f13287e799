"""Manifests (Docker schema2, OCI), lists and indexes, and what a configuration says of its layers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.wire.image import media
from sixhops.wire.image.digest import is_digest

if TYPE_CHECKING:
    from collections.abc import Callable


class DocumentError(ValueError):
    """Bytes that claim to be an image document are not one; the message names the field."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in Go's names: `amd64`, `linux`, and for arm a variant such as `v7`."""

    architecture: str
    os: str = "linux"
    variant: str = ""

    def document(self) -> dict[str, Any]:
        """Return the `platform` object of a list entry."""
        found = {"architecture": self.architecture, "os": self.os}
        return found | ({"variant": self.variant} if self.variant else {})

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: what it is, how many bytes, and their digest."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the descriptor as JSON data."""
        found: dict[str, Any] = {"mediaType": self.media_type, "size": self.size, "digest": self.digest}
        if self.platform is not None:
            found["platform"] = self.platform.document()
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        return found


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its configuration and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    def document(self) -> dict[str, Any]:
        """Return the manifest as JSON data."""
        return {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.document(),
            "layers": [layer.document() for layer in self.layers],
        }


@dataclass(frozen=True, slots=True)
class Index:
    """A manifest list or OCI index: manifests to choose from by platform, first fit first."""

    media_type: str
    manifests: tuple[Descriptor, ...]

    def document(self) -> dict[str, Any]:
        """Return the list as JSON data."""
        return {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [entry.document() for entry in self.manifests],
        }


@dataclass(frozen=True, slots=True)
class RootFs:
    """What a configuration says of its layers: the uncompressed digests, lowest first, and the platform."""

    diff_ids: tuple[str, ...]
    platform: Platform


def encode(document: object) -> bytes:
    """Return compact UTF-8 JSON in the order of the mapping; equal input gives equal bytes."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def parse_manifest(data: bytes, media_type: str = "", named: Callable[[str], bool] = is_digest) -> Manifest:
    """Read a schema2 or OCI manifest; `media_type` is what the transport said, for documents that carry none.

    `named` tells which digests the reader takes: sha256 alone unless said. Raises DocumentError.
    """
    document = _document(data)
    kind = _kind(document, media_type, media.MANIFESTS)
    return Manifest(
        kind,
        _descriptor(document.get("config"), "config", named),
        tuple(_descriptor(item, f"layers[{at}]", named) for at, item in enumerate(_list(document, "layers"))),
    )


def parse_index(data: bytes, media_type: str = "", named: Callable[[str], bool] = is_digest) -> Index:
    """Read a manifest list or OCI index; `named` as for `parse_manifest`. Raises DocumentError."""
    document = _document(data)
    kind = _kind(document, media_type, media.INDEXES)
    entries = _list(document, "manifests")
    found = (_descriptor(item, f"manifests[{at}]", named) for at, item in enumerate(entries))
    return Index(kind, tuple(found))


def parse_config(data: bytes) -> RootFs:
    """Read what a configuration says of layers and platform. Raises DocumentError."""
    document = _document(data)
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise DocumentError("rootfs.type: expected layers")
    diff_ids = rootfs.get("diff_ids") or []
    if not isinstance(diff_ids, list) or not all(
        isinstance(item, str) and is_digest(item) for item in diff_ids
    ):
        raise DocumentError("rootfs.diff_ids: expected sha256 digests")
    # configurations made of old ones may lack both
    return RootFs(tuple(diff_ids), _platform({"architecture": "", "os": ""} | document, "configuration"))


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DocumentError("expected a JSON object")
    return document


def _kind(document: dict[str, Any], media_type: str, allowed: frozenset[str]) -> str:
    if document.get("schemaVersion") != 2:
        raise DocumentError(f"schemaVersion: expected 2, found {document.get('schemaVersion')!r}")
    kind = document.get("mediaType") or media_type
    if kind not in allowed:
        raise DocumentError(f"mediaType: {kind!r} is none of {', '.join(sorted(allowed))}")
    if media_type and kind != media_type:
        raise DocumentError(f"mediaType: document says {kind}, transport said {media_type}")
    return str(kind)


def _list(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        raise DocumentError(f"{key}: expected a list")
    return found


def _descriptor(item: object, where: str, named: Callable[[str], bool]) -> Descriptor:
    if not isinstance(item, dict):
        raise DocumentError(f"{where}: expected a descriptor")
    media_type, digest, size = item.get("mediaType"), item.get("digest"), item.get("size")
    if not isinstance(media_type, str):
        raise DocumentError(f"{where}.mediaType: expected a string")
    if not isinstance(digest, str) or not named(digest):
        raise DocumentError(f"{where}.digest: expected a {'sha256 ' if named is is_digest else ''}digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise DocumentError(f"{where}.size: expected a number of bytes")
    platform = item.get("platform")
    annotations = item.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        raise DocumentError(f"{where}.annotations: expected strings")
    return Descriptor(
        media_type,
        digest,
        size,
        None if platform is None else _platform(platform, f"{where}.platform"),
        annotations,
    )


def _platform(item: object, where: str) -> Platform:
    if not isinstance(item, dict):
        raise DocumentError(f"{where}: expected an object")
    architecture, system, variant = item.get("architecture"), item.get("os"), item.get("variant", "")
    if not (isinstance(architecture, str) and isinstance(system, str) and isinstance(variant, str)):
        raise DocumentError(f"{where}: architecture, os and variant are strings")
    return Platform(architecture, system, variant)
