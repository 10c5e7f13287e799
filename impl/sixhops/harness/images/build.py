"""Recipe to image: layers through the cache, then configuration, manifest, signature and list in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.images.built import BuiltImage, BuiltLayer, BuiltManifest
from sixhops.harness.images.recipe import Recipe, Variant, native_platform
from sixhops.harness.images.store import BlobStore
from sixhops.harness.images.toolbox import Toolbox
from sixhops.wire.image import (
    EMPTY_LAYER_DIGEST,
    Descriptor,
    Index,
    Manifest,
    TrustKey,
    chain_ids,
    config_of,
    digest_of,
    encode,
    media,
    parse_schema1,
    schema1_payload,
    sign_pretty,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build"]

# Not a secret: it makes the signatures of test images the same everywhere.
_SEED: Final = b"sixhops test images"


@dataclass(frozen=True, slots=True)
class _Member:
    """One variant, built."""

    variant: Variant
    manifest: BuiltManifest
    config_bytes: bytes
    layers: tuple[BuiltLayer, ...]


def build(recipe: Recipe, cache: Path, toolbox: Toolbox | None = None) -> BuiltImage:
    """Build `recipe`, or take what `cache` (a directory) has of it.

    Equal recipes and programs give equal bytes (the limits are in `store`). Several processes may build into
    one cache at once. Raises ScenarioError for a program that does not exist, UsageError when busybox or cc
    is missing.
    """
    store = BlobStore(cache, toolbox or Toolbox(cache))
    members = [_build_variant(recipe, variant, store) for variant in recipe.variants]
    manifests = list({member.manifest.digest: member.manifest for member in members}.values())
    if recipe.list_format:
        manifests.append(_list(recipe.list_format, members, store))
    native = native_platform()
    shown = next((member for member in members if member.variant.platform == native), members[0])
    return BuiltImage(
        name=recipe.name,
        repository=recipe.repository,
        tags=recipe.tags,
        format=recipe.list_format or shown.variant.format,
        image_id=shown.manifest.image_id,
        config=json.loads(shown.config_bytes),
        config_bytes=shown.config_bytes,
        layers=shown.layers,
        manifests=tuple(manifests),
        blobs={digest: store.path(digest) for manifest in manifests for digest in manifest.blobs},
    )


def _build_variant(recipe: Recipe, variant: Variant, store: BlobStore) -> _Member:
    stored = [store.layer(layer) for layer in variant.layers]
    oci = variant.format == "oci"
    layers = tuple(
        BuiltLayer(media.layer_type(oci, layer.compression), blob.digest, blob.size, blob.diff_id, chain)
        for layer, blob, chain in zip(
            variant.layers, stored, chain_ids(blob.diff_id for blob in stored), strict=True
        )
    )
    config = _config(recipe, variant, [layer.diff_id for layer in layers])
    if variant.format == "schema1":
        return _schema1(recipe, variant, config, layers, store)
    data = encode(config)
    image_id = store.put(data)
    manifest = Manifest(
        media.OCI_MANIFEST if oci else media.DOCKER_MANIFEST,
        Descriptor(media.OCI_CONFIG if oci else media.DOCKER_CONFIG, image_id, len(data)),
        tuple(Descriptor(layer.media_type, layer.digest, layer.size) for layer in layers),
    )
    body = encode(manifest.document())
    blobs = (*dict.fromkeys(layer.digest for layer in layers), image_id)
    built = BuiltManifest(manifest.media_type, store.put(body), body, variant.platform, image_id, blobs)
    return _Member(variant, built, data, layers)


def _schema1(
    recipe: Recipe, variant: Variant, config: dict[str, Any], layers: tuple[BuiltLayer, ...], store: BlobStore
) -> _Member:
    payload = schema1_payload(recipe.repository, recipe.tags[0], config, [layer.digest for layer in layers])
    signed = sign_pretty(payload, TrustKey.from_seed(_SEED), recipe.created)
    manifest = parse_schema1(payload)
    data = config_of(manifest, [layer.diff_id for layer in layers])
    blobs = tuple(dict.fromkeys(reversed(manifest.layers)))
    if EMPTY_LAYER_DIGEST in blobs:
        store.put_empty_layer()
    built = BuiltManifest(
        media.DOCKER_SCHEMA1_SIGNED, digest_of(payload), signed, variant.platform, digest_of(data), blobs
    )
    return _Member(variant, built, data, layers)


def _list(list_format: str, members: list[_Member], store: BlobStore) -> BuiltManifest:
    index = Index(
        media.OCI_INDEX if list_format == "index" else media.DOCKER_LIST,
        tuple(
            Descriptor(
                member.manifest.media_type,
                member.manifest.digest,
                len(member.manifest.data),
                member.variant.platform,
            )
            for member in members
        ),
    )
    body = encode(index.document())
    return BuiltManifest(index.media_type, store.put(body), body)


def _config(recipe: Recipe, variant: Variant, diff_ids: list[str]) -> dict[str, Any]:
    history = variant.history or tuple(
        {"created_by": f"sixhops recipe {recipe.name}, layer {number}"}
        for number in range(1, len(diff_ids) + 1)
    )
    config: dict[str, Any] = {"created": recipe.created}
    if recipe.author:
        config["author"] = recipe.author
    return (
        config
        | variant.platform.document()
        | {
            "config": variant.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": recipe.created} | entry for entry in history],
        }
    )
