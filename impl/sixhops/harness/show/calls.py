"""The HTTP calls of a transcript: what steps asked themselves, and what taps saw on the engine and registry hops.

A background step's answer is complete only in the step that joins it, so a later exchange with the same request takes the
place of an unfinished one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sixhops.harness.exchange import Exchange, HopMessage
    from sixhops.harness.run.transcript import Transcript

__all__ = ["HTTP_HOPS", "HttpCall", "http_calls", "sent_line"]

HTTP_HOPS: Final = ("engine", "registry")
_FOLLOW: Final = frozenset({"join", "await"})


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request and its answer. `status` is 0 without an answer; times are on the run's monotonic clock.

    Bodies are as much as was kept; `request_size` and `response_size` are the bytes that passed (-1: not known). `client` is
    `step` for a request of the harness's own, `tap` for one that a tap saw.
    """

    hop: str
    client: str
    step: int
    step_name: str
    started: float
    ended: float
    method: str
    target: str
    request_headers: dict[str, str]
    request_body: str | bytes
    request_size: int
    status: int
    reason: str
    response_headers: dict[str, str]
    response_body: str | bytes
    response_size: int
    error: str | None


def http_calls(transcript: Transcript) -> list[HttpCall]:
    """Return all HTTP calls, in the order in which they began."""
    calls: list[HttpCall] = []
    unfinished: list[tuple[int, dict[str, Any]]] = []
    for exchange, messages in transcript.by_step():
        if "method" in exchange.sent and exchange.kind in {"request", "registry"}:
            if not exchange.complete:
                unfinished.append((len(calls), exchange.sent))
            calls.append(_of_exchange(exchange))
        elif exchange.kind in _FOLLOW:
            at = next((at for at, sent in reversed(unfinished) if sent == exchange.sent), None)
            if at is not None:
                calls[at] = _completed(calls[at], exchange)
        calls += [
            _of_message(message, exchange)
            for message in messages
            if message.hop in HTTP_HOPS and message.fields.get("method", "?") != "?"
        ]
    return sorted(calls, key=lambda call: call.started)


def sent_line(exchange: Exchange) -> str:
    """Return what a step asked for on one line, with what came of it: a request, a call or a runtime's command line.

    Empty for a step that asks for nothing. A step that looks at another one's (`join`) has that one's line.
    """
    sent: dict[str, Any] = exchange.sent
    facets: dict[str, Any] = exchange.facets
    waiting = "no answer" if exchange.complete else "..."
    if {"method", "target"} <= sent.keys():
        return f"{sent['method']} {sent['target']} -> {facets.get('status', waiting)}"
    if {"service", "method"} <= sent.keys():
        return f"{sent['service']}/{sent['method']} -> {facets.get('status', waiting)}"
    if {"path", "messages"} <= sent.keys():
        return f"{str(sent['path'])[1:]} -> {facets.get('status', waiting)}"
    argv = sent.get("argv")
    if isinstance(argv, list):
        return f"{' '.join(map(str, argv))} -> {facets.get('exit', waiting)}"
    return ""


def _of_exchange(exchange: Exchange) -> HttpCall:
    sent, facets = exchange.sent, exchange.facets
    body: Any = facets.get("body", "")
    return HttpCall(
        hop="registry" if exchange.kind == "registry" else "engine",
        client="step",
        step=exchange.step,
        step_name=exchange.name,
        started=exchange.started,
        ended=exchange.ended,
        method=str(sent["method"]),
        target=str(sent["target"]),
        request_headers=_headers(sent.get("headers")),
        request_body=_body(sent.get("body", b"")),
        request_size=_size(sent.get("body_length", 0)),
        status=_size(facets.get("status", 0)),
        reason=str(facets.get("reason", "")),
        response_headers=_headers(facets.get("headers")),
        response_body=_body(body),
        response_size=len(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body),
        error=exchange.error,
    )


def _completed(call: HttpCall, later: Exchange) -> HttpCall:
    whole = _of_exchange(later)
    parts = {name: getattr(whole, name) for name in HttpCall.__slots__}
    own = {name: getattr(call, name) for name in ("hop", "step", "step_name", "started")}
    return HttpCall(**{**parts, **own})


def _of_message(message: HopMessage, exchange: Exchange) -> HttpCall:
    fields = message.fields
    return HttpCall(
        hop=message.hop,
        client="tap",
        step=exchange.step,
        step_name=exchange.name,
        started=message.started,
        ended=message.ended,
        method=str(fields["method"]),
        target=str(fields.get("target", "")),
        request_headers=_headers(fields.get("request_headers")),
        request_body=_body(fields.get("request_body", "")),
        request_size=_size(fields.get("request_length", 0)),
        status=_size(fields.get("status", 0)),
        reason=str(fields.get("reason", "")),
        response_headers=_headers(fields.get("response_headers")),
        response_body=_body(fields.get("response_body", "")),
        response_size=_size(fields.get("response_length", 0)),
        error=None if fields.get("error") is None else str(fields["error"]),
    )


def _headers(value: Any) -> dict[str, str]:
    return {str(name): str(item) for name, item in value.items()} if isinstance(value, dict) else {}


def _body(value: Any) -> str | bytes:
    return value if isinstance(value, bytes) else str(value)


def _size(value: Any) -> int:
    return value if isinstance(value, int) else -1
