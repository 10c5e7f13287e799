"""Runs on disk for the tests of reports: small ones that are made up, and the real ones of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.run.transcript import TranscriptWriter

REPOSITORY = Path(__file__).parents[3]
REAL = REPOSITORY / "docs" / "runs" / "dockerd-20.10"

#: What no page may take for markup, and no file for its own syntax.
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m]]>\u202e|`*"


def target(name: str, **more: Any) -> dict[str, Any]:
    roles = ("docker", "dockerd", "registry", "containerd", "shim", "runc")
    hops = ("engine", "registry", "containerd", "shim", "runtime", "process")
    return {
        "name": name,
        "engine_version": "20.10.24",
        "programs": dict.fromkeys(roles, name),
        "hops": dict.fromkeys(hops),
        **more,
    }


def call(sequence: int, hop: str, summary: str, started: float, ended: float, **fields: Any) -> HopMessage:
    return HopMessage(hop, sequence, started, ended, summary, fields)


def request(step: int, name: str, at: float, ended: float, status: int = 200, **facets: Any) -> Exchange:
    sent = {"method": "POST", "target": f"/v1.40/{name}", "headers": {"Host": "docker"}}
    return Exchange(step, name, "request", at, ended, sent, {"status": status, "reason": "OK", **facets})


class Run:
    """Writes the transcripts of one run below a folder."""

    def __init__(self, folder: Path, name: str = "reference", **more: Any) -> None:
        self.folder = folder
        self.target = target(name, **more)

    def scenario(
        self,
        name: str,
        exchanges: list[Exchange],
        verdict: str = "passed",
        judgements: dict[int, Any] | None = None,
        **outcome: Any,
    ) -> Path:
        """Write a transcript whose exchanges begin at 0; `judgements` by step, as StepVerdict or None."""
        head = {
            "scenario": name,
            "title": f"about {name}",
            "hop": name.split("/")[0],
            "path": f"scenarios/{name}.yaml:1",
            "target": self.target,
        }
        writer = TranscriptWriter(self.folder / "transcripts" / f"{name}.jsonl", self.folder / "bodies", head)
        writer.begin({"images": {}, "target": {}, "scenario": {"unique": "0123abcd"}})
        start = writer._clock.monotonic
        for exchange in exchanges:
            writer.exchange(shifted(exchange, start), (judgements or {}).get(exchange.step))
        if verdict != "broken off":
            writer.finish({"verdict": verdict, "seconds": 1.5, "brief": "", **outcome})
        writer.abandon()
        return writer.path


def shifted(exchange: Exchange, by: float) -> Exchange:
    exchange.started += by
    exchange.ended += by
    exchange.messages = [
        HopMessage(m.hop, m.sequence, m.started + by, m.ended + by, m.summary, m.fields)
        for m in exchange.messages
    ]
    return exchange
