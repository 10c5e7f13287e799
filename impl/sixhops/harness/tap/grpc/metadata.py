"""What gRPC says in HTTP/2 headers: metadata, deadlines, status and its details; bytes in, values out."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from sixhops.harness.tap.decode import decode_bytes
from sixhops.harness.tap.values import as_text
from sixhops.wire.proto import rpc_pb2

if TYPE_CHECKING:
    from sixhops.harness.exchange import Facet
    from sixhops.harness.tap.grpc.session import Headers

__all__ = ["Status", "code_name", "deadline", "metadata", "status_of", "status_of_reset"]

_NAMES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
#: gRPC's "HTTP to gRPC status code mapping", for answers without a grpc-status.
_FROM_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
#: gRPC over HTTP/2, "Errors": what a reset stream means to the client, by HTTP/2's code. Others are INTERNAL.
_FROM_RESET = {0x7: 14, 0x8: 1, 0xB: 8, 0xC: 7}
#: What the protocol needs for itself and this module or the call's fields report in another way.
_OWN = frozenset(
    {
        "content-type",
        "te",
        "user-agent",
        "grpc-accept-encoding",
        "grpc-encoding",
        "grpc-message",
        "grpc-status",
        "grpc-timeout",
    }
)
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Status(NamedTuple):
    """How a call ended. `details` is None when there are none; `error` says why the status is only deduced."""

    code: int
    message: str = ""
    details: list[Facet] | None = None
    error: str | None = None


def code_name(code: int) -> str:
    """Return gRPC's name of a status code (`NOT_FOUND`), or `CODE_99` when it has none."""
    return _NAMES[code] if 0 <= code < len(_NAMES) else f"CODE_{code}"


def metadata(headers: Headers) -> dict[str, Facet]:
    """Return metadata by lower-case name, without pseudo headers and what gRPC needs for itself.

    Repeated names are joined by a comma and a space. Values of `-bin` names are bytes (a list of them when there
    are several); what isn't base64 stays text.
    """
    found: dict[str, list[bytes]] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if not name.startswith(":") and name not in _OWN:
            found.setdefault(name, []).append(value)
    result: dict[str, Facet] = {}
    for name, values in found.items():
        result[name] = ", ".join(map(_text, values))
        if name.endswith("-bin"):
            blobs = [_binaries(value) for value in values]
            if None not in blobs:
                flat = [blob for several in blobs if several is not None for blob in several]
                result[name] = flat[0] if len(flat) == 1 else flat  # type: ignore[assignment]
    return result


def deadline(headers: Headers) -> float | None:
    """Return the call's time limit in seconds (grpc-timeout); None when there is none that can be read."""
    found = _TIMEOUT.fullmatch(_find(headers, b"grpc-timeout") or b"")
    return int(found[1]) * _SECONDS[found[2]] if found else None


def status_of(trailers: Headers, headers: Headers) -> Status:
    """Return the status that trailers say; `headers` are the answer's first ones, for answers that lack a status."""
    text = _find(trailers, b"grpc-status")
    message = _text(unquote_to_bytes(_find(trailers, b"grpc-message") or b""))
    if text is None:
        http = _find(trailers, b":status") or _find(headers, b":status") or b"none"
        code = _FROM_HTTP.get(int(http), 2) if http.isdigit() else 2
        return Status(code, message, None, f"answered without a grpc-status (HTTP status {_text(http)})")
    if not text.isdigit() or len(text) > 9:
        return Status(
            2, message, None, f"answered with a grpc-status that is no number: {_text(text[:80])!r}"
        )
    return Status(int(text), message, _details(trailers))


def status_of_reset(code: int) -> Status:
    """Return what a client makes of a stream that the server has reset with HTTP/2's error `code`."""
    return Status(_FROM_RESET.get(code, 13), "", None, f"the server reset the stream (HTTP/2 error {code})")


def _details(trailers: Headers) -> list[Facet] | None:
    raw = _find(trailers, b"grpc-status-details-bin")
    blobs = _binaries(raw) if raw is not None else None
    if blobs is None:
        return None
    status = decode_bytes(blobs[0], rpc_pb2.Status)
    if isinstance(status, bytes):
        return None
    details = status.get("details", [])
    return details if isinstance(details, list) else None  # type: ignore[return-value]


def _find(headers: Headers, name: bytes) -> bytes | None:
    return next((value for key, value in headers if key == name), None)


def _binaries(value: bytes) -> list[bytes] | None:
    """Return what the value of a `-bin` name stands for; None when it isn't base64."""
    if value.startswith(b"\0"):
        # C-core's "true binary metadata", which its peers agree on by a setting: bytes as they are, after a zero.
        return [value[1:]]
    try:
        parts = [part.strip().rstrip(b"=") for part in value.split(b",")]
        return [base64.b64decode(part + b"=" * (-len(part) % 4), validate=True) for part in parts]
    except (binascii.Error, ValueError):
        return None


def _text(value: bytes) -> str:
    text = as_text(value)
    return text if isinstance(text, str) else value.decode("latin-1")
