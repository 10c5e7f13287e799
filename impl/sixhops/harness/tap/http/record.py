"""Collects what passes a tap into one `HopMessage` for each request with its answer."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sixhops.harness.tap.values import as_text

if TYPE_CHECKING:
    from sixhops.harness.exchange import Facet
    from sixhops.harness.tap.http.message import Head
    from sixhops.harness.tap.recorder import OpenMessage

__all__ = ["BODY_LIMIT", "Capture", "HttpRecord", "split_target"]

#: Bytes of a body that a message keeps. Beyond it `*_truncated` is true; length and SHA-256 always cover
#: the whole.
BODY_LIMIT = 64 * 1024


class Capture:
    """The beginning of a body, with the length and the SHA-256 of all of it."""

    def __init__(self, limit: int = BODY_LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._hash = hashlib.sha256()
        self.length = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        room = self._limit - len(self._kept)
        if room > 0:
            self._kept += data[:room]
        self._hash.update(data)
        self.length += len(data)

    def fields(self, prefix: str, *, is_json: bool) -> dict[str, Facet]:
        """Return `<prefix>_body`, and when it is not empty length, digest, `_truncated` and `_json` where
        they apply.
        """
        kept = bytes(self._kept)
        result: dict[str, Facet] = {f"{prefix}_body": as_text(kept)}
        if not self.length:
            return result
        result[f"{prefix}_length"] = self.length
        result[f"{prefix}_sha256"] = self._hash.hexdigest()
        if self.length > len(kept):
            result[f"{prefix}_truncated"] = True
        elif is_json or kept[:1] in {b"{", b"["}:
            try:
                result[f"{prefix}_json"] = json.loads(kept)
            except (ValueError, RecursionError):
                # Streams of JSON values and mislabelled bodies are kept as text; absence of the field says
                # so.
                return result
        return result


class HttpRecord:
    """One request and its answer while they pass. Every record that is made is finished exactly once."""

    def __init__(self, message: OpenMessage) -> None:
        self._message = message
        self.request: Head | None = None
        self.answer: Head | None = None
        self.request_body = Capture()
        self.answer_body = Capture()
        self.upstream_stream = Capture()
        self.fault: str | None = None
        self.torn = b""
        self.request_done = False
        self.answer_done = False
        self.finished = False

    @property
    def method(self) -> str:
        """Return the request's method; `?` as long as none could be read."""
        return self.request.method if self.request else "?"

    def finish(self, error: str | None = None) -> None:
        """Hand the message to the recorder. `error` says what broke it off; a later call changes nothing."""
        if self.finished:
            return
        self.finished = True
        complete = error is None and self.request_done and self.answer_done
        fields: dict[str, Facet] = {"method": self.method, "complete": complete, "error": error}
        line = "?"
        if self.torn:
            fields["request_raw"] = as_text(self.torn[:BODY_LIMIT])
        if self.request is not None:
            path, query = split_target(self.request.target)
            line = f"{self.method} {path}"
            headers = self.request.joined()
            seen: dict[str, Any] = {"target": self.request.target, "path": path, "query": query}
            fields |= {**seen, "request_headers": {**headers}}
            fields |= self.request_body.fields("request", is_json=_is_json(headers))
        if self.answer is not None:
            headers = self.answer.joined()
            fields |= {
                "status": self.answer.status,
                "reason": self.answer.reason,
                "response_headers": {**headers},
            }
            fields |= self.answer_body.fields("response", is_json=_is_json(headers))
        if self.upstream_stream.length:
            fields |= self.upstream_stream.fields("upstream_stream", is_json=False)
        if self.fault is not None:
            fields["fault"] = self.fault
        outcome = str(self.answer.status) if self.answer else "no answer"
        self._message.finish(f"{line} -> {outcome}", fields)


def split_target(target: str) -> tuple[str, dict[str, Facet]]:
    """Return a request target's path and its query; a name that is given several times has the list of its
    values.
    """
    path, _, text = target.partition("?")
    query: dict[str, Facet] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        seen = query.get(name)
        if seen is None:
            query[name] = value
        elif isinstance(seen, list):
            seen.append(value)
        elif isinstance(seen, str):
            query[name] = [seen, value]
    return path, query


def _is_json(headers: dict[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")
