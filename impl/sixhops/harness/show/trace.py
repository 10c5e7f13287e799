"""All hops of transcripts as a trace that Perfetto and Chrome (chrome://tracing) open.

A scenario is a process, its steps and each hop are tracks (threads), a message is a slice. One track can only hold
slices that lie inside one another, so messages that overlap get further tracks of their hop. A flow leads from a step
through the messages that it caused. Times are microseconds since the transcript began.

Source: "Trace Event Format" (Google), the events X, M, s, t, f.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.exchange import HopMessage, to_json
from sixhops.harness.scenario.model import Hop
from sixhops.harness.show.calls import http_calls, sent_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.exchange import Exchange
    from sixhops.harness.run.transcript import Transcript
    from sixhops.harness.show.calls import HttpCall

__all__ = ["trace_of"]

#: Characters of a text, and elements of a list, that a slice's details keep.
_LONGEST: Final = 2000
_MOST: Final = 100
_STEPS: Final = 1


def trace_of(transcripts: Iterable[Transcript]) -> dict[str, Any]:
    """Return `transcripts` as JSON data, one process each, all beginning at 0."""
    events: list[dict[str, Any]] = []
    for process, transcript in enumerate(transcripts, start=1):
        events += _Process(process, transcript).events()
    return {"traceEvents": events, "displayTimeUnit": "ms"}


class _Process:
    """One transcript's events."""

    def __init__(self, process: int, transcript: Transcript) -> None:
        self._process = process
        self._transcript = transcript
        self._names = {_STEPS: "steps"}
        #: For each track of a hop, its number and the time when it is free again.
        self._lanes: dict[str, list[tuple[int, float]]] = {}

    def events(self) -> list[dict[str, Any]]:
        own: dict[int, list[HopMessage]] = {}
        for call in http_calls(self._transcript):
            if call.client == "step":
                own.setdefault(call.step, []).append(_as_message(call))
        slices = []
        for exchange, messages in self._transcript.by_step():
            slices += self._step(exchange, [*own.get(exchange.step, ()), *messages])
        title = f"{self._transcript.scenario} on {self._transcript.header['target']['name']}"
        named = [self._meta("process_name", 0, {"name": title})]
        for track, name in self._names.items():
            named += [
                self._meta("thread_name", track, {"name": name}),
                self._meta("thread_sort_index", track, {"sort_index": track}),
            ]
        return named + slices

    def _step(self, exchange: Exchange, messages: list[HopMessage]) -> list[dict[str, Any]]:
        name = f"{exchange.step + 1}. {exchange.name}"
        details: dict[str, Any] = {
            "kind": exchange.kind,
            "request": sent_line(exchange),
            "error": exchange.error,
        }
        judgement = self._transcript.judgements.get(exchange.step)
        if judgement is not None:
            details["verdict"] = judgement.status
        events = [self._slice(name, "step", _STEPS, exchange.started, exchange.ended, details)]
        points = [(_STEPS, exchange.started)]
        for message in sorted(messages, key=lambda item: item.started):
            track = self._track(message)
            points.append((track, message.started))
            details = {"step": name, **message.fields}
            events.append(
                self._slice(message.summary, message.hop, track, message.started, message.ended, details)
            )
        if len(points) > 1:
            phases = ["s", *"t" * (len(points) - 2), "f"]
            for phase, (track, moment) in zip(phases, points, strict=True):
                event = self._event(phase, name, "step", track, moment)
                event["id"] = f"{self._process}.{exchange.step}"
                # Bound to the slice around the point, not to the next one that begins.
                events.append({**event, "bp": "e"} if phase == "f" else event)
        return events

    def _track(self, message: HopMessage) -> int:
        lanes = self._lanes.setdefault(message.hop, [])
        for at, (track, free) in enumerate(lanes):
            if free <= message.started:
                lanes[at] = (track, _end(message.started, message.ended))
                return track
        known = [str(hop) for hop in Hop]
        place = known.index(message.hop) + 1 if message.hop in known else len(known) + 1
        track = 1000 * place + len(lanes)
        self._names[track] = message.hop if not lanes else f"{message.hop} ({len(lanes) + 1})"
        lanes.append((track, _end(message.started, message.ended)))
        return track

    def _slice(
        self, name: str, kind: str, track: int, started: float, ended: float, details: dict[str, Any]
    ) -> dict[str, Any]:
        begun = self._at(started)
        length = round(self._at(_end(started, ended)) - begun, 3)
        event = self._event("X", name, kind, track, started)
        return {**event, "dur": length, "args": _shortened(to_json(details))}

    def _event(self, phase: str, name: str, kind: str, track: int, moment: float) -> dict[str, Any]:
        return {
            "ph": phase,
            "name": name,
            "cat": kind,
            "pid": self._process,
            "tid": track,
            "ts": self._at(moment),
        }

    def _meta(self, kind: str, track: int, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"ph": "M", "name": kind, "pid": self._process, "tid": track, "ts": 0, "args": arguments}

    def _at(self, moment: float) -> float:
        return round((moment - self._transcript.clock.monotonic) * 1e6, 3)


def _as_message(call: HttpCall) -> HopMessage:
    # What the harness itself asks is recorded as steps; on the hop's track it is a message like others.
    fields = {
        name: getattr(call, name) for name in ("status", "request_headers", "response_headers", "error")
    }
    return HopMessage(call.hop, -1, call.started, call.ended, f"{call.method} {call.target}", fields)


def _end(started: float, ended: float) -> float:
    # A slice without length can't be clicked, and no flow arrives at it.
    return max(ended, started + 1e-6)


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]} ... ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        more = [f"... {len(value) - _MOST} more"] if len(value) > _MOST else []
        return [_shortened(item) for item in value[:_MOST]] + more
    return value
