"""The forms of a manifest that is not stored in one that the client reads.

docker-registry decides so (2.8, registry/handlers/manifests.go): OCI forms have no other. A list asked for by tag
becomes the image for linux/amd64, an image asked for by tag becomes schema1, each when the client does not accept what
is stored. By digest it is never another document, because that would not match.

Here only a client that accepts schema1 by name gets it: see `negotiation` for clients that name nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sixhops.registry.http.errors import Refusal
from sixhops.registry.names import Digest
from sixhops.registry.storage.manifests import SIZE_LIMIT, Stored, digest_bytes
from sixhops.registry.storage.references import SCHEMA1, read_manifest
from sixhops.wire.image import (
    EMPTY_LAYER,
    EMPTY_LAYER_DIGEST,
    DocumentError,
    is_registered_digest,
    media,
    parse_manifest,
    schema1_of,
)

if TYPE_CHECKING:
    from sixhops.registry.http.calls import Call

_DEFAULT_PLATFORM: Final = ("linux", "amd64")


def other_form(call: Call, stored: Stored, types: frozenset[str] | None, tag: str) -> Stored:
    """Return what a client gets that accepts `types` and not the stored form; `tag` is "" when it asked by digest.

    Blocks on small files. Raises Refusal.
    """
    if stored.media_type == media.OCI_MANIFEST:
        message = "OCI manifest found, but accept header does not support OCI manifests"
        raise Refusal("MANIFEST_UNKNOWN", message=message)
    if stored.media_type == media.OCI_INDEX:
        message = "OCI index found, but accept header does not support OCI indexes"
        raise Refusal("MANIFEST_UNKNOWN", message=message)
    if not tag:
        return stored
    if stored.media_type == media.DOCKER_LIST:
        stored = _of_default_platform(call, stored)
    old = types is not None and not types.isdisjoint(SCHEMA1) and media.DOCKER_MANIFEST not in types
    if old and stored.media_type == media.DOCKER_MANIFEST:
        return _as_schema1(call, stored, tag)
    return stored


def _of_default_platform(call: Call, stored: Stored) -> Stored:
    facts = read_manifest(stored.data, stored.media_type)
    for system, architecture, digest in facts.platforms:
        if (system, architecture) == _DEFAULT_PLATFORM:
            found = call.registry.manifests.get(call.name, digest)
            if found is None:
                raise Refusal("MANIFEST_UNKNOWN", detail={"Name": call.name, "Revision": str(digest)})
            return found
    raise Refusal("MANIFEST_UNKNOWN")


def _as_schema1(call: Call, stored: Stored, tag: str) -> Stored:
    blobs = call.registry.blobs
    manifest = parse_manifest(stored.data, stored.media_type, is_registered_digest)
    algorithm, _, name = manifest.config.digest.partition(":")
    found = blobs.find(call.name, Digest(algorithm, name))
    config = None if found is None or found.size > SIZE_LIMIT else found.path.read_bytes()
    if config is None:
        raise Refusal("MANIFEST_INVALID", detail={})
    try:
        payload = schema1_of(call.name, tag, config, [layer.digest for layer in manifest.layers])
    except DocumentError as error:
        raise Refusal("MANIFEST_INVALID", detail=str(error)) from error
    if EMPTY_LAYER_DIGEST.encode() in payload:
        digest = blobs.write(EMPTY_LAYER)
        blobs.link(call.name, digest, digest)
    signed = call.registry.manifests.sign(payload)
    return Stored(digest_bytes(payload, "sha256"), media.DOCKER_SCHEMA1_SIGNED, signed)
