"""One run of one scenario as the page's JSON document: steps, rows of the picture, messages, what did not hold. Pure.

    {"verdict", "seconds", "brief", "fault", "began", "leftovers", "logs", "known", "unseen",
     "steps": [{"step", "name", "kind", "at", "took", "attempts", "open", "verdict", "error", "skipped", "note",
                "rows": [[kind, message, source, sink, at, [active lanes]]],
                "failures": [{"facet", "path", "hop", "text", "known", "message"}]}],
     "messages": [{"hop", "summary", "at", "took", "own", "fields" or "sent" and "seen"}]}

Times are seconds from the scenario's beginning; `message` numbers count in `messages`. A failure without a message is about
one that never came: the picture shows its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.report.lanes import PATH, lanes_of_message, lanes_of_step, own_hop
from sixhops.harness.report.rows import Call, Row, rows_of
from sixhops.harness.report.values import page_value
from sixhops.harness.show.calls import sent_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.harness.run.transcript import Judgement, Transcript

__all__ = ["Picture", "StepPicture", "document_of", "picture_of"]

_AT_MESSAGE: Final = re.compile(r"(?:registry|containerd|shim|runtime|engine)\[(\d+)\]")
_CLOSEST: Final = re.compile(r"the closest is \[(\d+)\]")
_EXPECTED_CALL: Final = re.compile(r'^ *expected  \{.*?\b(?:call|command): "([^"]+)"', re.MULTILINE)
#: Kinds of steps whose own call is drawn as an arrow; the others are notes beside the lanes.
_CALLS: Final = frozenset({"request", "registry", "grpc", "ttrpc", "runc", "docker"})
_LOOKS_BACK: Final = frozenset({"join", "await"})
_SIDES: Final = ("request", "response", "upstream_stream")


@dataclass(frozen=True, slots=True)
class StepPicture:
    """One step: its rows, the number of its own call (-1: it has none), and failures with the message that each is about."""

    exchange: Exchange
    #: What taps saw of what the step caused, by sequence.
    messages: list[HopMessage]
    judgement: Judgement | None
    own: int
    rows: list[Row]
    failures: list[tuple[dict[str, str], int | None]]


@dataclass(frozen=True, slots=True)
class Picture:
    """One scenario's run as it is drawn. `messages`: what taps saw, or the exchange for a step's own call."""

    transcript: Transcript
    messages: list[HopMessage | Exchange]
    steps: list[StepPicture]
    #: The number of each message by its sequence.
    numbers: dict[int, int]

    def at(self, moment: float) -> float:
        """Return a moment of the run's clock as seconds from its beginning."""
        return moment - self.transcript.clock.monotonic


def picture_of(transcript: Transcript) -> Picture:
    """Return what is drawn of a run."""
    picture = Picture(transcript, [], [], {})
    for exchange, messages in transcript.by_step():
        own = -1
        calls: list[Call] = []
        taken = _echo_of(exchange, messages)
        if exchange.kind in _CALLS or exchange.kind in _LOOKS_BACK:
            own = len(picture.messages)
            picture.messages.append(exchange)
            source, sink = lanes_of_step(exchange)
            calls.append(
                Call(
                    own,
                    source,
                    sink,
                    picture.at(exchange.started),
                    picture.at(exchange.ended),
                    answer_only=exchange.kind in _LOOKS_BACK,
                    # What still runs has not been answered.
                    is_event=not exchange.complete and exchange.kind not in _LOOKS_BACK,
                )
            )
        for message in messages:
            picture.numbers[message.sequence] = len(picture.messages)
            if message is not taken:
                calls.append(_call(picture, message))
            picture.messages.append(message)
        judgement = transcript.judgements.get(exchange.step)
        picture.steps.append(StepPicture(exchange, messages, judgement, own, rows_of(calls), []))
    for step in picture.steps:
        if step.judgement is not None:
            step.failures.extend(
                (failure, _about(picture, step, failure)) for failure in step.judgement.failures
            )
    return picture


def _call(picture: Picture, message: HopMessage) -> Call:
    source, sink = lanes_of_message(message)
    lone = message.summary.startswith("event ") or message.summary.endswith(" -> ...")
    at, ended = picture.at(message.started), picture.at(message.ended)
    return Call(len(picture.messages), source, sink, at, ended, is_event=lone)


def _echo_of(exchange: Exchange, messages: Sequence[HopMessage]) -> HopMessage | None:
    """Return the message in which a tap saw the step's own call, which is drawn once."""
    sent: dict[str, Any] = exchange.sent
    for message in messages:
        fields = message.fields
        if exchange.kind == "grpc" and message.hop == "containerd" and fields.get("path") == sent.get("path"):
            return message
        is_method = fields.get("method") == sent.get("method")
        if exchange.kind == "ttrpc" and message.hop == "shim" and "service" in sent and is_method:
            return message
        if exchange.kind == "runc" and message.hop == "runtime":
            return message
    return None


def _about(picture: Picture, step: StepPicture, failure: Mapping[str, str]) -> int | None:
    """Return the number of the message that a failure is about, None when it is about one that is not there."""
    facet = failure["facet"]
    if facet not in PATH or facet == "process":
        return step.own if step.own >= 0 else None
    seen = [message for message in step.exchange.messages if message.hop == facet]
    place = _AT_MESSAGE.match(failure["path"]) or _CLOSEST.search(failure["text"])
    if place is not None:
        index = int(place[1])
        return picture.numbers.get(seen[index].sequence) if index < len(seen) else None
    # Of a call that is there, and is not as it should be, the judge says that it lacks one like the expected.
    named = _EXPECTED_CALL.search(failure["text"])
    alike = [message for message in seen if named and message.summary.startswith(f"{named[1]} -> ")]
    return picture.numbers.get(alike[0].sequence) if alike else None


def document_of(transcript: Transcript, picture: Picture) -> dict[str, Any]:
    """Return the document."""
    outcome = transcript.outcome
    hops = transcript.header["target"]["hops"]
    known = list(outcome.get("known", ()))
    return {
        "verdict": str(outcome.get("verdict", "broken off")),
        "seconds": float(outcome.get("seconds", 0.0)),
        "brief": str(outcome.get("brief", "")),
        "fault": str(outcome.get("fault", "")),
        "began": transcript.clock.at(transcript.clock.monotonic).isoformat(timespec="milliseconds"),
        "skips": list(outcome.get("skips", ())),
        "leftovers": list(outcome.get("leftovers", ())),
        "logs": {name: text for name, text in outcome.get("logs", {}).items() if text.strip()},
        "known": known,
        "unseen": {hop: reason for hop, reason in hops.items() if reason is not None},
        "steps": [_step(picture, step, known) for step in picture.steps],
        "messages": [_message(picture, item) for item in picture.messages],
    }


def _step(picture: Picture, step: StepPicture, known: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    exchange, judgement = step.exchange, step.judgement
    reasons = {item["step"]: item["reason"] for item in known}
    found: dict[str, Any] = {
        "step": exchange.step,
        "name": exchange.name,
        "kind": exchange.kind,
        "hop": str(own_hop(exchange)),
        "at": _seconds(picture.at(exchange.started)),
        "took": _seconds(exchange.ended - exchange.started),
        "verdict": judgement.status if judgement is not None else "",
        "own": step.own,
        "rows": [
            [row.kind, row.message, row.source, row.sink, _seconds(row.at), list(row.active)]
            for row in step.rows
        ],
        "failures": [
            {**failure, "known": reasons.get(exchange.name, ""), "message": message}
            for failure, message in step.failures
        ],
    }
    if exchange.attempts > 1:
        found["attempts"] = exchange.attempts
    if not exchange.complete:
        found["open"] = True
    if exchange.error is not None:
        found["error"] = exchange.error
    if judgement is not None and judgement.skipped:
        found["skipped"] = judgement.skipped
    if step.own < 0:
        found["note"] = {"sent": page_value(exchange.sent), "seen": page_value(exchange.facets)}
    return found


def _message(picture: Picture, item: HopMessage | Exchange) -> dict[str, Any]:
    took = _seconds(max(0.0, item.ended - item.started))
    found: dict[str, Any] = {"at": _seconds(picture.at(item.started)), "took": took}
    if isinstance(item, HopMessage):
        fields = {name: page_value(value) for name, value in _once(item.fields).items()}
        return {**found, "hop": str(item.hop), "summary": item.summary, "fields": fields}
    facets = dict(item.facets)
    if "json" in facets or "stream" in facets:
        facets.pop("body", None)
    if facets.get("stream") == [facets.get("json")]:
        del facets["stream"]
    return {
        **found,
        "hop": str(own_hop(item)),
        "own": True,
        "summary": sent_line(item) or item.name,
        "sent": page_value(item.sent),
        "seen": page_value(facets),
    }


def _once(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message's fields with each body once: as JSON where it is JSON."""
    kept = dict(fields)
    for side in _SIDES:
        if f"{side}_json" in kept:
            kept.pop(f"{side}_body", None)
        kept.pop(f"{side}_sha256", None)
        if not kept.get(f"{side}_truncated", True):
            del kept[f"{side}_truncated"]
    return kept


def _seconds(value: float) -> float:
    return round(value, 6)
