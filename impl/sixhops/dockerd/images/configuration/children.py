"""Configurations of images that the engine makes itself: of an imported file system, and of a container's changes.

Pure functions. Members, their order and which are left out are those of dockerd 20.10's own images, since the image's id is
the digest of this text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sixhops.dockerd.api import gojson
from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.images.documents import container_config
from sixhops.dockerd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EMPTY_TAR", "child", "imported"]

#: The diff id of a tar without members, which adds no layer to an image.
EMPTY_TAR: Final = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


def imported(
    config: Mapping[str, Any], diff_id: str, *, architecture: str, system: str, message: str, now: int
) -> bytes:
    """Return the configuration of an image of one layer, made at `now` (nanoseconds since 1970)."""
    created = rfc3339(now)
    return _encoded(
        {
            "architecture": architecture,
            "comment": message,
            "config": container_config(config),
            "container_config": container_config(None),
            "created": created,
            "docker_version": VERSION,
            "history": [{"created": created, "comment": message}],
            "os": system,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    )


def child(
    parent: Mapping[str, Any],
    config: Mapping[str, Any],
    diff_id: str,
    *,
    container: str,
    container_settings: Mapping[str, Any],
    author: str,
    comment: str,
    now: int,
) -> bytes:
    """Return the configuration of an image that adds a container's changes to `parent` (its whole configuration)."""
    created = rfc3339(now)
    is_empty = diff_id == EMPTY_TAR
    diff_ids = [*(parent.get("rootfs") or {}).get("diff_ids", ()), *(() if is_empty else (diff_id,))]
    step = {
        "created": created,
        "author": author,
        "created_by": " ".join(container_settings.get("Cmd") or ()),
        "comment": comment,
        "empty_layer": is_empty,
    }
    document = {
        "architecture": parent.get("architecture") or "",
        "author": author,
        "config": container_config(config),
        "container": container,
        "container_config": container_config(container_settings),
        "created": created,
        "docker_version": VERSION,
        "history": [
            *(parent.get("history") or ()),
            {key: value for key, value in step.items() if value},
        ],
        "os": parent.get("os") or "linux",
        "os.features": parent.get("os.features"),
        "os.version": parent.get("os.version"),
        "rootfs": {"type": "layers"} | ({"diff_ids": diff_ids} if diff_ids else {}),
        "variant": parent.get("variant"),
    }
    return _encoded({key: value for key, value in document.items() if value})


def _encoded(document: dict[str, Any]) -> bytes:
    return gojson.encode(document).rstrip(b"\n")
