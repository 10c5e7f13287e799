"""Recipes: what an image consists of, read from `scenarios/images/<name>.yaml`.

    repository: library/busybox        default: library/<file name>
    tags: [latest]                     default: [latest]
    platform: native                   native, foreign (one that this machine is not), or
    os/architecture[/variant]
    from: other-recipe                 its layers lie below ours; its config and history are not taken over
    compression: gzip                  gzip, zstd or none
    created: 2020-01-01T00:00:00Z
    author: somebody
    layers: [[entry, ...], ...]        lowest first; entries as in `entries`
    config: {Cmd: [/hello]}
    history: [{created_by: ..., empty_layer: true}]
    manifests: docker-schema2          docker-schema2, oci, schema1 (signed), or {list: [...]} or {index:
    [...]}

A member of a `list` (Docker's) or `index` (OCI's) is a mapping of format, platform, from, compression,
layers, config and history; what it leaves out is as in the recipe around it.
"""

from __future__ import annotations

import platform as host_platform
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.documents import Node, read_document
from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.images.config import read_config, read_history, read_time
from sixhops.harness.images.entries import Entry, read_entry
from sixhops.wire.image import Platform

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Layer", "Recipe", "Variant", "load_recipe", "native_platform"]

_VARIANT_KEYS: Final = frozenset({"platform", "from", "compression", "layers", "config", "history"})
_KEYS: Final = _VARIANT_KEYS | {"repository", "tags", "created", "author", "manifests", "description"}
_FORMATS: Final = ("docker-schema2", "oci", "schema1")
_COMPRESSIONS: Final = ("gzip", "zstd", "none")
_REPOSITORY: Final = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: what stands in it, in order, and how the blob is compressed."""

    entries: tuple[Entry, ...]
    compression: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One image of a recipe; a list has several. `format` is docker-schema2, oci or schema1."""

    format: str
    platform: Platform
    layers: tuple[Layer, ...]
    config: dict[str, Any]
    history: tuple[dict[str, Any], ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe, complete: the layers of `from` are in it. `list_format` is "", "list" (Docker) or "index"
    (OCI)."""

    name: str
    repository: str
    tags: tuple[str, ...]
    created: str
    author: str
    list_format: str
    variants: tuple[Variant, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class _Defaults:
    platform: Platform
    format: str = "docker-schema2"
    below: tuple[Layer, ...] = ()
    layers: tuple[Node, ...] = ()
    compression: str = "gzip"
    config: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()


def native_platform() -> Platform:
    """Return the platform that programs built here run on."""
    machine = host_platform.machine()
    return Platform(_ARCHITECTURES.get(machine, machine))


def load_recipe(path: Path) -> Recipe:
    """Read a recipe and, through `from`, the recipes beside it.

    Raises ScenarioError with file:line:column: bad YAML, unknown key, wrong type, missing or circular `from`.
    """
    return _load(path, ())


def _load(path: Path, above: tuple[str, ...]) -> Recipe:
    name = path.stem
    node = read_document(path, str(path))
    keys = node.mapping(_KEYS)
    repository = keys["repository"].text() if "repository" in keys else f"library/{name}"
    if _REPOSITORY.fullmatch(repository) is None:
        keys.get("repository", node).fail(f"{repository!r} is no repository name")
    tags: tuple[str, ...] = ("latest",)
    if "tags" in keys:
        tags = tuple(keys["tags"].texts())
        for item in keys["tags"].items():
            if _TAG.fullmatch(item.text()) is None:
                item.fail(f"{item.text()!r} is no tag")
        if not tags:
            keys["tags"].fail("an image needs a tag")
    defaults = _defaults(keys, _Defaults(native_platform()), path, above)
    list_format, variants = _variants(node, keys, defaults, path, above)
    return Recipe(
        name=name,
        repository=repository,
        tags=tags,
        created=read_time(keys["created"]) if "created" in keys else "2020-01-01T00:00:00Z",
        author=keys["author"].text() if "author" in keys else "",
        list_format=list_format,
        variants=variants,
        mark=node.mark,
    )


def _variants(
    node: Node, keys: dict[str, Node], defaults: _Defaults, path: Path, above: tuple[str, ...]
) -> tuple[str, tuple[Variant, ...]]:
    manifests = keys.get("manifests")
    if manifests is None or manifests.is_a(str):
        if manifests is not None:
            defaults = replace(defaults, format=manifests.choice(_FORMATS))
        return "", (_variant(defaults, node),)
    kinds = manifests.mapping({"list", "index"})
    if len(kinds) != 1:
        manifests.fail("expected one of list and index")
    list_format, members = next(iter(kinds.items()))
    found: list[Variant] = []
    for member in members.items():
        inner = member.mapping(_VARIANT_KEYS | {"format"})
        chosen = _defaults(inner, defaults, path, above)
        if "format" in inner:
            chosen = replace(chosen, format=inner["format"].choice(("docker-schema2", "oci")))
        elif list_format == "index":
            chosen = replace(chosen, format="oci")
        found.append(_variant(chosen, member))
    if not found:
        members.fail("a list needs a member")
    return list_format, tuple(found)


def _defaults(keys: dict[str, Node], base: _Defaults, path: Path, above: tuple[str, ...]) -> _Defaults:
    found = base
    if "platform" in keys:
        found = replace(found, platform=_platform(keys["platform"]))
    if "compression" in keys:
        found = replace(found, compression=keys["compression"].choice(_COMPRESSIONS))
    if "from" in keys:
        found = replace(found, below=_from(keys["from"], path, above, found.platform))
    if "layers" in keys:
        found = replace(found, layers=tuple(keys["layers"].items()))
    if "config" in keys:
        found = replace(found, config=read_config(keys["config"]))
    if "history" in keys:
        found = replace(found, history=tuple(read_history(item) for item in keys["history"].items()))
    return found


def _variant(chosen: _Defaults, node: Node) -> Variant:
    layers = chosen.below + tuple(
        Layer(tuple(read_entry(item) for item in layer.items()), chosen.compression)
        for layer in chosen.layers
    )
    filled = sum(1 for entry in chosen.history if not entry.get("empty_layer"))
    if chosen.history and filled != len(layers):
        node.fail(f"history has {filled} entries without empty_layer, and the image {len(layers)} layers")
    if chosen.format == "schema1":
        if not layers:
            node.fail("a schema1 image needs a layer")
        if any(layer.compression != "gzip" for layer in layers):
            node.fail(
                "layers of a schema1 image are gzip: the manifest has no media type that could say otherwise"
            )
    if chosen.format == "docker-schema2" and any(layer.compression == "zstd" for layer in layers):
        node.fail("zstd needs manifests: oci; Docker's schema2 has no media type for it")
    return Variant(chosen.format, chosen.platform, layers, chosen.config, chosen.history, node.mark)


def _from(node: Node, path: Path, above: tuple[str, ...], wanted: Platform) -> tuple[Layer, ...]:
    name = node.text()
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) is None:
        node.fail(f"{name!r} is no recipe name")
    chain = (*above, path.stem)
    if name in chain:
        node.fail(f"circular: {' -> '.join((*chain[chain.index(name) :], name))}")
    other = path.with_name(f"{name}.yaml")
    if not other.is_file():
        node.fail(f"there is no recipe {name!r} beside this one")
    variants = _load(other, chain).variants
    fitting = [variant for variant in variants if variant.platform == wanted] or list(variants)
    return fitting[0].layers


def _platform(node: Node) -> Platform:
    text = node.text()
    native = native_platform()
    if text == "native":
        return native
    if text == "foreign":
        return Platform("arm64" if native.architecture == "amd64" else "amd64")
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(re.fullmatch(r"[a-z0-9._-]+", part) for part in parts):
        raise ScenarioError(
            f"platform: {text!r} is not native, foreign or os/architecture[/variant]", node.mark
        )
    return Platform(parts[1], parts[0], parts[2] if len(parts) == 3 else "")
