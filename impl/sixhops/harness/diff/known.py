"""What a transcript itself tells about what varies: names of its images, its stack's place, ids, generated names, groups."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from sixhops.harness.diff.tokens import GENERATED_NAME, UNIQUE, Period, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.run.transcript import Transcript

__all__ = ["daemon_groups", "image_ids", "rules_of", "tokens_for", "what_was_asked"]

#: In a URL a quotation mark before it is %22, which is no digit of it.
_ID = re.compile(r"(?:(?<![0-9a-f])|(?<=%22))[0-9a-f]{64}(?![0-9a-f])")
_STACK_ID = re.compile(r"[0-9a-f]{8}")
#: Who is in the control group that a stack was started in, by how sure that is.
_DAEMONS = (("dockerd", "containerd"), ("containerd-shim",))
#: The name of what is known of the target, and how it is called in both transcripts.
_OF_TARGET = {"registry": "registry", "kernel": "kernel", "operating_system": "operating system"}


def tokens_for(transcript: Transcript) -> Tokens:
    """Return the rules for one transcript."""
    return Tokens(*rules_of(transcript))


def rules_of(transcript: Transcript) -> tuple[Period, dict[str, str], list[str]]:
    """Return what `Tokens` needs to know of a transcript: the time of its run, texts that have names, and ids."""
    began = transcript.clock.at(transcript.clock.monotonic)
    ends = [exchange.ended for exchange in transcript.exchanges]
    ended = transcript.clock.at(max(ends, default=transcript.clock.monotonic))
    texts = list(_texts_of(transcript))
    ids = {found for text in texts for found in _ID.findall(text)}
    variables = transcript.header["variables"] or {}
    known = {
        **_images(variables.get("images", {})),
        **_names(transcript),
        **_target(variables.get("target", {})),
    }
    unique = variables.get("scenario", {}).get("unique")
    if unique:
        known[unique] = UNIQUE
    return Period.around(began, ended), known, sorted(ids)


def image_ids(transcript: Transcript) -> frozenset[str]:
    """Return the ids of the scenario's images."""
    images = (transcript.header["variables"] or {}).get("images", {})
    return frozenset(str(image.get("id")) for image in images.values())


def what_was_asked(transcript: Transcript) -> str:
    """Return all texts that the steps sent, as one."""
    return " ".join(_strings([exchange.sent for exchange in transcript.exchanges]))


def daemon_groups(transcript: Transcript) -> dict[str, str]:
    """Return the control group of the stack's daemons by controller: the one that sixhops was started in.

    A transcript without a snapshot that has dockerd or containerd may have a shim's, which inherits containerd's.
    """
    rows = [row for exchange in transcript.exchanges for row in _rows(exchange.facets.get("processes"))]
    for names in _DAEMONS:
        found = [
            row["cgroup"] for row in rows if row.get("comm") in names and isinstance(row.get("cgroup"), dict)
        ]
        if found:
            return {str(controller): str(path) for controller, path in found[0].items()}
    return {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _images(images: dict[str, Any]) -> dict[str, str]:
    known: dict[str, str] = {}

    def note(value: Any, name: str) -> None:
        # Two recipes may make the same layer; both sides then call it by the first name.
        if isinstance(value, str) and len(value) > 8:
            known.setdefault(value, name)
            if value.startswith("sha256:"):
                known.setdefault(value.removeprefix("sha256:"), f"{name} (hex)")

    for name, image in sorted(images.items()):
        note(image.get("digest"), f"{name}.digest")
        note(image.get("id"), f"{name}.id")
        note(image.get("short"), f"{name}.short")
        note(image.get("config_digest"), f"{name}.config_digest")
        for at, layer in enumerate(image.get("layers", ())):
            for key in ("digest", "short", "diff_id", "chain_id"):
                note(layer.get(key), f"{name}.layers[{at}].{key}")
        for at, manifest in enumerate(image.get("manifests", ())):
            for key in ("digest", "id"):
                note(manifest.get(key), f"{name}.manifests[{at}].{key}")
    return known


def _target(target: dict[str, Any]) -> dict[str, str]:
    known = {str(target[key]): name for key, name in _OF_TARGET.items() if target.get(key)}
    root = target.get("data_root")
    if root:
        known[str(root)] = "data root"
        directory = PurePosixPath(root).parent
        if _STACK_ID.fullmatch(directory.name):
            known[str(directory)] = "stack"
            known[directory.name] = "stack id"
    return known


def _names(transcript: Transcript) -> dict[str, str]:
    """Return the names that the engine has given: where it reports a name, and nobody asked for it."""
    asked = what_was_asked(transcript)
    found: dict[str, str] = {}
    for exchange in transcript.exchanges:
        for name in _reported_names(exchange.facets):
            if GENERATED_NAME.fullmatch(name) and name.lstrip("/") not in asked:
                found[name.lstrip("/")] = "generated name"
    return found


def _reported_names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in {"Name", "name"} and isinstance(item, str):
                yield item
            elif key == "Names" and isinstance(item, list):
                yield from (name for name in item if isinstance(name, str))
            else:
                yield from _reported_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _reported_names(item)


def _texts_of(transcript: Transcript) -> Iterator[str]:
    for exchange, messages in transcript.by_step():
        yield from _strings([exchange.sent, exchange.facets])
        for message in messages:
            yield message.summary
            yield from _strings(message.fields)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
