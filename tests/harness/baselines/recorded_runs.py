"""Runs on disk that are full of what is random, for the tests of baselines."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.run.transcript import TranscriptWriter
from sixhops.harness.scenario.digest import digest_of
from sixhops.harness.scenario.load import load_text

if TYPE_CHECKING:
    from pathlib import Path

HOPS = ("engine", "registry", "containerd", "shim", "runtime", "process")
ROLES = ("docker", "dockerd", "registry", "containerd", "shim", "runc")
SCENARIO = """\
title: create
steps:
  - name: create
    request: POST /containers/create
    json: {Image: busybox}
    expect: {status: 201}
"""


def library(folder: Path, *names: str) -> Path:
    root = folder / "scenarios"
    (root / "engine").mkdir(parents=True)
    (root / "diff").mkdir()
    for name in names:
        (root / "engine" / f"{name}.yaml").write_text(SCENARIO.replace("busybox", name))
    return root


def save(
    run: Path,
    *names: str,
    maker: str = "upstream",
    status: int = 201,
    large: bytes = b"",
    text: str = SCENARIO,
    **target: Any,
) -> Path:
    """Write a run of scenarios, in which an id, a time and a stack's place stand everywhere that one may be.

    `text` is the scenario as it was then, with busybox for its name.
    """
    for name in names:
        stack, unique, identifier = secrets.token_hex(4), secrets.token_hex(4), secrets.token_hex(32)
        registry = f"127.0.0.1:{40000 + secrets.randbelow(9999)}"
        place = f"/var/lib/sixhops/{stack}"
        now = datetime.now(UTC)
        moment = now.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{secrets.randbelow(999):03d}Z"
        header = {
            "scenario": f"engine/{name}",
            "path": f"scenarios/engine/{name}.yaml:1",
            "title": "create",
            "digest": digest_of(load_text(text.replace("busybox", name))[0]),
            "hop": "engine",
            "target": {
                "name": maker,
                "engine_version": "20.10.24",
                "programs": dict.fromkeys(ROLES, maker),
                "hops": dict.fromkeys(HOPS),
                "cgroup_version": 1,
                "operating_system": "Debian",
                "architecture": "amd64",
                **target,
            },
        }
        writer = TranscriptWriter(run / f"transcripts/engine/{name}.jsonl", run / "bodies", header)
        digest = "sha256:" + hashlib.sha256(b"busybox").hexdigest()
        writer.begin(
            {
                "images": {"busybox": {"digest": digest, "id": digest, "layers": []}},
                "target": {"data_root": f"{place}/docker", "registry": registry},
                "scenario": {"unique": unique},
            }
        )
        body = f'{{"Id": "{identifier}", "At": "{moment}", "Short": "{identifier[:12]}"}}'
        facets = {
            "status": status,
            "headers": {"date": now.strftime("%a, %d %b %Y %H:%M:%S GMT"), "content-length": str(len(body))},
            "json": {
                "Id": identifier,
                "Name": f"/c-{unique}",
                "Path": f"{place}/docker/containers/{identifier}/x",
                "ns": int(now.timestamp() * 1e9),
                "Image": digest,
                "Expires": "0001-01-01T00:00:00Z",
                "Lease": f"{secrets.randbelow(10**9):09d}-AbCd",
                "veth": f"veth{secrets.token_hex(4)[:7]}",
            },
        }
        if large:
            facets["body"] = large
        framed = b"\x01\0\0\0\0\0\0\xc8" + f"{identifier} {moment}\n".encode().ljust(200, b".")
        message = {
            "path": f"/v2/{identifier[:12]}",
            "request_headers": {"host": registry},
            "response_body": body,
            "response_length": len(body),
            "response_sha256": hashlib.sha256(body.encode()).hexdigest(),
            "upstream_stream_body": framed,
        }
        at = writer._clock.monotonic
        messages = [
            HopMessage(
                "registry", 1, at + 0.0101, at + 0.01012, f"GET /v2/{identifier[:12]} -> 200", message
            ),
            HopMessage("registry", 2, at + 0.01013, at + 0.0102, "GET /v2/ -> 200", {"duration": 0.123456}),
        ]
        sent = {"method": "POST", "target": f"/containers/create?name=c-{unique}", "headers": {}}
        writer.exchange(Exchange(0, "create", "request", at + 0.01, at + 0.02, sent, facets, messages))
        writer.finish({"verdict": "passed", "seconds": 0.123456, "logs": {"dockerd": f"{identifier} logged"}})
    return run
