"""Requests of our own to the engine and the registry, outside of any step: preparing, cleaning up,
looking.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sixhops.harness.errors import Mark, TargetError
from sixhops.harness.run.connection import Connection
from sixhops.harness.run.content import Content, json_content
from sixhops.harness.run.incoming import JsonValues
from sixhops.harness.run.outgoing import build, head_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.target import Address

__all__ = ["Answer", "Api", "quoted"]

_TIMEOUT = 60.0
_HERE = Mark("sixhops", 1, 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `values` are the body's JSON values, empty when it holds none."""

    status: int
    headers: dict[str, str]
    values: list[Any]
    text: str

    @property
    def json(self) -> Any:
        """Return the body's first JSON value, None when there is none."""
        return self.values[0] if self.values else None


class Api:
    """A client of `address`, one connection a request. `host` is what the Host header says."""

    def __init__(self, address: Address, host: str, timeout: float = _TIMEOUT) -> None:
        self._address = address
        self._host = host
        self._timeout = timeout

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        accepted: frozenset[int] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Return the answer to one request. `body`: Content, or data to send as JSON.

        Raises TargetError when no answer comes in time, or its status is not among `accepted` (None: any
        will do).
        """
        content = body if isinstance(body, Content) or body is None else json_content(body)
        request = build(
            method, target, host=self._host, mark=_HERE, headers={**(headers or {})}, content=content
        )
        connection = Connection(self._address, time.monotonic() + self._timeout)
        try:
            _send(connection, head_bytes(request), request.body_bytes())
            head = connection.read_head(method)
            data = b"".join(connection.read_body())
        finally:
            connection.close()
        values = JsonValues()
        values.feed(data)
        values.finish()
        answer = Answer(head.status, head.joined(), values.values, data.decode("utf-8", "replace"))
        if accepted is not None and answer.status not in accepted:
            said = _message(answer)
            raise TargetError(f"{self._address.text}: {method} {target} answered {answer.status}: {said}")
        return answer


def quoted(name: str) -> str:
    """Return `name` for use as one segment of a path; image names keep their slashes, colons and at-signs."""
    return quote(name, safe="/:@")


def _send(connection: Connection, head: bytes, parts: Iterator[bytes]) -> None:
    connection.send(head + next(parts, b""))
    for part in parts:
        connection.send(part)


def _message(answer: Answer) -> str:
    if isinstance(answer.json, dict) and "message" in answer.json:
        return str(answer.json["message"])
    return json.dumps(answer.text[:200])
