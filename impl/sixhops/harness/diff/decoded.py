"""Values that carry other values, taken apart so that only what matters in them is compared.

Archives, streams of JSON values, multiplexed output, JSON in base64, the first message of a TLS connection: each is cut up
into plain data; what then must vary in it is the business of the other rules.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import Any, Final

from sixhops.harness.diff.archives import archive_value, is_archive
from sixhops.harness.diff.streams import without_progress
from sixhops.harness.diff.tokens import token
from sixhops.harness.run.incoming import JsonValues
from sixhops.wire.rawstream import Decoder, RawStreamError

__all__ = [
    "accept_key",
    "base64_json",
    "body_value",
    "sorted_words",
    "without_boundary",
    "without_strangers",
    "without_tls",
]

_WEBSOCKET: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TLS: Final = re.compile(r"""starts with b['"]\\x16\\x03\\x01.*""", re.DOTALL)


def body_value(body: Any) -> Any:
    """Return a body as data when it is of a known form, else as it is."""
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if not isinstance(data, bytes) or len(data) < 2:
        return body
    if is_archive(data):
        return archive_value(data, body)
    if data[:1] == b"{":
        return _json_values(data, body)
    if data[:3] == b"\x16\x03\x01":
        return token("beginning of TLS")
    if data[1:4] == b"\0\0\0" and data[0] in {0, 1, 2}:
        return _output(data, body)
    return body


def _json_values(data: bytes, body: Any) -> Any:
    values = JsonValues()
    values.feed(data)
    values.finish()
    if values.broken or len(values.values) < 2:
        return body
    return {"values": without_progress(values.values)}


def _output(data: bytes, body: Any) -> Any:
    streams: dict[str, bytes] = {}
    decoder = Decoder()
    try:
        for frame in decoder.feed(data):
            streams[frame.stream.label] = streams.get(frame.stream.label, b"") + frame.data
    except RawStreamError:
        return body
    return body if decoder.pending else {"streams": dict(sorted(streams.items()))}


def base64_json(text: str) -> Any:
    """Return the JSON value in a base64 text (either alphabet, with or without padding), or the text."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return json.loads(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return text


def accept_key(key: str) -> str:
    """Return the answer to a Sec-WebSocket-Key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(
        hashlib.sha1(f"{key}{_WEBSOCKET}".encode(), usedforsecurity=False).digest()
    ).decode()


def sorted_words(text: str) -> str:
    """Return a header's list of values in a fixed order."""
    return ", ".join(sorted(part.strip() for part in text.split(",")))


def without_boundary(facets: dict[str, Any]) -> dict[str, Any]:
    """Return an answer's facets with a token for the boundary between the parts of its body (RFC 2046, section 5.1)."""
    headers = facets.get("headers")
    kind = headers.get("content-type", "") if isinstance(headers, dict) else ""
    found = re.search(r'boundary="?([\w\'()+,./:=?-]+)', kind)
    if not isinstance(headers, dict) or found is None or not isinstance(facets.get("body"), str):
        return facets
    word = token("boundary")
    return {
        **facets,
        "headers": {**headers, "content-type": kind.replace(found[1], word)},
        "body": facets["body"].replace(found[1], word),
    }


def without_tls(text: str) -> str:
    """Return an error about bytes that are no HTTP without the bytes, when they were the beginning of TLS."""
    return _TLS.sub(f"starts with {token('beginning of TLS')}", text)


def without_strangers(values: list[Any], own: frozenset[str], named: str) -> list[Any]:
    """Return a list of images without those that other scenarios have left on the same stack.

    `own`: ids of the scenario's images; `named`: all that the scenario's steps asked for, as one text. An image that is
    neither, and has a name, is another scenario's.
    """
    if not all(isinstance(item, dict) and {"Id", "RepoTags", "ParentId"} <= item.keys() for item in values):
        return values
    return [
        item
        for item in values
        if item["Id"] in own
        or not item["RepoTags"]
        or any(tag.rpartition(":")[0] in named for tag in item["RepoTags"])
    ]
