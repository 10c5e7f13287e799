"""What a task costs containerd: `python -m benchmarks.tasks`.

Two stacks beside each other, real dockerd in both, so that both containerds get the same specification; then dockerd is out
of it, and containerd's own API is asked:

- Tasks/Create and Tasks/Start of a busybox container that sleeps, in turn on both: minimum, median, maximum. The two
  calls are made by a client that takes next to nothing itself (`leancall`)
- many containers running at once: the time that Create and Start take together by how many are running already, and
  the proportional memory (PSS) that each adds

Needs root.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from benchmarks.leancall import LeanCalls
from benchmarks.run_path import Engine, furnished, memory_of
from benchmarks.sides import in_turn, with_sides

from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.standing import StandingStack
from sixhops.wire.proto import containers_pb2, tasks_pb2
from sixhops.wire.proto.services import service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

OURS = "upstream,containerd=reference,shim=reference,runc=reference"

# What Create and Start of ours may take, as a part of the first stack's time.
PROMISE = 0.2
# By how much the last containers may be slower to start than the first ones.
FLAT = 1.5

NAMESPACE = "benchmark"
CREATE, START = "/containerd.services.tasks.v1.Tasks/Create", "/containerd.services.tasks.v1.Tasks/Start"
STEPS = ("Create", "Start")
WARM_UP = 3
SIGKILL = 9


class Containerd:
    """A client of containerd's API in the benchmark's namespace."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._calls: dict[str, Any] = {}
        for file, name in ((containers_pb2.DESCRIPTOR, "Containers"), (tasks_pb2.DESCRIPTOR, "Tasks")):
            for method in service(file, name).methods.values():
                self._calls[f"{name}/{method.name}"] = self._channel.unary_unary(
                    method.path,
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString,
                )

    def ask(self, call: str, request: Message, namespace: str = NAMESPACE) -> Any:
        """Return the response to `call`, as `Tasks/Create`; grpc.RpcError with its status."""
        return self._calls[call](request, metadata=(("containerd-namespace", namespace),), timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


@dataclass
class Side:
    """One stack and what was measured on it; times in seconds, memory in bytes."""

    name: str
    stack: StandingStack
    engine: Engine
    containerd: Containerd
    calls: LeanCalls
    template: Any = None
    times: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in (*STEPS, "both")})
    growth: list[float] = field(default_factory=list)
    memory: dict[int, int] = field(default_factory=dict)

    def close(self) -> list[str]:
        """Stop the stack; return what it left behind."""
        self.engine.close()
        self.containerd.close()
        self.calls.close()
        return self.stack.close()

    def prepare(self) -> None:
        """Have dockerd make a container, whose specification and root filesystem all others take over."""
        body = {"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "none"}}
        name = self.engine.ask("POST", "/containers/create", body)["Id"]
        self.engine.ask("POST", f"/containers/{name}/start")
        request = containers_pb2.GetContainerRequest(id=name)
        self.template = self.containerd.ask("Containers/Get", request, "moby").container

    def make(self, name: str) -> None:
        """Tell containerd of a container; nothing runs yet."""
        spec = json.loads(self.template.spec.value)
        spec["linux"]["cgroupsPath"] = spec["linux"]["cgroupsPath"].replace(self.template.id, name)
        spec.pop("hooks", None)  # dockerd's, which would be most of the time
        container = containers_pb2.Container(id=name, runtime=self.template.runtime)
        container.spec.type_url = self.template.spec.type_url
        container.spec.value = json.dumps(spec).encode()
        self.containerd.ask("Containers/Create", containers_pb2.CreateContainerRequest(container=container))

    def start(self, name: str) -> list[float]:
        """Create and start the task; return the seconds that each took."""
        options = self.template.runtime.options
        create = tasks_pb2.CreateTaskRequest(container_id=name, options=options).SerializeToString()
        start = tasks_pb2.StartRequest(container_id=name).SerializeToString()
        begun = time.perf_counter()
        self.calls.call(CREATE, create)
        created = time.perf_counter()
        self.calls.call(START, start)
        return [created - begun, time.perf_counter() - created]

    def end(self, name: str) -> None:
        """Kill the task and delete all of it."""
        self.containerd.ask("Tasks/Kill", tasks_pb2.KillRequest(container_id=name, signal=SIGKILL))
        self.containerd.ask("Tasks/Wait", tasks_pb2.WaitRequest(container_id=name))
        self.containerd.ask("Tasks/Delete", tasks_pb2.DeleteTaskRequest(container_id=name))
        self.containerd.ask("Containers/Delete", containers_pb2.DeleteContainerRequest(id=name))

    def timed(self, name: str) -> None:
        """Do all of it once and note how long Create and Start took."""
        self.make(name)
        each = self.start(name)
        for step, seconds in zip((*STEPS, "both"), (*each, sum(each)), strict=True):
            self.times[step].append(seconds)
        self.end(name)

    def held(self) -> int:
        """Return the proportional memory of the shims, and of the process that ours are forked from.

        What shims share with that process is there without them; each one's share of it is taken from the other.
        """
        sizes = memory_of(self.stack)
        return sizes["containerd-shim"] + sizes["containerd-fork"]

    def grow(self, many: int) -> None:
        """Start `many` containers, one after the other, and measure the memory of their shims on the way."""
        before = self.held()
        names = [f"many-{number}" for number in range(many)]
        marks = {min(10, many), many}
        for number, name in enumerate(names, 1):
            self.make(name)
            self.growth.append(sum(self.start(name)))
            if number in marks:
                self.memory[number] = (self.held() - before) // number
        for name in names:
            self.end(name)


def open_side(name: str) -> Side:
    """Start stack `name`."""
    stack = StandingStack.start(name, options=StackOptions(debug=False))
    try:
        engine = furnished(stack.registry, stack.directory)
        address = f"{stack.directory}/containerd.sock"
        calls = LeanCalls(address, {"containerd-namespace": NAMESPACE})
        side = Side(name, stack, engine, Containerd(f"unix:{address}"), calls)
        side.prepare()
    except BaseException:
        stack.abandon()
        raise
    return side


def show_times(sides: Sequence[Side]) -> float:
    """Print the table of Create and Start; return the ratio of the medians of both together, last to first."""
    width = max(len(side.name) for side in sides)
    print(f"\n{'ms (min/median/max)':<{width}}  " + "".join(f"{step:>24}" for step in (*STEPS, "both")))
    for side in sides:
        cells = []
        for step in (*STEPS, "both"):
            each = [1000 * seconds for seconds in side.times[step]]
            cells.append(f"{min(each):7.1f}/{statistics.median(each):7.1f}/{max(each):7.1f}")
        print(f"{side.name:<{width}}  " + "".join(f"{cell:>24}" for cell in cells))
    ratios = [
        statistics.median(sides[-1].times[step]) / statistics.median(sides[0].times[step])
        for step in (*STEPS, "both")
    ]
    print(f"{'ratio of medians':<{width}}  " + "".join(f"{ratio:>24.2f}" for ratio in ratios))
    return ratios[-1]


def quarters(growth: Sequence[float]) -> list[float]:
    """Return the medians of four consecutive parts, in seconds."""
    step = max(1, len(growth) // 4)
    return [statistics.median(growth[begin : begin + step]) for begin in range(0, 4 * step, step)]


def show_growth(sides: Sequence[Side], many: int) -> float:
    """Print how starting went with the number that ran; return the last side's last quarter to its first."""
    width = max(len(side.name) for side in sides)
    print(
        f"\nCreate and Start with up to {many} running, median of each quarter in ms; memory that a task adds in MiB"
    )
    ratio = 1.0
    for side in sides:
        parts = quarters(side.growth)
        ratio = parts[-1] / parts[0]
        memory = ", ".join(
            f"{size / 2**20:.2f} with {number}" for number, size in sorted(side.memory.items())
        )
        print(
            f"{side.name:<{width}}  "
            + "".join(f"{1000 * part:8.1f}" for part in parts)
            + f"   last to first {ratio:.2f}   {memory}"
        )
    return ratio


def main() -> int:
    """Measure and print; the exit status is 1 when a promise of ours is not kept, 4 when a stack can't be started."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tasks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--stacks", nargs="+", default=["upstream", OURS], help=f"default: upstream {OURS}")
    parser.add_argument("--cycles", type=int, default=50, help="timed tasks on each stack (default: 50)")
    parser.add_argument(
        "--many", type=int, default=200, help="running at once (default: 200; 0: leave it out)"
    )
    options = parser.parse_args()
    if options.cycles < 1 or (options.many and options.many < 4):
        parser.error("--cycles is at least 1 and --many at least 4, or 0")

    def work(sides: list[Side]) -> bool:
        for side in sides:
            for number in range(WARM_UP):
                side.timed(f"warm-{number}")
            side.times = {step: [] for step in (*STEPS, "both")}
        for number, side in enumerate(in_turn(sides, options.cycles)):
            side.timed(f"task-{number}")
        kept = show_times(sides) <= PROMISE
        if options.many:
            for side in sides:
                side.grow(options.many)
            kept = show_growth(sides, options.many) <= FLAT and kept
            kept = kept and all(sides[-1].memory[at] <= size for at, size in sides[0].memory.items())
        return kept

    kept, status = with_sides(options.stacks, open_side, work)
    if kept is not None and options.stacks[-1] == OURS and len(options.stacks) > 1:
        print(
            f"\n{'within' if kept else 'ABOVE'} what is promised: {PROMISE} x the time, flat, no more memory"
        )
        return status if kept else 1
    return status


if __name__ == "__main__":
    sys.exit(main())
