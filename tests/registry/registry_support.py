"""Starting registries as programs, and speaking to them without a library that tidies requests up."""

from __future__ import annotations

import hashlib
import json
import queue
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPSTREAM = shutil.which("docker-registry")
START_SECONDS = 20.0

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        return [entry["code"] for entry in self.json["errors"]]


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: list[bytes]

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        connection = HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.putrequest(
                method, target, skip_host="Host" in (headers or {}), skip_accept_encoding=True
            )
            sent = dict(headers or {})
            if "Content-Length" not in sent and (body or method in {"POST", "PUT", "PATCH"}):
                sent["Content-Length"] = str(len(body))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            content = response.read()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
        finally:
            connection.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def path(self, location: str) -> str:
        return re.sub(r"^http://[^/]+", "", location)

    def upload(self, repository: str, data: bytes) -> str:
        begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        where = self.path(begun.headers["location"])
        done = self.ask("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest(data)}", data)
        assert done.status == 201, done
        return digest(data)


@contextmanager
def run(argv: list[str], directory: Path) -> Iterator[Running]:
    """Start a registry and wait for the line in its log that names the port; end it by SIGTERM."""
    process = subprocess.Popen(argv, cwd=directory, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    ports: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    log: list[bytes] = []
    reader = threading.Thread(target=_read_log, args=(process, log, ports))
    reader.start()
    try:
        port = ports.get(timeout=START_SECONDS)
        assert port is not None, f"{argv[0]} ended before it listened: {b''.join(log).decode()}"
        yield Running(process, "127.0.0.1", port, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _read_log(
    process: subprocess.Popen[bytes], log: list[bytes], ports: queue.SimpleQueue[int | None]
) -> None:
    # Read to the end: a full pipe would stop the registry.
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            log.append(line)
            if found := re.search(rb"listening on 127\.0\.0\.1:(\d+)", line):
                ports.put(int(found[1]))
    ports.put(None)


def ours(directory: Path, config: str | None = None) -> Any:
    program = [sys.executable, "-m", "sixhops.registry", "serve"]
    if config is None:
        config = configuration(directory / "data")
    path = directory / "ours.yml"
    path.write_text(config)
    return run([*program, str(path)], directory)


def upstream(directory: Path, config: str | None = None) -> Any:
    path = directory / "upstream.yml"
    path.write_text(config or configuration(directory / "data"))
    assert UPSTREAM is not None
    return run([UPSTREAM, "serve", str(path)], directory)


def configuration(root: Path, **changes: str) -> str:
    """Return a configuration that both registries read."""
    parts = {
        "log": "{level: info, accesslog: {disabled: true}}",
        "storage": f"{{filesystem: {{rootdirectory: '{root}'}}, delete: {{enabled: true}}}}",
        "http": "{addr: '127.0.0.1:0'}",
        "compatibility": "{schema1: {enabled: true}}",
    }
    lines = "".join(f"{name}: {value}\n" for name, value in (parts | changes).items() if value)
    return "version: 0.1\n" + lines


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(data), "digest": digest(data)}


def manifest(media_type: str, config: bytes, *layers: bytes, **more: Any) -> bytes:
    oci = media_type == OCI
    kind = (
        "application/vnd.oci.image.config.v1+json"
        if oci
        else "application/vnd.docker.container.image.v1+json"
    )
    layer = (
        "application/vnd.oci.image.layer.v1.tar"
        if oci
        else "application/vnd.docker.image.rootfs.diff.tar.gzip"
    )
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, kind),
        "layers": [descriptor(item, layer) for item in layers],
        **more,
    }
    return json.dumps(document).encode()


def index(media_type: str, *entries: tuple[bytes, str], architecture: str = "amd64", **more: Any) -> bytes:
    platform = {"platform": {"architecture": architecture, "os": "linux"}}
    manifests = [descriptor(data, kind) | platform for data, kind in entries]
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests, **more}).encode()
