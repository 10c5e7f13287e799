"""What a push may do, and what a kill in the middle of it may cost."""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import registry_support as support
from registry_support import DOCKER, INDEX, OCI, Running, digest, index, manifest

from sixhops.registry.storage.maintenance import check
from sixhops.wire.image.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with support.ours(tmp_path_factory.mktemp("push")) as running:
        yield running


def begin(server: Running, repository: str) -> str:
    return server.path(server.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["location"])


def test_kill_between_chunks_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    with support.ours(tmp_path) as first:
        where = begin(first, "a")
        half = first.ask("PATCH", where, data[:MIB], {"Content-Range": f"0-{MIB - 1}"})
        assert half.headers["range"] == f"0-{MIB - 1}"
        first.kill()

    with support.ours(tmp_path) as second:
        assert second.ask("GET", where).headers["range"] == f"0-{MIB - 1}"
        assert second.ask("PATCH", where, data[MIB:], {"Content-Range": f"{MIB}-{2 * MIB - 1}"}).status == 202
        assert second.ask("PUT", f"{where}?digest={digest(data)}").status == 201
        assert second.ask("GET", f"/v2/a/blobs/{digest(data)}").body == data


def test_kill_in_the_middle_of_a_body_shows_no_blob_and_can_be_resumed(tmp_path: Path) -> None:
    data = bytes(range(256)) * 16384
    with support.ours(tmp_path) as first:
        where = begin(first, "a")
        with socket.create_connection((first.host, first.port)) as peer:
            head = f"PUT {where}?digest={digest(data)} HTTP/1.1\r\nHost: x\r\n"
            head += f"Content-Length: {len(data)}\r\n\r\n"
            peer.sendall(head.encode() + data[: 3 * MIB])
            first.kill()

    with support.ours(tmp_path) as second:
        assert second.ask("GET", f"/v2/a/blobs/{digest(data)}").codes == ["BLOB_UNKNOWN"]
        status = second.ask("GET", where)
        received = int(status.headers["range"].partition("-")[2])
        received = received + 1 if received else 0
        assert second.ask("PUT", f"{where}?digest={digest(data)}", data[received:]).status == 201
        assert second.ask("GET", f"/v2/a/blobs/{digest(data)}").body == data


@pytest.mark.parametrize("seed", range(6))
def test_kill_at_any_instant_leaves_a_sound_directory(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    blobs = [chance.randbytes(chance.randrange(1, 600_000)) for _ in range(6)]
    image = manifest(OCI, blobs[0], *blobs[1:])
    left = chance.randrange(1, sum(map(len, blobs)) // 65536 + 12)
    acknowledged: list[bytes] = []
    with support.ours(tmp_path) as server:

        def send(method: str, target: str, body: bytes, kind: str) -> bytes:
            nonlocal left
            with socket.create_connection((server.host, server.port), timeout=20) as peer:
                head = (
                    f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
                )
                peer.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode())
                for at in range(0, max(len(body), 1), 65536):
                    peer.sendall(body[at : at + 65536])
                    left -= 1
                    if left == 0:
                        server.kill()
                return peer.recv(65536)

        with suppress(OSError):
            for blob in blobs:
                target = f"/v2/a/blobs/uploads/?digest={digest(blob)}"
                if b" 201 " in send("POST", target, blob, "application/octet-stream")[:20]:
                    acknowledged.append(blob)
            for number in range(6):
                send("PUT", f"/v2/a/manifests/t{number}", image, OCI)
        server.kill()

    with support.ours(tmp_path) as again:
        assert list(check(Layout(tmp_path / "data"))) == []
        for blob in blobs:
            found = again.ask("GET", f"/v2/a/blobs/{digest(blob)}")
            assert found.body == blob if found.status == 200 else blob not in acknowledged
        for tag in again.ask("GET", "/v2/a/tags/list").json.get("tags", []):
            assert again.ask("GET", f"/v2/a/manifests/{tag}").body == image


def test_body_with_a_content_encoding_is_stored_as_it_travels(server: Running) -> None:
    data = gzip.compress(b"a" * 1000)
    target = f"/v2/encoded/blobs/uploads/?digest={digest(data)}"

    assert server.ask("POST", target, data, {"Content-Encoding": "gzip"}).status == 201


def test_a_client_that_leaves_in_a_chunk_can_go_on(server: Running) -> None:
    data = bytes(range(256)) * 4096
    where = begin(server, "leaver")
    with socket.create_connection((server.host, server.port)) as peer:
        head = f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        peer.sendall(head.encode() + data[:300_000])
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(10)
        while peer.recv(65536):
            pass

    last = int(server.ask("GET", where).headers["range"].partition("-")[2])
    received = last + 1 if last else 0

    assert received <= 300_000
    assert server.ask("PUT", f"{where}?digest={digest(data)}", data[received:]).status == 201


def test_staged_files_of_a_dead_process_are_swept(tmp_path: Path) -> None:
    with support.ours(tmp_path) as first:
        staging = tmp_path / "data/docker/registry/v2/_staging"
        (own,) = staging.iterdir()
        (own / "torn").write_bytes(b"x")
        first.kill()

    with support.ours(tmp_path):
        assert own not in list(staging.iterdir())
    assert list(staging.iterdir()) == []


def test_a_second_writer_is_refused_while_the_first_is_writing(server: Running) -> None:
    where = begin(server, "busy")
    with socket.create_connection((server.host, server.port)) as peer:
        peer.sendall(f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n".encode())
        peer.sendall(b"Expect: 100-continue\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 100 Continue")

        second = server.ask("PATCH", where, b"x")
        cancel = server.ask("DELETE", where)

    assert (second.status, second.codes) == (416, ["BLOB_UPLOAD_INVALID"])
    assert (cancel.status, cancel.codes) == (416, ["BLOB_UPLOAD_INVALID"])


def test_content_range_must_agree_with_the_body(server: Running) -> None:
    where = begin(server, "size")

    answer = server.ask("PATCH", where, b"abc", {"Content-Range": "0-9"})

    assert (answer.status, answer.codes) == (400, ["SIZE_INVALID"])
    assert server.ask("GET", where).headers["range"] == "0-0"


def test_chunk_out_of_order_tells_where_to_go_on(server: Running) -> None:
    where = begin(server, "order")
    server.ask("PATCH", where, b"hello", {"Content-Range": "0-4"})

    answer = server.ask("PATCH", where, b"late", {"Content-Range": "8-11"})

    assert (answer.status, answer.headers["range"]) == (416, "0-4")
    assert server.path(answer.headers["location"]) == where


def test_chunked_transfer_coding(server: Running) -> None:
    data = b"abc" * 1000
    where = begin(server, "chunked")
    with socket.create_connection((server.host, server.port)) as peer:
        peer.sendall(f"PUT {where}?digest={digest(data)} HTTP/1.1\r\nHost: x\r\n".encode())
        peer.sendall(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for at in range(0, len(data), 700):
            piece = data[at : at + 700]
            peer.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        peer.sendall(b"0\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 201")


def test_blob_by_sha512(server: Running) -> None:
    data = b"by another name"
    name = f"sha512:{hashlib.sha512(data).hexdigest()}"

    pushed = server.ask("POST", f"/v2/sha512/blobs/uploads/?digest={name}", data)

    assert (pushed.status, pushed.headers["docker-content-digest"]) == (201, name)
    assert server.ask("GET", f"/v2/sha512/blobs/{name}").body == data
    assert server.ask("GET", f"/v2/sha512/blobs/{digest(data)}").body == data
    assert server.ask("POST", f"/v2/sha512b/blobs/uploads/?mount={name}&from=sha512").status == 201
    assert server.ask("GET", f"/v2/sha512b/blobs/{name}").body == data


def test_failed_single_post_leaves_no_upload(server: Running, tmp_path: Path) -> None:
    answer = server.ask("POST", f"/v2/once/blobs/uploads/?digest={digest(b'other')}", b"this")

    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert "uuid" not in answer.headers.get("location", "")
    assert server.ask("GET", "/v2/once/tags/list").codes == ["NAME_UNKNOWN"]


def test_eight_pushes_of_the_same_blob_at_once(server: Running) -> None:
    data = b"x" * (3 * MIB)
    statuses: list[int] = []

    def push() -> None:
        where = begin(server, "same")
        statuses.append(server.ask("PUT", f"{where}?digest={digest(data)}", data).status)

    threads = [threading.Thread(target=push) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert statuses == [201] * 8
    assert server.ask("HEAD", f"/v2/same/blobs/{digest(data)}").headers["content-length"] == str(len(data))


def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    data = b"m" * (96 * MIB)
    with support.ours(tmp_path) as server:
        before = peak(server)
        server.upload("big", data)
        assert server.ask("GET", f"/v2/big/blobs/{digest(data)}").body == data

        assert peak(server) - before < 24


def peak(server: Running) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


MALFORMED: list[tuple[bytes, str]] = [
    (b'{"schemaVersion":2,"mediaType":[1]}', DOCKER),
    (b'{"schemaVersion":2,"mediaType":{}}', OCI),
    (b"[" * 100_000, DOCKER),
    (b'{"a":' * 100_000, OCI),
    (b"\xff\xfe", OCI),
    (b'{"schemaVersion":1e999}', DOCKER),
    (manifest(OCI, b"{}", subject="x"), OCI),
    (manifest(OCI, b"{}", subject={"digest": "sha256:../../x"}), OCI),
    (manifest(OCI, b"{}", subject={}), OCI),
    (manifest(OCI, b"{}", artifactType=7), OCI),
    (manifest(OCI, b"{}", annotations={"a": 1}), OCI),
    (manifest(OCI, b"{}", manifests=[]), OCI),
    (index(INDEX, config={}), INDEX),
    (manifest(DOCKER, b"{}").replace(b"sha256:", b"sha256:../"), DOCKER),
    (b'{"schemaVersion":1,"name":"a","tag":"b","signatures":[{}]}', support.SCHEMA1),
]


@pytest.mark.parametrize(("data", "kind"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_manifests(server: Running, data: bytes, kind: str) -> None:
    answer = server.ask("PUT", "/v2/malformed/manifests/x", data, {"Content-Type": kind})

    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_oversize_manifest_is_refused_before_it_is_read(server: Running) -> None:
    headers = {"Content-Type": OCI, "Content-Length": "99999999999"}

    answer = server.ask("PUT", "/v2/big/manifests/x", b"{}", headers)

    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_put_with_an_impossible_tag(server: Running) -> None:
    answer = server.ask("PUT", "/v2/a/manifests/-x", b"{}", {"Content-Type": OCI})

    assert (answer.status, answer.codes) == (400, ["TAG_INVALID"])


def test_layers_that_live_elsewhere_need_not_be_here(server: Running) -> None:
    server.upload("foreign", b"{}")
    document = manifest(DOCKER, b"{}", b"not here").replace(b"rootfs.diff", b"rootfs.foreign.diff")

    assert server.ask("PUT", "/v2/foreign/manifests/x", document, {"Content-Type": DOCKER}).status == 201


def put(server: Running, repository: str, reference: str, data: bytes, kind: str) -> Any:
    answer = server.ask("PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": kind})
    assert answer.status == 201, answer
    return answer


def test_manifest_by_sha512(server: Running) -> None:
    server.upload("m512", b"{}")
    image = manifest(OCI, b"{}")
    name = f"sha512:{hashlib.sha512(image).hexdigest()}"

    assert put(server, "m512", name, image, OCI).headers["docker-content-digest"] == name
    assert server.ask("GET", f"/v2/m512/manifests/{name}").body == image
