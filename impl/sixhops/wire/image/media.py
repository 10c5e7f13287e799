"""Media types of image documents and layers, Docker's and OCI's.

Sources: distribution's manifest v2 schema 1 and 2 documents; OCI image-spec, media-types.md.
"""

from __future__ import annotations

from typing import Final

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"

MANIFESTS: Final = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEXES: Final = frozenset({DOCKER_LIST, OCI_INDEX})


def layer_type(oci: bool, compression: str) -> str:
    """Return the media type of a layer blob; `compression` is gzip, zstd or none."""
    base, separator = (OCI_LAYER, "+") if oci else (DOCKER_LAYER, ".")
    return base if compression == "none" else f"{base}{separator}{compression}"
