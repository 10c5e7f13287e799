"""Refusals with the codes of the specification.

The table is the specification's error list with the statuses and messages that docker-registry 2.8 sends.
A `Refusal` is the client's fault (or its bad luck); anything else that escapes a handler is ours, logged,
and answered with 500 UNKNOWN.
"""

from __future__ import annotations

import json
from typing import Any, Final

CODES: Final[dict[str, tuple[int, str]]] = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (404, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (400, "blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown"),
    "MANIFEST_UNVERIFIED": (400, "manifest failed signature verification"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "PAGINATION_NUMBER_INVALID": (400, "invalid number of results requested"),
    "RANGE_INVALID": (416, "invalid content range"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "TAG_INVALID": (400, "manifest tag did not match URI"),
    "UNAUTHORIZED": (401, "authentication required"),
    "DENIED": (403, "requested access to the resource is denied"),
    "TOOMANYREQUESTS": (429, "too many requests"),
    "UNAVAILABLE": (503, "service unavailable"),
    "UNKNOWN": (500, "unknown error"),
    "UNSUPPORTED": (405, "The operation is unsupported."),
}

_NO_DETAIL: Final = object()


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """One specified error, answered as JSON.

    `detail` is any JSON value and is left out when not given, as docker-registry does; `status` and
    `message` override the table; `headers` go into the response (`Range` of an upload, `WWW-Authenticate`).
    """

    def __init__(
        self,
        code: str,
        *,
        detail: Any = _NO_DETAIL,
        message: str | None = None,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        known_status, known_message = CODES[code]
        self.code = code
        self.status = known_status if status is None else status
        self.headers = headers or {}
        self.entries: list[dict[str, Any]] = [{"code": code, "message": message or known_message}]
        if detail is not _NO_DETAIL:
            self.entries[0]["detail"] = detail
        super().__init__(f"{self.status} {code}")

    def add(self, other: Refusal) -> Refusal:
        """Append the entries of `other`; the status stays that of the first, as docker-registry answers."""
        self.entries += other.entries
        return self

    def body(self) -> bytes:
        """Return the JSON document of the answer."""
        return encode({"errors": self.entries})


def encode(document: object) -> bytes:
    """Return `document` as Go's JSON encoder writes it: compact, HTML-escaped, with a line feed."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate can come in through a URL or a manifest; it must not become an error of ours.
    return text.encode("utf-8", "replace") + b"\n"
