"""An exchange's facets without repetition, and without what depends on how its bytes were cut into pieces.

- The same answer is recorded as body, stream and json: the most decoded form stays, with a word on its layout.
- Frames of an attached stream are cut where reads ended: only each stream's whole text stays. Standard output and error are
  two pipes, so their order among each other is nobody's promise.
- Progress lines depend on speed: of each layer only its last states stay, layer by layer.
- Of a step that still ran only what can't change any more stays; the step that joins it has the rest.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.diff.tokens import token

if TYPE_CHECKING:
    from sixhops.harness.exchange import Exchange

__all__ = ["facets_of", "is_settled", "without_progress"]

_HEAD: Final = frozenset({"status", "reason", "headers"})
#: States of a layer that are told as often as there is time for, also not at all: who is slow to read hears the newest
#: state only (moby, distribution/xfer/transfer.go).
_PROGRESS: Final = frozenset(
    {
        "Waiting",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Preparing",
        "Pushing",
    }
)
#: The same as the client prints it.
_PROGRESS_LINE: Final = re.compile(rf"(?m)^[0-9a-f]{{12}}: (?:{'|'.join(sorted(_PROGRESS))})\b.*\r?\n")


def is_settled(exchange: Exchange) -> bool:
    """Say whether what the step saw can't have grown any more."""
    return exchange.complete and exchange.kind not in {"disconnect", "await"}


def facets_of(exchange: Exchange) -> dict[str, Any]:
    """Return the facets to compare; the exchange is not changed."""
    facets: dict[str, Any] = dict(exchange.facets)
    if "headers" in facets:
        facets["headers"] = _own_length(facets)
    if facets.get("reason") == _phrase(facets.get("status")):
        # It follows from the status; another one is news.
        del facets["reason"]
    if not is_settled(exchange):
        if "status" in facets:
            return {name: value for name, value in facets.items() if name in _HEAD}
        return {}
    if "frames" in facets:
        frames = facets.pop("frames")
        facets["streams"] = sorted({str(frame["stream"]) for frame in frames})
        for name in ("body", "output"):
            facets.pop(name, None)
    if "output" in facets and facets.get("body") == facets["output"]:
        del facets["body"]
    if exchange.kind == "docker":
        for name in ("stdout", "stderr", "output"):
            if isinstance(facets.get(name), str):
                facets[name] = _PROGRESS_LINE.sub("", facets[name])
    if "json" in facets:
        facets["layout"] = _layout(facets, facets["json"])
        for name in ("body", "stream", "text", "lines"):
            facets.pop(name, None)
        for name in ("stdout", "output"):
            # What a program printed as JSON is compared as JSON.
            if _is_json(facets.get(name), facets["json"]):
                del facets[name]
    elif "stream" in facets:
        facets.pop("body", None)
        facets["stream"] = without_progress(facets["stream"])
    elif "lines" in facets:
        facets.pop("text", None)
    return facets


def _phrase(status: Any) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _own_length(facets: dict[str, Any]) -> dict[str, Any]:
    headers, body = dict(facets["headers"]), facets.get("body", "")
    length = len(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body)
    if headers.get("content-length") == str(length):
        headers["content-length"] = token("length of the body")
    return headers


def _layout(facets: dict[str, Any], value: Any) -> str:
    """Return in words how a JSON body is written, which its value does not say."""
    body = facets.get("body", facets.get("text", ""))
    if not isinstance(body, str) or not body:
        return ""
    end = "a line break at the end" if body.endswith("\n") else "no line break at the end"
    compact = len(body.strip()) <= len(json.dumps(value, separators=(",", ":")))
    return f"{'compact' if compact else 'spaced'}, {end}"


def _is_json(text: Any, value: Any) -> bool:
    try:
        return isinstance(text, str) and bool(json.loads(text) == value)
    except (ValueError, RecursionError):
        return False


def without_progress(stream: Any) -> Any:
    """Return a stream of JSON values with the progress of each layer apart, and without what depends on speed."""
    if not isinstance(stream, list) or not any(_is_progress(item) for item in stream):
        return stream
    plain: list[Any] = []
    layers: dict[str, list[str]] = {}
    for item in stream:
        if not _is_progress(item):
            plain.append(item)
            continue
        states = layers.setdefault(str(item["id"]), [])
        if item["status"] not in _PROGRESS:
            states.append(str(item["status"]))
    return [*plain, {"layers": layers}]


def _is_progress(item: Any) -> bool:
    return isinstance(item, dict) and "progressDetail" in item and "id" in item and "status" in item
