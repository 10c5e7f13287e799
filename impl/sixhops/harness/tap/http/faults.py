"""Which request a fault rule acts on, and how a rule changes an answer.

Rules come from a scenario (`FaultRule`) with every template already replaced. They are asked in order; the
first that matches and is not used up acts, and only that one counts the request.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import InternalError
from sixhops.harness.tap.http.message import Body, Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.scenario.model import FaultRule

__all__ = ["FaultPlan", "declare", "describe", "flip", "made_up_answer", "retargeted"]


@dataclass(slots=True)
class _Counted:
    rule: FaultRule
    seen: int = 0


class FaultPlan:
    """The rules of one scenario with their counters. Asked by the tap's thread, replaced by the runner's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Counted] = []

    def replace(self, rules: Sequence[FaultRule]) -> None:
        """Forget the rules and counters of before and begin with `rules`."""
        for rule in rules:
            if not isinstance(rule.path, str):
                raise InternalError(
                    f"{rule.mark}: the fault rule's path still is {rule.path!r}; resolve it first"
                )
        with self._lock:
            self._rules = [_Counted(rule) for rule in rules]

    def pick(self, method: str, target: str) -> FaultRule | None:
        """Return the rule that acts on this request, and count the request; None when none does."""
        with self._lock:
            for counted in self._rules:
                if not _matches(counted.rule, method, target):
                    continue
                counted.seen += 1
                used = counted.seen - counted.rule.after
                if used > 0 and (counted.rule.times is None or used <= counted.rule.times):
                    return counted.rule
        return None


def _matches(rule: FaultRule, method: str, target: str) -> bool:
    pattern = str(rule.path)
    path = target.partition("?")[0]
    return fnmatchcase(method, rule.method) and (fnmatchcase(path, pattern) or fnmatchcase(target, pattern))


def describe(rule: FaultRule) -> str:
    """Return what a rule does, for the message that it acted on: `cut after 100 body bytes`."""
    if rule.status is not None:
        return f"status {rule.status}"
    if rule.cut is not None:
        return f"cut after {rule.cut} body bytes"
    if rule.corrupt is not None:
        return f"corrupt body byte {rule.corrupt}"
    if rule.delay is not None:
        return f"delay of {rule.delay:g} s"
    if rule.length is not None:
        return f"length {rule.length} declared"
    if rule.digest is not None:
        return f"digest {rule.digest} declared"
    if rule.instead is not None:
        return f"answer of {rule.instead}"
    raise InternalError(f"{rule.mark}: a fault rule without an action")


def made_up_answer(rule: FaultRule, method: str) -> tuple[Head, bytes, bytes]:
    """Return the answer of a `status` rule as head, head bytes and body bytes (none for HEAD).

    A body that is neither text nor bytes is sent as JSON, with that content type unless the rule's headers name one.
    """
    if rule.status is None:
        raise InternalError(f"{rule.mark}: asked for the answer of a rule that gives none")
    headers = {name: str(value) for name, value in rule.headers.items()}
    names = {name.lower() for name in headers}
    body = b""
    given: Any = rule.body
    if isinstance(given, str | bytes):
        body = given.encode() if isinstance(given, str) else given
    elif given is not None:
        body = json.dumps(given, separators=(",", ":")).encode()
        if "content-type" not in names:
            headers["Content-Type"] = "application/json"
    if rule.status in {204, 304}:
        body = b""
    elif "content-length" not in names:
        headers["Content-Length"] = str(len(body))
    head = Head("1.1", status=rule.status, reason=_reason(rule.status), headers=tuple(headers.items()))
    return head, _write_head(head), b"" if method == "HEAD" else body


def declare(head: Head, rule: FaultRule) -> tuple[Head, bytes] | None:
    """Return an answer's head and its bytes with the length or digest that `rule` declares; None when it declares none.

    A length stands instead of the true one and of chunked framing.
    """
    if rule.length is not None:
        return _with(
            head, {"content-length", "transfer-encoding"}, "Content-Length", str(rule.length), Body.LENGTH
        )
    if rule.digest is not None:
        return _with(head, {"docker-content-digest"}, "Docker-Content-Digest", str(rule.digest), head.body)
    return None


def _with(head: Head, dropped: set[str], name: str, value: str, body: Body) -> tuple[Head, bytes]:
    kept = [(other, text) for other, text in head.headers if other.lower() not in dropped]
    headers = (*kept, (name, value))
    changed = Head(head.version, status=head.status, reason=head.reason, headers=headers, body=body)
    return changed, _write_head(changed)


def retargeted(raw: bytes, target: str) -> bytes:
    """Return a request head's bytes with another target."""
    method, _, rest = raw.partition(b" ")
    _, _, version = rest.partition(b" ")
    return b" ".join((method, target.encode("ascii", "replace"), version))


def flip(data: bytes, offset: int) -> bytes:
    """Return `data` with all bits of the byte at `offset` inverted, so that it is surely another byte."""
    return data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :]


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _write_head(head: Head) -> bytes:
    lines = [f"HTTP/{head.version} {head.status} {head.reason}", *(f"{k}: {v}" for k, v in head.headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
