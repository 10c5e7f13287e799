"""What the harness costs: `python -m benchmarks.harness`.

Two figures, each with the condition that it must meet:

- a request step (resolve, send, receive, take apart, judge, save) against the same request by httpx with a kept client, both
  to the same server on a unix socket, in turn, so that the machine's other work hits both alike; median of the differences
- loading generated scenarios from files, as collection does

The exit status is 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from sixhops.harness.run.context import Context
from sixhops.harness.run.steps import perform
from sixhops.harness.scenario.load import load_text, load_tree
from sixhops.harness.scenario.model import Hop
from sixhops.harness.scenario.variables import make_scope
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address, TargetFacts

STEP_LIMIT = 0.002
COLLECT_LIMIT = 3.0

BODY = b'{"Id":"' + b"0123456789abcdef" * 4 + b'","Warnings":[]}\n'
ANSWER = (
    b"HTTP/1.1 201 Created\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n"
    b"Docker-Experimental: false\r\nOstype: linux\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY

STEP = """
title: one step
refs: [engine-api/ContainerCreate/201]
steps:
  - request: POST /containers/create?name=x
    json: {Image: busybox, Cmd: [sleep, "1000"], HostConfig: {NetworkMode: none}}
    expect: {status: 201, headers: {content-type: application/json}, json: !exact {Id: !id , Warnings: []}}
    save: {id: $.Id}
"""

SCENARIO = """
title: generated scenario {number}
refs: [engine-api/ContainerCreate/201, engine-api/ContainerStart/204]
steps:
  - name: create
    request: POST /containers/create?name=c{number}
    json: {{Image: busybox, Cmd: [echo, "{number}"], HostConfig: {{NetworkMode: none}}}}
    expect: {{status: 201, json: !exact {{Id: !id , Warnings: []}}}}
    save: {{id: $.Id}}
  - request: POST /containers/${{id}}/start
    expect: {{status: 204}}
  - request: GET /containers/${{id}}/json
    expect: {{json: {{Id: "${{id}}", State: {{Status: !one_of [running, exited]}}, Created: !time }}}}
"""


class FakeTarget:
    """As much of a target as a request step needs."""

    def __init__(self, address: Address) -> None:
        self.engine = address
        self.recorder = Recorder()
        self.facts = TargetFacts(
            "bench", "0", (1, 24), (1, 41), True, 1, "linux", "amd64", {}, dict.fromkeys(Hop)
        )


def serve(path: Path) -> None:
    """Answer every request on the unix socket `path` with a container's id, on daemon threads."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)

    def connection(peer: socket.socket) -> None:
        with peer:
            data = b""
            while part := peer.recv(65536):
                data += part
                head, found, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
                if found and len(body) >= length:
                    peer.sendall(ANSWER)
                    data = body[length:]

    def accept() -> None:
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=connection, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def measure_step(directory: Path, rounds: int) -> tuple[float, float, float]:
    """Return the medians in seconds: a step, the same by httpx, and the difference within a round."""
    path = directory / "engine.sock"
    serve(path)
    (scenario,) = load_text(STEP)
    target = FakeTarget(Address(f"unix://{path}", unix=path))
    context = Context(scenario, target, make_scope(scenario), directory)  # type: ignore[arg-type]
    client = httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path), verify=False), base_url="http://docker"
    )
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
    steps, plain = [], []
    for _ in range(rounds + 20):
        started = time.perf_counter()
        verdict = perform(scenario.steps[0], context).verdict
        middle = time.perf_counter()
        answer = client.post("/v1.40/containers/create?name=x", json=body).json()
        plain.append(time.perf_counter() - middle)
        steps.append(middle - started)
        if verdict.mismatches or len(answer["Id"]) != 64:
            raise SystemExit(f"the step failed: {verdict.mismatches}")
    client.close()
    # The first rounds import and fill caches.
    steps, plain = steps[20:], plain[20:]
    difference = statistics.median(a - b for a, b in zip(steps, plain, strict=True))
    return statistics.median(steps), statistics.median(plain), difference


def measure_collecting(directory: Path, count: int) -> float:
    """Return the seconds that it takes to load `count` scenarios from as many files."""
    root = directory / "scenarios"
    for number in range(count):
        path = root / "engine" / f"group-{number // 100}" / f"s{number}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SCENARIO.format(number=number))
    started = time.perf_counter()
    report = load_tree(root)
    seconds = time.perf_counter() - started
    if report.errors or len(report.scenarios) != count:
        raise SystemExit(f"{len(report.scenarios)} of {count} scenarios loaded: {report.errors[:3]}")
    return seconds


def main() -> int:
    """Measure, print a table, return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.harness", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=500, help="request steps to time (default: 500)")
    parser.add_argument("--scenarios", type=int, default=2000, help="scenarios to collect (default: 2000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        step, plain, overhead = measure_step(Path(name), options.rounds)
        collecting = measure_collecting(Path(name), options.scenarios)
    rows = [
        ("request step, median", f"{step * 1000:.3f} ms", ""),
        ("the same by httpx, median", f"{plain * 1000:.3f} ms", ""),
        ("overhead of a step, median", f"{overhead * 1000:.3f} ms", _judged(overhead, STEP_LIMIT, "2 ms")),
        (
            f"collecting {options.scenarios} scenarios",
            f"{collecting:.2f} s",
            _judged(collecting, COLLECT_LIMIT, "3 s"),
        ),
    ]
    for row in rows:
        print(f"{row[0]:<30} {row[1]:>12}  {row[2]}")
    return int(overhead > STEP_LIMIT or collecting > COLLECT_LIMIT)


def _judged(seconds: float, limit: float, text: str) -> str:
    return f"{'within' if seconds <= limit else 'ABOVE'} the limit of {text}"


if __name__ == "__main__":
    sys.exit(main())
