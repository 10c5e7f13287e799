"""What containers' networks carry on two stacks: `python -m benchmarks.network`.

- container to container: bytes a second of one TCP connection between two containers on a network of their own, and the
  time of a round trip of one byte, on both stacks in turn, so that the machine's other work hits both alike
- a published port: the time from connect(2) to the first byte back, by the host's loopback (the userland proxy) and by
  its address on the bridge (the rules), and the bytes a second of both ways

Sender and receiver are processes of this benchmark inside the containers' network namespaces, so no program in an image
counts. Needs root. The exit status is 1 when the reference carries less than 0.9 times what upstream does between
containers, or a published port is not reached.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.run_path import Side, open_side
from benchmarks.sides import in_turn, with_sides

from sixhops.linux.namespaces import FLAGS, set_namespace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

PROMISE = 0.9
PORT = 5201
PUBLISHED = 15201
PIECE = 1 << 17
ROUND_TRIPS = 2000


@dataclass
class Figures:
    """What was measured on one stack, by way: bytes a second, and seconds of a round trip or a connection."""

    side: Side
    server: str = ""
    client: str = ""
    address: str = ""
    gateway: str = ""
    rates: dict[str, list[float]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)

    def set_up(self) -> None:
        """Make the network and its two containers."""
        ask = self.side.engine.ask
        ask("POST", "/networks/create", {"Name": "bench"})
        names = []
        for bindings in ({f"{PORT}/tcp": [{"HostPort": str(PUBLISHED)}]}, {}):
            body = {
                "Image": "busybox",
                "Cmd": ["sleep", "1000"],
                "ExposedPorts": {port: {} for port in bindings},
                "HostConfig": {"NetworkMode": "bench", "PortBindings": bindings},
            }
            name = ask("POST", "/containers/create", body)["Id"]
            ask("POST", f"/containers/{name}/start")
            names.append(name)
        self.server, self.client = names
        found = ask("GET", f"/containers/{self.server}/json")["NetworkSettings"]["Networks"]["bench"]
        self.address, self.gateway = found["IPAddress"], found["Gateway"]

    def namespace(self, container: str) -> str:
        """Return the path of a container's network namespace; "" stands for the stack's own."""
        init = self.side.stack.init
        if not container:
            return f"/proc/{init}/ns/net"
        pid = self.side.engine.ask("GET", f"/containers/{container}/json")["State"]["Pid"]
        return f"/proc/{init}/root/proc/{pid}/ns/net"

    def measure(self, seconds: float) -> None:
        """Measure all ways once."""
        for way, container, address, port in (
            ("container", self.client, self.address, PORT),
            ("loopback", "", "127.0.0.1", PUBLISHED),
            ("published", "", self.gateway, PUBLISHED),
        ):
            rate, took = exchange(
                self.namespace(self.server), self.namespace(container), (address, port), seconds
            )
            self.rates.setdefault(way, []).append(rate)
            self.times.setdefault(way, []).append(took)


def exchange(server: str, client: str, target: tuple[str, int], seconds: float) -> tuple[float, float]:
    """Return bytes a second from `client` to `target`, which leads to `server`, and the seconds of a round trip."""
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=(server, theirs))
    receiver.start()
    try:
        if not ours.poll(20) or ours.recv() != "ready":
            raise SystemExit("the receiver did not get ready")
        sender = multiprocessing.Process(target=send, args=(client, target, seconds))
        sender.start()
        sender.join(seconds + 60)
        if sender.exitcode != 0:
            sender.kill()
            raise SystemExit(f"{target[0]}:{target[1]} is not reached")
        if not ours.poll(20):
            raise SystemExit("the receiver did not tell what came")
        rate, took = ours.recv()
        return rate, took
    finally:
        receiver.kill()
        receiver.join()


def receive(namespace: str, report: Connection) -> None:
    """Echo single bytes on the first connection; count what comes on the second, and report both."""
    _enter(namespace)
    listener = socket.create_server(("0.0.0.0", PORT))
    report.send("ready")
    first, _ = listener.accept()
    first.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took = []
    while True:
        begun = time.perf_counter()
        data = first.recv(1)
        if not data:
            break
        first.sendall(data)
        took.append(time.perf_counter() - begun)
    second, _ = listener.accept()
    buffer = bytearray(PIECE)
    total, begun = 0, 0.0
    while count := second.recv_into(buffer):
        begun = begun or time.perf_counter()
        total += count
    # the wait for the next byte is the way there and back
    report.send((total / (time.perf_counter() - begun), statistics.median(took)))


def send(namespace: str, target: tuple[str, int], seconds: float) -> None:
    """Play single bytes back and forth, then send as much as goes."""
    _enter(namespace)
    with socket.create_connection(target, timeout=20) as first:
        first.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ROUND_TRIPS):
            first.sendall(b"x")
            if first.recv(1) != b"x":
                raise SystemExit("no echo")
    with socket.create_connection(target, timeout=20) as second:
        data = bytes(PIECE)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            second.sendall(data)


def _enter(path: str) -> None:
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        set_namespace(namespace, FLAGS["network"])
    finally:
        os.close(namespace)


def show(all_figures: Sequence[Figures]) -> float:
    """Print the table; return the ratio between containers, the last stack's to the first's."""
    ways = ("container", "loopback", "published")
    width = max(len(figures.side.name) for figures in all_figures)
    print(f"\n{'MB/s; us':<{width}}  " + "".join(f"{way:>24}" for way in ways))
    for figures in all_figures:
        cells = [
            f"{statistics.median(figures.rates[way]) / 1e6:9.0f}; {statistics.median(figures.times[way]) * 1e6:6.1f}"
            for way in ways
        ]
        print(f"{figures.side.name:<{width}}  " + "".join(f"{cell:>24}" for cell in cells))
    first, last = all_figures[0], all_figures[-1]
    ratios = [statistics.median(last.rates[way]) / statistics.median(first.rates[way]) for way in ways]
    print(f"{'ratio':<{width}}  " + "".join(f"{ratio:>24.2f}" for ratio in ratios))
    return ratios[0]


def main() -> int:
    """Measure and print; the exit status is 1 when the promise is not kept, 4 when a stack can't be started."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.network", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--stacks", nargs="+", default=["upstream", "reference"], help="two stacks")
    parser.add_argument("--rounds", type=int, default=5, help="on each stack (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of sending, each time (default: 2)")
    options = parser.parse_args()

    def work(sides: list[Side]) -> float:
        found = [Figures(side) for side in sides]
        for figures in found:
            figures.set_up()
        for figures in in_turn(found, options.rounds):
            figures.measure(options.seconds)
        return show(found)

    ratio, status = with_sides(options.stacks, open_side, work)
    if ratio is None:
        return status
    kept = ratio >= PROMISE
    print(
        f"\nbetween containers {ratio:.2f} x {options.stacks[0]}: {'within' if kept else 'BELOW'} {PROMISE}"
    )
    return status if kept else 1


if __name__ == "__main__":
    sys.exit(main())
