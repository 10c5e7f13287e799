"""A built image: everything that a scenario, a registry or `docker load` may want to know of it, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.wire.image import Platform, short

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.exchange import Json

__all__ = ["BuiltImage", "BuiltLayer", "BuiltManifest"]


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """One layer, lowest first in a list of them. `size` is the blob's, in bytes, as it travels."""

    media_type: str
    digest: str
    size: int
    diff_id: str
    chain_id: str


@dataclass(frozen=True, slots=True)
class BuiltManifest:
    """A manifest of one image or of a list. `data` is what is pushed.

    `digest` is of `data`, except for signed schema1: there it is of the payload without signatures, as
    registries count. `blobs` are the digests that must be in the registry before it; a list has none.
    """

    media_type: str
    digest: str
    data: bytes
    platform: Platform | None = None
    image_id: str = ""
    blobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image on disk. `manifests` are in the order in which they are pushed: what the tags point to is
    last.

    `image_id`, `config`, `config_bytes` and `layers` are those of the member that fits this machine (the
    first one when none does). `blobs` maps digests to files; for schema1 the configuration is not among them.
    """

    name: str
    repository: str
    tags: tuple[str, ...]
    format: str
    image_id: str
    config: dict[str, Any]
    config_bytes: bytes
    layers: tuple[BuiltLayer, ...]
    manifests: tuple[BuiltManifest, ...]
    blobs: dict[str, Path] = field(default_factory=dict)

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: `library/` left out."""
        return self.repository.removeprefix("library/")

    @property
    def reference(self) -> str:
        """Familiar name and first tag, such as `hello-world:latest`."""
        return f"{self.familiar_name}:{self.tags[0]}"

    @property
    def top(self) -> BuiltManifest:
        """The manifest that the tags point to."""
        return self.manifests[-1]

    @property
    def digest(self) -> str:
        """The digest of what the tags point to."""
        return self.top.digest

    def variables(self) -> dict[str, Json]:
        """Return what `${images.<recipe>...}` names in a scenario.

        name, tag, tags, ref, repository, digest, media_type, size (of the manifest), id, short (of the id),
        config (the document), config_digest, config_size, layers (list of digest, short, diff_id, diff_short, chain_id,
        size, media_type), layers_size, manifests (list of digest, media_type, size, platform, id).
        """
        return {
            "name": self.familiar_name,
            "tag": self.tags[0],
            "tags": list(self.tags),
            "ref": self.reference,
            "repository": self.repository,
            "digest": self.digest,
            "media_type": self.top.media_type,
            "size": len(self.top.data),
            "id": self.image_id,
            "short": short(self.image_id),
            "config": self.config,
            "config_digest": self.image_id,
            "config_size": len(self.config_bytes),
            "layers": [
                {
                    "digest": layer.digest,
                    "short": short(layer.digest),
                    "diff_id": layer.diff_id,
                    "diff_short": short(layer.diff_id),
                    "chain_id": layer.chain_id,
                    "size": layer.size,
                    "media_type": layer.media_type,
                }
                for layer in self.layers
            ],
            "layers_size": sum(layer.size for layer in self.layers),
            "manifests": [
                {
                    "digest": manifest.digest,
                    "media_type": manifest.media_type,
                    "size": len(manifest.data),
                    "platform": str(manifest.platform) if manifest.platform else None,
                    "id": manifest.image_id or None,
                }
                for manifest in self.manifests
            ],
        }
