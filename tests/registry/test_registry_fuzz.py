"""2,000 requests that are almost right: never a 500, never a traceback, and the server serves on."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING

import registry_support as support
from registry_support import DOCKER, OCI, digest, manifest

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 2000
AT_ONCE = 50
BLOB = b"blob"
IMAGE = manifest(OCI, b"{}", BLOB)
NASTY = [
    b"..", b"%2e%2e", b"%00", b"\0", b"//", b"%", b"%zz", b"\xff\xfe", b"\xc3\xa9", b"-1",
    b"99999999999999999999", b"\r\n", b"\n", b" ", b"\t", b"*", b"sha256:", b"sha512:" + b"a" * 128, b"'",
    b'"', b"{", b"[" * 2000, b"null", b"NaN", b"1e999", b"\\ud800", b"_uploads", b"A" * 9000, b"bytes=0-0,"
    * 50, b"?", b"&", b"=", b"#", b":", b"@", b";", b"chunked", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"Content-Range: 0-0\r\n",
]  # fmt: skip


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    for name, value in headers.items():
        head += f"{name.replace('_', '-')}: {value}\r\n"
    if body or method in {"PUT", "PATCH", "POST"}:
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def seeds(upload: str) -> list[bytes]:
    return [
        request("GET", "/v2/"),
        request("GET", "/v2/_catalog?n=5&last=a"),
        request("GET", "/v2/a/tags/list?n=5&last=a"),
        request("GET", "/v2/a/manifests/x", Accept=f"{DOCKER}, {OCI};q=0.5", If_None_Match='"x"'),
        request("GET", f"/v2/a/blobs/{digest(BLOB)}", Range="bytes=0-1,2-3", If_Range='"x"'),
        request("GET", f"/v2/a/referrers/{digest(IMAGE)}?artifactType=a/b&n=3"),
        request("PUT", "/v2/a/manifests/x", IMAGE, Content_Type=OCI),
        request("PUT", "/v2/a/manifests/y", manifest(DOCKER, b"{}", BLOB), Content_Type=DOCKER),
        request("POST", f"/v2/b/blobs/uploads/?mount={digest(BLOB)}&from=a"),
        request("POST", f"/v2/b/blobs/uploads/?digest={digest(BLOB)}", BLOB),
        request("PATCH", upload, b"hello", Content_Range="0-4", Content_Type="application/octet-stream"),
        request("PUT", f"{upload}?digest={digest(b'hello')}", b"hello"),
        request("GET", upload),
        request("DELETE", "/v2/c/manifests/x"),
    ]


def mutate(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            data = data[:at] + chance.randbytes(1) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + chance.choice([1, 3, 20]) :]
        elif kind == 2:
            data = data[:at] + chance.choice(NASTY) + data[at:]
        elif kind == 3:
            data = data[:at] + data[max(at - 12, 0) :]
        else:
            data = data[:at] + chance.choice(NASTY) + data[at + 5 :]
    return data


async def send(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        # A request that lost its end is never answered: that is no failure, so the wait is short.
        async with asyncio.timeout(1.0):
            return await reader.read()
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.close()


async def attack(port: int, requests: list[bytes]) -> list[tuple[bytes, bytes]]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(data: bytes) -> tuple[bytes, bytes]:
        async with gate:
            return data, await send(port, data)

    return await asyncio.gather(*(one(data) for data in requests))


def test_almost_right_requests(tmp_path: Path) -> None:
    chance = random.Random(20)
    config = support.configuration(tmp_path / "data")
    with support.ours(tmp_path, config) as server:
        server.upload("a", BLOB)
        server.upload("a", b"{}")
        upload = server.path(server.ask("POST", "/v2/a/blobs/uploads/").headers["location"])
        originals = seeds(upload)
        requests = [mutate(chance.choice(originals), chance) for _ in range(ROUNDS)]

        answers = asyncio.run(attack(server.port, requests))

        statuses = [
            int(found[1]) for _, answer in answers if (found := re.match(rb"HTTP/1\.[01] (\d{3})", answer))
        ]
        worst = [(sent, answer) for sent, answer in answers if re.match(rb"HTTP/1\.[01] 5", answer)]
        assert worst == []
        assert len(statuses) > ROUNDS * 0.5
        assert len(set(statuses)) >= 8
        assert server.ask("GET", "/v2/").status == 200
        assert server.ask("GET", f"/v2/a/blobs/{digest(BLOB)}").body == BLOB
        assert b"Traceback" not in b"".join(server.log)
    outside = [path for path in tmp_path.rglob("*") if path.name in {"..", "etc"}]
    assert outside == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "ours.yml"]
