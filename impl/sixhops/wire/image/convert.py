"""A schema1 manifest of an image that is stored as schema2, for clients that know nothing newer.

The document comes out byte for byte as docker-registry 2.8 makes it (distribution, manifest/schema1, the
builder that takes a configuration), so both name it by the same digest. Only the signature is each registry's own.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from sixhops.wire.image.documents import DocumentError
from sixhops.wire.image.schema1 import EMPTY_LAYER_DIGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

_ZERO_TIME: Final = "0001-01-01T00:00:00Z"
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\s+')
_FRACTION: Final = re.compile(r"\.(\d*?)0+(?=Z|[+-])")
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def schema1_of(name: str, tag: str, config: bytes, layers: Sequence[str]) -> bytes:
    """Return the unsigned schema1 manifest of an image.

    `config` is the configuration as it is stored, `layers` are the blobs' digests, lowest first. Steps that
    changed nothing refer to `EMPTY_LAYER`, which must be in the repository. Raises DocumentError when the
    configuration has no history, or when history, diff ids and layers don't go together.
    """
    members, image = _members(config)
    history = image.get("history")
    if not isinstance(history, list) or not history or not all(isinstance(item, dict) for item in history):
        raise DocumentError("empty history when trying to create schema1 manifest")
    roots = image.get("rootfs")
    diff_ids = roots.get("diff_ids", []) if isinstance(roots, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(layers):
        raise DocumentError("number of descriptors and number of layers in rootfs must match")
    remaining = list(layers)
    blobs: list[str] = []
    documents: list[str] = []
    parent = ""
    for position, entry in enumerate(history):
        empty = bool(entry.get("empty_layer"))
        if not empty and not remaining:
            raise DocumentError("too many non-empty layers in History section")
        blob = EMPTY_LAYER_DIGEST if empty else remaining.pop(0)
        blobs.append(blob)
        named = f"{blob.partition(':')[2]} {parent}"
        if position == len(history) - 1:
            # as Go appends: a string of bytes, whatever the configuration's encoding
            identity = hashlib.sha256(f"{named} ".encode() + config).hexdigest()
            documents.append(_newest(members, identity, parent, empty))
        else:
            identity = hashlib.sha256(named.encode()).hexdigest()
            documents.append(_older(entry, identity, parent, empty))
            parent = identity
    manifest = {
        "schemaVersion": 1,
        "name": name,
        "tag": tag,
        "architecture": str(image.get("architecture") or ""),
        "fsLayers": [{"blobSum": blob} for blob in reversed(blobs)],
        "history": [{"v1Compatibility": document} for document in reversed(documents)],
    }
    return _escaped(json.dumps(manifest, indent=3, ensure_ascii=False)).encode()


def _older(entry: dict[str, Any], identity: str, parent: str, empty: bool) -> str:
    """Return the document of a step below the newest: enough to be told apart, not enough to run."""
    document: dict[str, Any] = {"id": identity}
    if parent:
        document["parent"] = parent
    if entry.get("comment"):
        document["comment"] = entry["comment"]
    document["created"] = _FRACTION.sub(_without_zeros, str(entry.get("created") or _ZERO_TIME))
    document["container_config"] = {"Cmd": [entry.get("created_by") or ""]}
    if entry.get("author"):
        document["author"] = entry["author"]
    if empty:
        document["throwaway"] = True
    return _escaped(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def _newest(members: dict[str, str], identity: str, parent: str, empty: bool) -> str:
    """Return the configuration with ids added: its members as they were written, sorted and without blanks."""
    kept = {name: value for name, value in members.items() if name not in {"rootfs", "history"}}
    kept["id"] = f'"{identity}"'
    if parent:
        kept["parent"] = f'"{parent}"'
    if empty:
        kept["throwaway"] = "true"
    pairs = (
        f"{json.dumps(name, ensure_ascii=False)}:{_TOKENS.sub(_strings_only, kept[name])}"
        for name in sorted(kept, key=str.encode)
    )
    return _escaped(f"{{{','.join(pairs)}}}")


def _members(config: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the text of each member of a JSON object, and the object. Raises DocumentError."""
    try:
        text = config.decode()
        image = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"configuration: not JSON: {error}") from error
    if not isinstance(image, dict):
        raise DocumentError("configuration: expected a JSON object")
    decoder = json.JSONDecoder()
    found: dict[str, str] = {}
    at = _skip(text, 0) + 1
    while text[at := _skip(text, at)] != "}":
        at += text[at] == ","
        name, at = decoder.raw_decode(text, _skip(text, at))
        start = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        found[name] = text[start:at]
    return found, image


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _strings_only(token: re.Match[str]) -> str:
    return token[0] if token[0].startswith('"') else ""


def _without_zeros(fraction: re.Match[str]) -> str:
    return f".{fraction[1]}" if fraction[1] else ""


def _escaped(text: str) -> str:
    """Escape what Go's encoder escapes for the sake of HTML; in JSON these stand in strings only."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
