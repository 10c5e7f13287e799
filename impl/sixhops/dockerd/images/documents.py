"""What the API says of images: list, inspect and history, member by member as dockerd 20.10 prints them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.configmembers import CONFIG_DEFAULTS, NOT_WHEN_EMPTY, NOT_WHEN_NULL
from sixhops.dockerd.containers.times import parse_rfc3339, rfc3339
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.images import globs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore

__all__ = [
    "container_config",
    "created",
    "has_labels",
    "history",
    "inspect",
    "passing",
    "summary",
    "summary_under",
]

_FILTERS = frozenset({"dangling", "label", "before", "since", "reference"})


def summary(store: ImageStore, image: Image) -> dict[str, Any]:
    """Return the entry of an image in GET /images/json."""
    names = store.names(image.id)
    tags = sorted(name.familiar for name in names if name.tag)
    digests = sorted(name.familiar for name in names if name.digest)
    size = _size(store.layers, image)
    labels = (image.config.get("config") or {}).get("Labels")
    return {
        "Containers": -1,
        "Created": _seconds(image.config.get("created")),
        "Id": image.id,
        "Labels": dict(sorted(labels.items())) if labels else labels,
        "ParentId": image.parent,
        "RepoDigests": digests or (None if tags else ["<none>@<none>"]),
        "RepoTags": tags or ["<none>:<none>"] if not tags and not digests else tags or None,
        "SharedSize": -1,
        "Size": size,
        "VirtualSize": size,
    }


def inspect(store: ImageStore, image: Image) -> dict[str, Any]:
    """Return GET /images/{name}/json."""
    config = image.config
    names = store.names(image.id)
    size = _size(store.layers, image)
    found: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": sorted(name.familiar for name in names if name.tag),
        "RepoDigests": sorted(name.familiar for name in names if name.digest),
        "Parent": image.parent,
        "Comment": _comment(config),
        "Created": rfc3339(_nanoseconds(config.get("created"))),
        "Container": config.get("container") or "",
        "ContainerConfig": container_config(config.get("container_config")),
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": container_config(config["config"]) if config.get("config") is not None else None,
        "Architecture": config.get("architecture") or "",
    }
    if config.get("variant"):
        found["Variant"] = config["variant"]
    found["Os"] = config.get("os") or "linux"
    if config.get("os.version"):
        found["OsVersion"] = config["os.version"]
    root_fs: dict[str, Any] = {"Type": "layers"}
    if image.diff_ids:
        root_fs["Layers"] = image.diff_ids
    return found | {
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {"Data": _graph(store.layers, image), "Name": "overlay2"},
        "RootFS": root_fs,
        "Metadata": {"LastTagTime": rfc3339(round(image.tagged * 1e9))},
    }


def history(store: ImageStore, image: Image) -> list[dict[str, Any]]:
    """Return GET /images/{name}/history, newest first. Raises EngineError 500 when it does not fit the layers."""
    layers = list(reversed(store.layers.chain(image.chain_id)))
    entries: list[dict[str, Any]] = []
    used = 0
    for step in image.config.get("history") or []:
        size = 0
        if not step.get("empty_layer"):
            if used >= len(layers):
                raise EngineError(500, "too many non-empty layers in History section")
            size = layers[used].size
            used += 1
        entries.append(
            {
                "Comment": step.get("comment") or "",
                "Created": _seconds(step.get("created")),
                "CreatedBy": step.get("created_by") or "",
                "Id": "<missing>",
                "Size": size,
                "Tags": None,
            }
        )
    entries.reverse()
    ancestor: Image | None = image
    for entry in entries:
        if ancestor is None:
            break
        entry["Id"] = ancestor.id
        entry["Tags"] = [name.familiar for name in store.names(ancestor.id) if name.tag] or None
        ancestor = store.by_id(ancestor.parent) if ancestor.parent else None
    return entries


def passing(store: ImageStore, filters: Mapping[str, Sequence[str]], *, everything: bool) -> list[Image]:
    """Return the images that pass the filters of GET /images/json, newest first.

    Images without names that others were made from are left out unless `everything` is wanted. Raises EngineError 400 for
    an unknown filter, 404 for an image that is not there.
    """
    for key in filters:
        if key not in _FILTERS:
            raise invalid(f"Invalid filter '{key}'")
    dangling = _dangling(filters.get("dangling"))
    before = [_nanoseconds(store.resolve(text).config.get("created")) for text in filters.get("before", ())]
    since = [_nanoseconds(store.resolve(text).config.get("created")) for text in filters.get("since", ())]
    found = []
    for image in store.all():
        made = created(image)
        if any(made >= limit for limit in before[-1:]) or any(made <= limit for limit in since[-1:]):
            continue
        if filters.get("label") and not has_labels(image, filters["label"]):
            continue
        names = store.names(image.id)
        shown = [name for name in names if _is_wanted(name, filters)]
        is_parent = bool(store.children(image.id))
        if dangling and (is_parent or any(name.tag for name in shown)):
            continue
        if not shown and ((is_parent and not everything) or dangling is False or filters.get("reference")):
            continue
        found.append(image)
    return found


def summary_under(store: ImageStore, image: Image, filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the list entry of an image with only those names that a `reference` filter asked for."""
    entry = summary(store, image)
    if filters.get("reference"):
        kept = [name for name in store.names(image.id) if _is_wanted(name, filters)]
        entry["RepoTags"] = sorted(name.familiar for name in kept if name.tag) or None
        entry["RepoDigests"] = sorted(name.familiar for name in kept if name.digest) or None
    return entry


def created(image: Image) -> int:
    """Return when an image was made, in nanoseconds since 1970, 0 for never."""
    return _nanoseconds(image.config.get("created"))


def has_labels(image: Image, wanted: Sequence[str]) -> bool:
    """Tell whether an image has all labels, each `key` or `key=value`."""
    labels = (image.config.get("config") or {}).get("Labels") or {}
    return all(_has(labels, text) for text in wanted)


def _is_wanted(name: Reference, filters: Mapping[str, Sequence[str]]) -> bool:
    patterns = filters.get("reference")
    try:
        return not patterns or any(
            globs.matches(pattern, text)
            for pattern in patterns
            for text in (name.familiar, name.familiar_name)
        )
    except globs.PatternError as error:
        raise system(str(error)) from error


def container_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a configuration with every member that Go prints, in its order."""
    config = config or {}
    return {
        key: default if config.get(key) is None else config[key]
        for key, default in CONFIG_DEFAULTS.items()
        if key not in NOT_WHEN_EMPTY | NOT_WHEN_NULL or config.get(key)
    }


def _comment(config: Mapping[str, Any]) -> str:
    steps = config.get("history") or []
    return str(config.get("comment") or (steps[-1].get("comment") if steps else "") or "")


def _graph(layers: LayerStore, image: Image) -> dict[str, str] | None:
    if not image.chain_id:
        return None
    return layers.directories(image.chain_id)


def _size(layers: LayerStore, image: Image) -> int:
    return sum(layer.size for layer in layers.chain(image.chain_id))


def _dangling(values: Sequence[str] | None) -> bool | None:
    if values is None:
        return None
    if not values or "true" in values:  # a key without values lets every word pass
        return True
    if "false" in values:
        return False
    raise invalid(f"Invalid filter 'dangling=[{' '.join(values)}]'")


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, has_value, value = wanted.partition("=")
    return key in labels and (not has_value or labels[key] == value)


def _nanoseconds(text: object) -> int:
    """Return a configuration's time, 0 for the time that never was or one that can't be read."""
    if not isinstance(text, str) or re.match("0001-01-01", text):
        return 0
    try:
        return parse_rfc3339(text)
    except ValueError:
        return 0


def _seconds(text: object) -> int:
    found = _nanoseconds(text)
    # Go prints its zero time as seconds before 1970
    return found // 10**9 if found else -62135596800
