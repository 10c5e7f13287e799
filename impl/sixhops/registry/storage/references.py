"""What a manifest says of itself and refers to, checked once when it is put and trusted afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from sixhops.registry.names import Digest, parse_digest
from sixhops.wire.image import (
    DocumentError,
    SignatureError,
    is_registered_digest,
    media,
    parse_index,
    parse_manifest,
    parse_schema1,
    verify_pretty,
)

SCHEMA1: Final = frozenset({media.DOCKER_SCHEMA1, media.DOCKER_SCHEMA1_SIGNED, "application/json"})
_FOREIGN: Final = ("foreign", "nondistributable")


class Invalid(ValueError):  # noqa: N818 - the code is called MANIFEST_INVALID
    """The bytes are not a manifest of the type that they claim; the message names the field."""


class Unverified(ValueError):  # noqa: N818 - the code is called MANIFEST_UNVERIFIED
    """A schema1 manifest has no signature that holds."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One manifest, read.

    `canonical` are the bytes whose digest names it (for schema1 the payload without signatures, else all).
    `blobs` and `manifests` must be in the repository before it may be put. `artifact_type` is what the
    referrers API shows: the manifest's own, or for an image the media type of its configuration.
    """

    media_type: str
    canonical: bytes
    blobs: tuple[Digest, ...] = ()
    manifests: tuple[Digest, ...] = ()
    platforms: tuple[tuple[str, str, Digest], ...] = ()
    subject: Digest | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


def media_type_of(data: bytes) -> str:
    """Return the media type of stored bytes: as written in them, else by their shape. Raises Invalid."""
    document = _object(data)
    if document.get("schemaVersion") == 1:
        return media.DOCKER_SCHEMA1_SIGNED if "signatures" in document else media.DOCKER_SCHEMA1
    named = document.get("mediaType")
    if isinstance(named, str) and named:
        return named
    return media.OCI_INDEX if "manifests" in document else media.OCI_MANIFEST


def read_manifest(data: bytes, media_type: str) -> Facts:
    """Read a manifest that arrived with the given Content-Type (without parameters).

    Raises Invalid, and Unverified for schema1 signatures.
    """
    document = _object(data)
    try:
        if media_type in media.MANIFESTS:
            return _image(data, document, media_type)
        if media_type in media.INDEXES:
            return _index(data, document, media_type)
        if media_type in SCHEMA1:
            return _schema1(data, document)
    except DocumentError as error:
        raise Invalid(str(error)) from error
    raise Invalid(f"Content-Type: {media_type!r} is not a manifest type of this registry")


def facts_of_stored(data: bytes) -> Facts:
    """Read a manifest from storage, where schema1 lies without its signatures. Raises Invalid."""
    media_type = media_type_of(data)
    if media_type not in SCHEMA1:
        return read_manifest(data, media_type)
    try:
        layers = parse_schema1(data).layers
    except DocumentError as error:
        raise Invalid(str(error)) from error
    return Facts(media_type, data, blobs=tuple(dict.fromkeys(_digest(layer) for layer in layers)))


def _image(data: bytes, document: dict[str, Any], media_type: str) -> Facts:
    if "manifests" in document:
        # One document readable as two kinds would be shown differently by different clients.
        raise Invalid("manifests: an image manifest has no manifests")
    manifest = parse_manifest(data, media_type, is_registered_digest)
    own = [manifest.config, *(layer for layer in manifest.layers if not _elsewhere(layer.media_type))]
    artifact_type = document.get("artifactType") or manifest.config.media_type
    return Facts(
        media_type,
        data,
        blobs=tuple(_digest(item.digest) for item in own),
        subject=_subject(document),
        artifact_type=_text(artifact_type, "artifactType"),
        annotations=_annotations(document),
    )


def _index(data: bytes, document: dict[str, Any], media_type: str) -> Facts:
    if "config" in document or "layers" in document:
        raise Invalid("config, layers: an index has none")
    index = parse_index(data, media_type, is_registered_digest)
    platforms = tuple(
        (item.platform.os, item.platform.architecture, _digest(item.digest))
        for item in index.manifests
        if item.platform is not None
    )
    return Facts(
        media_type,
        data,
        manifests=tuple(_digest(item.digest) for item in index.manifests),
        platforms=platforms,
        subject=_subject(document),
        artifact_type=_text(document.get("artifactType") or "", "artifactType"),
        annotations=_annotations(document),
    )


def _schema1(data: bytes, document: dict[str, Any]) -> Facts:
    manifest = parse_schema1(data)
    if not document.get("signatures"):
        raise Invalid("signatures: a schema1 manifest is signed")
    try:
        payload, _ = verify_pretty(data)
    except (SignatureError, AttributeError, RecursionError) as error:
        raise Unverified(str(error)) from error
    blobs = tuple(dict.fromkeys(_digest(layer) for layer in manifest.layers))
    return Facts(media.DOCKER_SCHEMA1_SIGNED, payload, blobs=blobs)


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Invalid("expected a JSON object")
    if not isinstance(document.get("mediaType", ""), str):
        raise Invalid("mediaType: expected a string")
    return document


def _elsewhere(media_type: str) -> bool:
    # Layers that may not be redistributed are fetched from their own URLs and need not be here.
    return any(word in media_type for word in _FOREIGN)


def _subject(document: dict[str, Any]) -> Digest | None:
    subject = document.get("subject")
    if subject is None:
        return None
    if not isinstance(subject, dict):
        raise Invalid("subject: expected a descriptor")
    return _digest(_text(subject.get("digest"), "subject.digest"))


def _digest(text: str) -> Digest:
    digest = parse_digest(text)
    if digest is None:
        raise Invalid(f"{text[:140]!r} is not a digest")
    return digest


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{where}: expected a string")
    return value


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    found = document.get("annotations") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Invalid("annotations: expected strings")
    return found
