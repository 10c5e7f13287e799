"""What was observed: the values that travel from the runner to the judge, to transcripts and to reports.

`Exchange` is one step's outcome; `HopMessage` is one message that a tap saw. Both are plain data that can be written
as JSON and read back equal (`to_json`, `from_json`), so a saved run can be judged again without an engine.
Times are seconds on the run's monotonic clock.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Exchange", "Facet", "HopMessage", "Json"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Facet: TypeAlias = "Json | bytes"


@dataclass(frozen=True, slots=True)
class HopMessage:
    """One message on one hop, decoded.

    `summary` is the line that an expectation's short form is compared with, e.g.
    `GET /v2/library/hello-world/manifests/latest -> 200`; `fields` are the decoded parts (HTTP: method, path, query,
    status, request_headers, response_headers, request_body, response_body, complete, error).
    """

    hop: str
    sequence: int
    started: float
    ended: float
    summary: str
    fields: dict[str, Facet] = field(default_factory=dict)


@dataclass(slots=True)
class Exchange:
    """What one step did and saw.

    `facets` hold what expectations look at, by facet name:

    - HTTP (`request`, `registry`): `status` int, `reason` str, `headers` dict of lower-case name to value (repeated
      headers joined by ", "), `json` (absent when the body is not JSON), `body` str (UTF-8 text) or bytes,
      `stream` list of JSON values (bodies of several JSON values, as progress and events are)
    - hijacked or multiplexed streams: also `stdout`, `stderr` (str, or bytes when not UTF-8), `output` (both in
      order of arrival; the raw stream when there is no multiplexing), `frames` list of {stream, data}, `eof` bool
    - `docker`: `exit` int, `stdout`, `stderr`, `output` (pty)
    - `processes`: `processes` list, see `tap.processes`
    - `file`: `exists`, `type`, `mode`, `uid`, `gid`, `size`, `target`, `text`, `json`, `lines` (a JSON value a line)

    `messages` are what the taps saw while the step ran, all hops. `sent` is what the step asked for, resolved.
    `error` is set when the step could not be performed to its end (connection refused, time-out); facets hold what
    was seen until then. `complete` is false while a background step still runs.
    """

    step: int
    name: str
    kind: str
    started: float
    ended: float
    sent: dict[str, Facet] = field(default_factory=dict)
    facets: dict[str, Facet] = field(default_factory=dict)
    messages: list[HopMessage] = field(default_factory=list)
    unobserved: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    complete: bool = True
    attempts: int = 1


def to_json(value: Any) -> Any:
    """Return `value` as JSON data; bytes become `{"$bytes": base64}`."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any) -> Any:
    """Undo `to_json`."""
    if isinstance(value, dict):
        if value.keys() == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value
