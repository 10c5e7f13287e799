"""Our registry beside docker-registry, in turn on the same machine: `python -m benchmarks.registry`.

What is measured, over loopback, each server alone and with an empty directory:

- pulls: one blob, many connections at once, the received bytes dropped unread by the kernel (MSG_TRUNC), so that the
  client costs little; throughput, and CPU seconds of the server
- manifests: GET and HEAD over kept connections, one request at a time on each; requests per second, and per CPU second
- pushes: blobs in parallel, POST then PUT, each of different random bytes; throughput
- memory: the server's highest resident set after each of the three, in the same process

CPU time and memory come from /proc of the server's process. Without docker-registry only ours is measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB = 1 << 20
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: '{root}'}}, delete: {{enabled: true}}}}
http: {{addr: '127.0.0.1:{port}'}}
"""


@dataclass(frozen=True)
class Server:
    """A registry that listens on loopback."""

    name: str
    pid: int
    port: int

    def cpu(self) -> float:
        """Return the CPU seconds that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self) -> float:
        """Return the highest resident set so far, in MiB."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def ask(self, method: str, target: str, body: bytes = b"", kind: str = "") -> tuple[int, dict[str, str]]:
        """Send one request; return the status and the headers, lower-case."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, target, body, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()

    def push(self, data: bytes, digest: str) -> None:
        """Push a blob."""
        _, headers = self.ask("POST", "/v2/bench/blobs/uploads/")
        where = re.sub(r"^http://[^/]+", "", headers["location"])
        separator = "&" if "?" in where else "?"
        status, _ = self.ask("PUT", f"{where}{separator}digest={digest}", data, "application/octet-stream")
        if status != 201:
            raise RuntimeError(f"{self.name}: push answered {status}")


@contextmanager
def started(name: str, argv: Sequence[str], directory: Path) -> Iterator[Server]:
    """Start a registry on a free port and stop it at the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = directory / f"{name}.yml"
    config.write_text(CONFIG.format(root=directory / name, port=port))
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*argv, "serve", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{name} does not listen: {(directory / f'{name}.log').read_text()}"
                    ) from None
                time.sleep(0.02)
        yield Server(name, process.pid, port)
    finally:
        process.terminate()
        process.wait(20)


def digest_of(data: bytes) -> str:
    """Return the sha256 digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def request(target: str, accept: str = "*/*", method: str = "GET") -> bytes:
    """Return a request's bytes."""
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n".encode()


def pulls(server: Server, digest: str, size: int, connections: int) -> tuple[float, float]:
    """Return (MiB per second, server CPU seconds) of `connections` pulls at once."""
    cpu, started_at = server.cpu(), time.monotonic()
    selector = selectors.DefaultSelector()
    buffer = memoryview(bytearray(MIB))
    left: dict[int, int] = {}
    for _ in range(connections):
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.sendall(request(f"/v2/bench/blobs/{digest}"))
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(1)
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"{server.name}: {head!r}")
        left[peer.fileno()] = size
        selector.register(peer, selectors.EVENT_READ, peer)
    while left:
        for key, _ in selector.select(60):
            got = key.data.recv_into(buffer, MIB, socket.MSG_TRUNC)
            left[key.fd] -= got
            if not got or left[key.fd] <= 0:
                if left.pop(key.fd) != 0:
                    raise RuntimeError(f"{server.name}: a pull broke off")
                selector.unregister(key.data)
                key.data.close()
    took = time.monotonic() - started_at
    return connections * size / MIB / took, server.cpu() - cpu


def manifests(
    server: Server, reference: str, connections: int, each: int, method: str = "GET"
) -> tuple[float, float]:
    """Return (requests per second, server CPU seconds) of requests for one manifest."""
    cpu, started_at = server.cpu(), time.monotonic()
    sent = request(f"/v2/bench/manifests/{reference}", DOCKER, method)
    selector = selectors.DefaultSelector()
    left: dict[int, int] = {}
    length = 0
    for _ in range(connections):
        peer = socket.create_connection(("127.0.0.1", server.port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(sent)
        left[peer.fileno()] = each
        selector.register(peer, selectors.EVENT_READ, [peer, b""])
    while left:
        for key, _ in selector.select(60):
            peer, kept = key.data
            kept += peer.recv(65536)
            if (
                not length
                and (found := re.search(rb"(?i)content-length: (\d+)", kept))
                and b"\r\n\r\n" in kept
            ):
                length = kept.index(b"\r\n\r\n") + 4 + (int(found[1]) if method == "GET" else 0)
            key.data[1] = kept
            if not length or len(kept) < length:
                continue
            if not kept.startswith(b"HTTP/1.1 200") or len(kept) != length:
                raise RuntimeError(f"{server.name}: {kept[:200]!r}")
            key.data[1] = b""
            left[key.fd] -= 1
            if left[key.fd]:
                peer.sendall(sent)
            else:
                del left[key.fd]
                selector.unregister(peer)
                peer.close()
    return connections * each / (time.monotonic() - started_at), server.cpu() - cpu


def pushes(server: Server, blobs: Sequence[tuple[bytes, str]]) -> tuple[float, float]:
    """Return (MiB per second, server CPU seconds) of pushing all blobs at once."""
    failures: list[BaseException] = []

    def one(data: bytes, digest: str) -> None:
        try:
            server.push(data, digest)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that reports
            failures.append(error)

    cpu, started_at = server.cpu(), time.monotonic()
    threads = [threading.Thread(target=one, args=item) for item in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(len(data) for data, _ in blobs) / MIB / (time.monotonic() - started_at), server.cpu() - cpu


def measure(server: Server, options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Run all three measurements on one server and say what came out."""
    say(f"{server.name}: idle {server.peak():.0f} MiB")
    size = options.blob * MIB
    blob = os.urandom(MIB) * options.blob
    digest = digest_of(blob)
    server.push(blob, digest)
    del blob
    for connections in options.pulls:
        rate, cpu = pulls(server, digest, size, connections)
        per = cpu / (connections * options.blob / 1024)
        peak = server.peak()
        say(
            f"  {connections:3d} pulls of {options.blob} MiB: {rate:7.0f} MiB/s, "
            f"{per:5.2f} CPU s per GiB, peak {peak:.0f} MiB"
        )
    config = b"{}"
    server.push(config, digest_of(config))
    layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": size, "digest": digest}
    kind = "application/vnd.docker.container.image.v1+json"
    image = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER,
            "config": {"mediaType": kind, "size": 2, "digest": digest_of(config)},
            "layers": [layer] * 8,
        }
    ).encode()
    server.ask("PUT", "/v2/bench/manifests/latest", image, DOCKER)
    for method, reference in (("GET", digest_of(image)), ("GET", "latest"), ("HEAD", "latest")):
        rate, cpu = manifests(server, reference, 8, options.manifests, method)
        per = 8 * options.manifests / cpu
        by = "digest" if ":" in reference else "tag"
        say(
            f"  {method:4s} manifest by {by:6s}, 8 clients: {rate:6.0f}/s, "
            f"{per:6.0f} per CPU s, peak {server.peak():.0f} MiB"
        )
    blobs = [(data, digest_of(data)) for data in (os.urandom(options.push * MIB) for _ in range(8))]
    rate, cpu = pushes(server, blobs)
    per = cpu / (8 * options.push / 1024)
    say(
        f"    8 pushes of {options.push} MiB: {rate:7.0f} MiB/s, "
        f"{per:5.2f} CPU s per GiB, peak {server.peak():.0f} MiB"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--blob", type=int, default=256, help="MiB of the pulled blob")
    parser.add_argument("--push", type=int, default=128, help="MiB of each pushed blob")
    parser.add_argument("--pulls", type=int, nargs="+", default=[8, 64], help="connections at once")
    parser.add_argument("--manifests", type=int, default=2000, help="requests of each of 8 clients")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    programs = {"sixhops": [sys.executable, "-m", "sixhops.registry"]}
    if upstream := shutil.which("docker-registry"):
        programs = {"docker-registry": [upstream]} | programs
    else:
        print("docker-registry is not installed: only ours is measured")
    for _ in range(options.rounds):
        for name, argv in programs.items():
            with (
                tempfile.TemporaryDirectory(prefix="bench-registry-") as directory,
                started(name, argv, Path(directory)) as server,
            ):
                measure(server, options, print)


if __name__ == "__main__":
    main()
