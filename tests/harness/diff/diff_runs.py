"""Transcripts for the tests of the comparison, made in memory: two runs at different times, on different stacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.harness.diff.compare import diff
from sixhops.harness.diff.normalise import normalise
from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.run.transcript import Clock, Transcript

if TYPE_CHECKING:
    from sixhops.harness.diff.model import Difference

A, B = "a", "b"
#: What is different on the two sides although nothing is: ids, times, places.
SIDES: dict[str, dict[str, str]] = {
    A: {
        "id": "0" * 40 + "1234567890abcdef12345678",
        "other": "1" * 40 + "1234567890abcdef12345678",
        "stack": "0badcafe",
        "unique": "1a2b3c4d",
        "digest": "sha256:" + "a" * 64,
        "time": "2026-11-26T00:00:05.123456789Z",
        "date": "Thu, 26 Nov 2026 00:00:05 GMT",
        "seconds": "1795651205",
        "registry": "127.0.0.1:40001",
        "name": "happy_hopper",
        "address": "172.17.0.2",
        "mac": "02:42:ac:11:00:02",
    },
    B: {
        "id": "f" * 40 + "abcdef1234567890abcdef12",
        "other": "e" * 40 + "abcdef1234567890abcdef12",
        "stack": "5ca1ab1e",
        "unique": "9f8e7d6c",
        "digest": "sha256:" + "b" * 64,
        "time": "2026-12-01T10:00:05.5Z",
        "date": "Tue, 01 Dec 2026 10:00:05 GMT",
        "seconds": "1796119205",
        "registry": "127.0.0.1:40002",
        "name": "sad_curie",
        "address": "172.17.0.5",
        "mac": "02:42:ac:11:00:05",
    },
}
_CLOCKS = {A: Clock(100.0, "2026-11-26T00:00:00+00:00"), B: Clock(7000.0, "2026-12-01T10:00:00+00:00")}
HOPS = ("engine", "registry", "containerd", "shim", "runtime", "process")


def run(
    side: str, *exchanges: Exchange, verdict: str = "passed", unseen: dict[str, str] | None = None
) -> Transcript:
    """Return a run of the scenario engine/a; times of exchanges and messages are relative to its beginning."""
    values, clock = SIDES[side], _CLOCKS[side]
    header = {
        "scenario": "engine/a",
        "path": "engine/a.yaml:1",
        "title": "a",
        "hop": "engine",
        "target": {
            "name": "upstream",
            "engine_version": "20.10.24",
            "programs": {"dockerd": "upstream"},
            "hops": {hop: (unseen or {}).get(hop) for hop in HOPS},
        },
        "variables": {
            "images": {"busybox": {"digest": values["digest"], "id": values["digest"][::-1], "layers": []}},
            "target": {
                "data_root": f"/var/lib/sixhops/{values['stack']}/docker",
                "registry": values["registry"],
            },
            "scenario": {"unique": values["unique"]},
        },
    }
    for exchange in exchanges:
        exchange.started += clock.monotonic
        exchange.ended += clock.monotonic
        exchange.messages = [
            HopMessage(
                m.hop,
                m.sequence,
                m.started + clock.monotonic,
                m.ended + clock.monotonic,
                m.summary,
                m.fields,
            )
            for m in exchange.messages
        ]
    return Transcript(Path("x.jsonl"), header, clock, list(exchanges), outcome={"verdict": verdict})


def step(number: int = 0, *messages: HopMessage, at: float = 0.0, **facets: Any) -> Exchange:
    """Return a request step that took from `at` for a tenth of a second."""
    sent = {"method": "GET", "target": "/x", "headers": {}}
    return Exchange(number, f"step {number}", "request", at, at + 0.1, sent, facets, list(messages))


def message(
    sequence: int, summary: str, at: float = 0.0, hop: str = "containerd", **fields: Any
) -> HopMessage:
    """Return a message that took a hundredth of a second."""
    return HopMessage(hop, sequence, at, at + 0.01, summary, fields)


def of(side: str, value: Any) -> Any:
    """Return `value` with {names} of SIDES filled in."""
    if isinstance(value, str):
        for name, text in SIDES[side].items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, dict):
        return {of(side, key): of(side, item) for key, item in value.items()}
    return [of(side, item) for item in value] if isinstance(value, list) else value


def compared(a: Transcript, b: Transcript) -> list[Difference]:
    """Return the differences of two runs."""
    return diff(normalise(a), normalise(b))


def paths(found: list[Difference]) -> list[tuple[str, str]]:
    """Return path and kind of each difference."""
    return [(item.path, item.kind) for item in found]
