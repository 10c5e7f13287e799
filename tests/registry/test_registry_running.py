"""What a running registry does by its configuration: upload expiry, health, prefix and host, log, TLS of clients, secret."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import bcrypt
import pytest
import registry_support as support
from registry_support import OCI, Running, digest, manifest

from sixhops.registry.http.server import Service
from sixhops.registry.settings.config import Config
from sixhops.registry.storage.upkeep import old_uploads
from sixhops.wire.image.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOUND = 20.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for what no event tells of, another process's disk or health."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, f"not within {BOUND:g} s: {what}"
        threading.Event().wait(0.05)


def begin(server: Running, repository: str) -> str:
    return server.path(server.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["location"])


def storage(root: Path, purging: str) -> str:
    return f"{{filesystem: {{rootdirectory: '{root}'}}, maintenance: {{uploadpurging: {purging}}}}}"


def test_uploads_that_nobody_finishes_expire(tmp_path: Path) -> None:
    root = tmp_path / "data"
    purging = "{enabled: true, age: 1h, interval: 200ms}"
    with support.ours(tmp_path, support.configuration(root, storage=storage(root, purging))) as server:
        old, young = begin(server, "a"), begin(server, "a")
        assert server.ask("PATCH", old, b"half").status == 202
        directory = Layout(root).upload("a", old.rpartition("/")[2])
        (directory / "startedat").write_text("2020-01-01T00:00:00Z")

        eventually(lambda: not directory.exists(), f"{directory} is gone")

        assert server.ask("GET", old).codes == ["BLOB_UPLOAD_UNKNOWN"]
        assert server.ask("PATCH", old, b"more").codes == ["BLOB_UPLOAD_UNKNOWN"]
        assert server.ask("GET", young).status == 204


def test_a_dry_run_drops_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    purging = "{enabled: true, age: 1h, interval: 100ms, dryrun: true}"
    with support.ours(tmp_path, support.configuration(root, storage=storage(root, purging))) as server:
        where = begin(server, "a")
        directory = Layout(root).upload("a", where.rpartition("/")[2])
        (directory / "startedat").write_text("2020-01-01T00:00:00Z")

        eventually(lambda: any(b"would be dropped" in line for line in server.log), "the log tells of it")

        assert server.ask("GET", where).status == 204


def test_an_upload_without_its_date_ages_by_its_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    directory = layout.upload("a/b", "00000000-0000-0000-0000-000000000000")
    directory.mkdir(parents=True)
    os.utime(directory, (1000, 1000))

    assert list(old_uploads(layout, 1001)) == [("a/b", directory.name)]
    assert list(old_uploads(layout, 999)) == []


def test_storage_that_went_away_is_told(tmp_path: Path) -> None:
    root = tmp_path / "data"
    health = "{storagedriver: {enabled: true, interval: 100ms, threshold: 2}}"
    with support.ours(tmp_path, support.configuration(root, health=health)) as server:
        server.upload("a", b"{}")
        root.rename(tmp_path / "away")

        eventually(lambda: server.ask("GET", "/v2/").status == 503, "503")
        assert server.ask("GET", "/v2/a/tags/list").codes == ["UNAVAILABLE"]

        (tmp_path / "away").rename(root)
        eventually(lambda: server.ask("GET", "/v2/").status == 200, "200 again")
        assert server.ask("GET", f"/v2/a/blobs/{digest(b'{}')}").body == b"{}"


def test_prefix_is_in_every_address(tmp_path: Path) -> None:
    http_part = "{addr: '127.0.0.1:0', prefix: /hub/}"
    with support.ours(tmp_path, support.configuration(tmp_path / "d", http=http_part)) as server:
        target = f"/hub/v2/a/blobs/uploads/?digest={digest(b'{}')}"
        assert (
            server.ask("POST", target, b"{}").headers["location"].endswith(f"/hub/v2/a/blobs/{digest(b'{}')}")
        )
        image = manifest(OCI, b"{}")
        for tag in ("x", "y"):
            assert server.ask("PUT", f"/hub/v2/a/manifests/{tag}", image, {"Content-Type": OCI}).status == 201
        assert (
            server.ask("GET", "/hub/v2/a/tags/list?n=1").headers["link"].startswith("</hub/v2/a/tags/list?")
        )
        assert server.ask("GET", "/hub/v2").headers["location"] == "/hub/v2/"
        assert server.ask("GET", "/v2/").status == 404


@pytest.mark.parametrize(
    ("more", "start"),
    [("host: 'https://front.example'", "https://front.example/v2/"), ("relativeurls: true", "/v2/")],
)
def test_location_as_the_configuration_wants_it(tmp_path: Path, more: str, start: str) -> None:
    http_part = f"{{addr: '127.0.0.1:0', {more}}}"
    with support.ours(tmp_path, support.configuration(tmp_path / "d", http=http_part)) as server:
        assert server.ask("POST", "/v2/a/blobs/uploads/").headers["location"].startswith(start)


def test_log_as_json_with_fields(tmp_path: Path) -> None:
    log = "{level: info, formatter: json, fields: {service: mine}}"
    with support.ours(tmp_path, support.configuration(tmp_path / "d", log=log)) as server:
        server.ask("GET", "/v2/")

    lines = [json.loads(line) for line in server.log]
    assert {line["service"] for line in lines} == {"mine"}
    assert any(line["msg"].startswith("GET /v2/ 200") and line["level"] == "info" for line in lines)


def test_tokens_survive_a_restart_when_the_secret_does(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("me:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode())
    auth = f"{{tokenservice: {{service: here, path: '{tmp_path / 'users'}'}}}}"
    http_part = "{addr: '127.0.0.1:0', secret: shared}"
    config = support.configuration(tmp_path / "d", auth=auth, http=http_part)
    basic = {"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()}
    with support.ours(tmp_path, config) as server:
        token = server.ask("GET", "/token?service=here&scope=registry:catalog:*", headers=basic).json["token"]

    with support.ours(tmp_path, config) as server:
        assert server.ask("GET", "/v2/_catalog", headers={"Authorization": f"Bearer {token}"}).status == 200
    other = support.configuration(tmp_path / "d", auth=auth)
    with support.ours(tmp_path, other) as server:
        assert server.ask("GET", "/v2/_catalog", headers={"Authorization": f"Bearer {token}"}).status == 401


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl (apt-get install openssl)")
def test_clients_with_certificates_only(tmp_path: Path) -> None:
    def certificate(name: str) -> tuple[Path, Path]:
        public, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        argv = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        argv += ["-keyout", str(key), "-out", str(public), "-days", "2", "-subj", f"/CN={name}"]
        subprocess.run([*argv, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        return public, key

    public, key = certificate("server")
    mine, theirs = certificate("me"), certificate("stranger")
    tls = f"{{certificate: '{public}', key: '{key}', clientcas: ['{mine[0]}'], minimumtls: tls1.3}}"
    http_part = f"{{addr: '127.0.0.1:0', tls: {tls}}}"
    with support.ours(tmp_path, support.configuration(tmp_path / "d", http=http_part)) as server:

        def ask(pair: tuple[Path, Path] | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> int:
            trust = ssl.create_default_context(cafile=str(public))
            trust.maximum_version = newest
            if pair is not None:
                trust.load_cert_chain(*pair)
            peer = http.client.HTTPSConnection("127.0.0.1", server.port, context=trust, timeout=20)
            try:
                peer.request("GET", "/v2/")
                return peer.getresponse().status
            finally:
                peer.close()

        assert ask(mine) == 200
        for stranger in (None, theirs):
            with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
                ask(stranger)
        with pytest.raises((ssl.SSLError, OSError)):
            ask(mine, ssl.TLSVersion.TLSv1_2)


async def _talk(root: Path, said: bytes) -> bytes:
    service = Service(Config(root, access_log=False))
    try:
        server = service.server(head_seconds=0.3)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(BOUND):
            answer = await reader.read()
        writer.close()
        listener.close()
        await server.shutdown(1)
        return answer
    finally:
        await service.close()


@pytest.mark.parametrize("said", [b"", b"GET /v2/ HT", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ", b"\r\n"])
def test_a_head_that_never_ends_is_not_waited_for(tmp_path: Path, said: bytes) -> None:
    assert asyncio.run(_talk(tmp_path, said)) == b""


def test_an_idle_connection_is_closed_after_its_answer(tmp_path: Path) -> None:
    answer = asyncio.run(_talk(tmp_path, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2"))

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n{}")


def test_a_client_that_leaves_is_no_news(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 16
    with support.ours(tmp_path) as server:
        server.upload("a", data)
        for _ in range(20):
            with socket.create_connection((server.host, server.port)) as peer:
                peer.sendall(f"GET /v2/a/blobs/{digest(data)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert peer.recv(1000).startswith(b"HTTP/1.1 200")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert server.ask("GET", f"/v2/a/blobs/{digest(data)}").body == data

    assert b"Traceback" not in b"".join(server.log)
