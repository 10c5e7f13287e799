"""Docker's first manifest format: one v1 image document a layer, newest first, and the layers' blob digests.

There is no configuration blob. An engine makes one from the newest v1 document, all documents' histories and
the diff ids that it computes while unpacking; `config_of` does the same byte for byte, so the image id is
known beforehand. Format: distribution's "Image Manifest V2, Schema 1"; conversion: observed on dockerd 20.10
(id of a pulled image).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sixhops.wire.image.digest import is_digest
from sixhops.wire.image.documents import DocumentError, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The one blob that stands for "this step changed no file": 1024 zero bytes, as gzip made by Go's library.
EMPTY_LAYER: Final = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")
EMPTY_LAYER_DIGEST: Final = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"

# Engines rewrite v1 documents of builders before 1.8.3 member by member, and keep newer ones as they are.
_VERSION: Final = "18.09.0"
_KEPT_SINCE: Final = (1, 8, 3)

_NOT_IN_CONFIG: Final = frozenset({"id", "parent", "Size", "parent_id", "layer_id", "throwaway"})


@dataclass(frozen=True, slots=True)
class Schema1:
    """A schema1 manifest. `layers` and `history` go together and run newest first, as they travel."""

    name: str
    tag: str
    architecture: str
    layers: tuple[str, ...]
    history: tuple[str, ...]


def schema1_payload(name: str, tag: str, config: Mapping[str, Any], layers: Sequence[str]) -> bytes:
    """Return the unsigned manifest of an image; its digest is the digest that engines print.

    `config` is a whole image configuration; its `history` says which steps changed nothing (`empty_layer`).
    `layers` are blob digests, lowest first. Raises DocumentError when history and layers don't go together.
    """
    history = list(config.get("history") or [{"created": config["created"]} for _ in layers])
    if sum(1 for entry in history if not entry.get("empty_layer")) != len(layers):
        raise DocumentError("history: as many entries without empty_layer are needed as there are layers")
    remaining = list(layers)
    blobs: list[str] = []
    documents: list[dict[str, Any]] = []
    parent = ""
    for position, entry in enumerate(history):
        empty = bool(entry.get("empty_layer"))
        blob = EMPTY_LAYER_DIGEST if empty else remaining.pop(0)
        document: dict[str, Any] = {}
        if position == len(history) - 1:
            document = {key: value for key, value in config.items() if key not in {"rootfs", "history"}}
            document.setdefault("docker_version", _VERSION)
        document["created"] = entry.get("created", config["created"])
        document["container_config"] = {"Cmd": [entry.get("created_by", "")]}
        document |= {key: entry[key] for key in ("author", "comment") if key in entry}
        if empty:
            document["throwaway"] = True
        if parent:
            document["parent"] = parent
        # v1 ids are free to choose, as long as each is unique and names its parent.
        document["id"] = parent = hashlib.sha256(encode([blob, position, document])).hexdigest()
        blobs.append(blob)
        documents.append(document)
    manifest = {
        "schemaVersion": 1,
        "name": name,
        "tag": tag,
        "architecture": config["architecture"],
        "fsLayers": [{"blobSum": blob} for blob in reversed(blobs)],
        "history": [{"v1Compatibility": encode(document).decode()} for document in reversed(documents)],
    }
    return json.dumps(manifest, indent="   ", ensure_ascii=False).encode()


def parse_schema1(data: bytes) -> Schema1:
    """Read a schema1 manifest, signed or not (signatures are `verify_pretty`'s). Raises DocumentError."""
    try:
        document = json.loads(data)
        layers = tuple(str(item["blobSum"]) for item in document["fsLayers"])
        history = tuple(str(item["v1Compatibility"]) for item in document["history"])
        found = Schema1(document["name"], document["tag"], document["architecture"], layers, history)
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(f"not a schema1 manifest: {error!r}") from error
    if document.get("schemaVersion") != 1:
        raise DocumentError(f"schemaVersion: expected 1, found {document.get('schemaVersion')!r}")
    if len(layers) != len(history) or not layers:
        raise DocumentError(
            f"{len(layers)} fsLayers and {len(history)} history entries must be as many, and some"
        )
    for digest in layers:
        if not is_digest(digest):
            raise DocumentError(f"blobSum: {digest!r} is not a sha256 digest")
    return found


def config_of(manifest: Schema1, diff_ids: Sequence[str]) -> bytes:
    """Return the configuration that an engine makes of a schema1 image; its digest is the image id.

    `diff_ids`: the layers that are not thrown away, lowest first. The keys are sorted, as Go encodes a map,
    and `<`, `>` and `&` are escaped, as its encoder does. Raises DocumentError for v1 documents that are not
    JSON objects, and when the newest names no `docker_version` of at least 1.8.3: engines rewrite those in
    ways not modelled here.
    """
    documents = [_v1(text) for text in reversed(manifest.history)]
    if _version(documents[-1]) < _KEPT_SINCE:
        raise DocumentError("v1Compatibility: docker_version is missing or older than 1.8.3")
    config = {key: value for key, value in documents[-1].items() if key not in _NOT_IN_CONFIG}
    config["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
    config["history"] = [_history(document) for document in documents]
    text = encode({key: config[key] for key in sorted(config)}).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def _v1(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"v1Compatibility is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DocumentError("v1Compatibility: expected a JSON object")
    return document


def _version(document: Mapping[str, Any]) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(document.get("docker_version", "")))
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _history(document: Mapping[str, Any]) -> dict[str, Any]:
    command = " ".join((document.get("container_config") or {}).get("Cmd") or [])
    found = {
        "created": document.get("created"),
        "author": document.get("author", ""),
        "created_by": command,
        "comment": document.get("comment", ""),
        "empty_layer": document.get("throwaway", False),
    }
    return {key: value for key, value in found.items() if value or key == "created"}
