"""A pull-through mirror of another registry, beside docker-registry's where it has the same."""

from __future__ import annotations

import base64
import hashlib
import threading
from contextlib import contextmanager
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import registry_support as support
from registry_support import DOCKER, INDEX, LIST, OCI, UPSTREAM, Running, digest, index, manifest

from sixhops.registry.storage.maintenance import check, expire
from sixhops.wire.image.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
BLOB = bytes(range(256)) * 4096 * 3
IMAGE = manifest(DOCKER, b"{}", BLOB)
MANY = index(LIST, (IMAGE, DOCKER))
NONE = digest(b"nobody has this")
ACCEPT = {"Accept": f"{DOCKER}, {LIST}, {OCI}, {INDEX}"}


def mirroring(directory: Path, remote: str, more: str = "", start: Any = support.ours) -> Any:
    directory.mkdir()
    proxy = f"{{remoteurl: '{remote}'{more}}}"
    return start(directory, support.configuration(directory / "data", proxy=proxy))


def fill(server: Running, headers: dict[str, str] | None = None) -> None:
    for data in (b"{}", BLOB):
        target = f"/v2/lib/a/blobs/uploads/?digest={digest(data)}"
        assert server.ask("POST", target, data, headers).status == 201
    for tag, data, kind in [("x", IMAGE, DOCKER), ("many", MANY, LIST)]:
        put = server.ask("PUT", f"/v2/lib/a/manifests/{tag}", data, {"Content-Type": kind} | (headers or {}))
        assert put.status == 201, put


def logging(directory: Path, **changes: str) -> Any:
    """Start an origin whose log names every request."""
    directory.mkdir()
    return support.ours(directory, support.configuration(directory / "data", log="{level: info}", **changes))


def asked(server: Running, text: str) -> int:
    return sum(text.encode() in line for line in server.log)


ASKED = [
    ("GET", "/v2/", {}),
    ("GET", "/v2/lib/a/manifests/x", ACCEPT),
    ("HEAD", "/v2/lib/a/manifests/x", ACCEPT),
    ("GET", f"/v2/lib/a/manifests/{digest(IMAGE)}", ACCEPT),
    ("GET", "/v2/lib/a/manifests/many", ACCEPT),
    ("GET", "/v2/lib/a/manifests/none", ACCEPT),
    ("GET", f"/v2/lib/a/manifests/{NONE}", ACCEPT),
    ("HEAD", f"/v2/lib/a/blobs/{digest(b'{}')}", {}),
    ("GET", f"/v2/lib/a/blobs/{digest(b'{}')}", {}),
    ("GET", f"/v2/lib/a/blobs/{digest(BLOB)}", {}),
    ("GET", f"/v2/lib/a/blobs/{NONE}", {}),
    ("GET", "/v2/lib/a/tags/list", {}),
    ("POST", "/v2/lib/a/blobs/uploads/", {}),
    ("PUT", "/v2/lib/a/manifests/y", {"Content-Type": DOCKER}),
    ("DELETE", f"/v2/lib/a/manifests/{digest(IMAGE)}", {}),
]
# docker-registry passes on what its client library made of the other's 404.
FAULTS = {("GET", f"/v2/lib/a/manifests/{NONE}"): (500, 404)}


@pytest.mark.skipif(UPSTREAM is None, reason="docker-registry is not installed")
def test_same_answers_as_docker_registrys_mirror(tmp_path: Path) -> None:
    with logging(tmp_path / "origin") as origin:
        fill(origin)
        answers = []
        for start in (support.upstream, support.ours):
            remote = f"http://127.0.0.1:{origin.port}"
            with mirroring(tmp_path / start.__name__, remote, start=start) as server:
                found = {}
                for method, target, headers in ASKED:
                    body = IMAGE if method == "PUT" else b""
                    answer = server.ask(method, target, body, headers)
                    names = ("docker-content-digest", "content-type", "content-length")
                    codes = answer.codes if answer.status >= 400 and answer.body else None
                    told = [answer.headers.get(name) for name in names] if answer.status == 200 else codes
                    sorted_body = answer.json if target.endswith("/tags/list") else answer.body
                    found[method, target] = (
                        answer.status,
                        told,
                        sorted_body if answer.status == 200 else b"",
                    )
                answers.append(found)

    theirs, own = answers
    for key, (left, right) in FAULTS.items():
        assert (theirs.pop(key)[0], own.pop(key)[0]) == (left, right)
    tags = ("GET", "/v2/lib/a/tags/list")
    assert sorted(theirs.pop(tags)[2]["tags"]) == sorted(own.pop(tags)[2]["tags"]) == ["many", "x"]
    assert own == theirs


def test_each_thing_is_fetched_once(tmp_path: Path) -> None:
    with logging(tmp_path / "origin") as origin:
        fill(origin)
        with mirroring(tmp_path / "mirror", f"http://127.0.0.1:{origin.port}") as server:
            bodies: list[bytes] = []
            target = f"/v2/lib/a/blobs/{digest(BLOB)}"
            threads = [
                threading.Thread(target=lambda: bodies.append(server.ask("GET", target).body))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert bodies == [BLOB] * 8
            assert server.ask("GET", target, headers={"Range": "bytes=0-9"}).body == BLOB[:10]
            for _ in range(3):
                assert server.ask("GET", f"/v2/lib/a/manifests/{digest(IMAGE)}").body == IMAGE
        assert asked(origin, f"GET {target} 200") == 1
        assert asked(origin, f"GET /v2/lib/a/manifests/{digest(IMAGE)} 200") == 1
    assert list(check(Layout(tmp_path / "mirror/data"), mirror=True)) == []


def test_what_is_known_is_served_without_the_origin(tmp_path: Path) -> None:
    with logging(tmp_path / "origin") as origin:
        fill(origin)
        with mirroring(tmp_path / "mirror", f"http://127.0.0.1:{origin.port}") as server:
            assert server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT).body == IMAGE
            origin.kill()

            assert server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT).body == IMAGE
            assert server.ask("GET", "/v2/lib/a/tags/list").json["tags"] == ["x"]
            assert server.ask("GET", "/v2/_catalog").json["repositories"] == ["lib/a"]
            for target in (f"blobs/{digest(BLOB)}", "manifests/many", f"manifests/{digest(MANY)}"):
                missing = server.ask("GET", f"/v2/lib/a/{target}", headers=ACCEPT)
                assert (missing.status, missing.codes) == (503, ["UNAVAILABLE"])


def test_a_range_of_what_is_not_here_yet(tmp_path: Path) -> None:
    with logging(tmp_path / "origin") as origin:
        fill(origin)
        with mirroring(tmp_path / "mirror", f"http://127.0.0.1:{origin.port}") as server:
            part = server.ask("GET", f"/v2/lib/a/blobs/{digest(BLOB)}", headers={"Range": "bytes=5-9"})
            none = server.ask("GET", f"/v2/lib/a/blobs/{NONE}", headers={"Range": "bytes=5-9"})

    assert (part.status, part.body) == (206, BLOB[5:10])
    assert (none.status, none.codes) == (404, ["BLOB_UNKNOWN"])


def test_a_tag_that_moves_is_followed(tmp_path: Path) -> None:
    other = manifest(DOCKER, BLOB, b"{}")
    with logging(tmp_path / "origin") as origin:
        fill(origin)
        with mirroring(tmp_path / "mirror", f"http://127.0.0.1:{origin.port}") as server:
            assert server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT).body == IMAGE
            assert origin.ask("PUT", "/v2/lib/a/manifests/x", other, {"Content-Type": DOCKER}).status == 201

            assert server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT).body == other


def test_referrers_come_from_the_origin(tmp_path: Path) -> None:
    subject = {"mediaType": DOCKER, "digest": digest(IMAGE), "size": len(IMAGE)}
    signature = manifest(OCI, b"{}", artifactType="a/b", subject=subject)
    with logging(tmp_path / "origin") as origin:
        fill(origin)
        put = origin.ask("PUT", f"/v2/lib/a/manifests/{digest(signature)}", signature, {"Content-Type": OCI})
        assert put.status == 201
        with mirroring(tmp_path / "mirror", f"http://127.0.0.1:{origin.port}") as server:
            target = f"/v2/lib/a/referrers/{digest(IMAGE)}"
            found = server.ask("GET", target)
            none = server.ask("GET", f"{target}?artifactType=c/d")

    assert [item["digest"] for item in found.json["manifests"]] == [digest(signature)]
    assert none.json["manifests"] == []


@pytest.mark.parametrize("kind", ["htpasswd: {realm: here", "tokenservice: {service: here"])
def test_an_origin_that_wants_a_password(tmp_path: Path, kind: str) -> None:
    (tmp_path / "users").write_text("me:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode())
    auth = f"{{{kind}, path: '{tmp_path / 'users'}'}}}}"
    with logging(tmp_path / "origin", auth=auth) as origin:
        header = {"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()}
        if "token" in kind:
            scope = "scope=repository:lib/a:pull,push"
            token = origin.ask("GET", f"/token?service=here&{scope}", headers=header).json["token"]
            header = {"Authorization": f"Bearer {token}"}
        fill(origin, header)
        remote = f"http://127.0.0.1:{origin.port}"
        with mirroring(tmp_path / "right", remote, ", username: me, password: secret") as server:
            assert server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT).body == IMAGE
            assert server.ask("GET", f"/v2/lib/a/blobs/{digest(BLOB)}").body == BLOB
        with mirroring(tmp_path / "wrong", remote, ", username: me, password: wrong") as server:
            refused = server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT)
            assert (refused.status, refused.codes) == (403, ["DENIED"])
            assert server.ask("GET", f"/v2/lib/a/blobs/{digest(BLOB)}").status == 403


class Wrong(BaseHTTPRequestHandler):
    """An origin that breaks its promises: see the names of the repositories."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        repository = self.path.split("/")[2]
        body = IMAGE if "/manifests/" in self.path else BLOB
        status, headers = 200, {"Content-Type": DOCKER, "Docker-Content-Digest": self.path.rsplit("/", 1)[1]}
        if repository == "busy":
            status, body, headers = 429, b"", {"Retry-After": "7"}
        elif repository == "other":
            body = body[:-1] + b"!"
        elif repository == "long":
            headers["Content-Length"] = str(len(body) + MIB)
        elif repository == "mad":
            headers["WWW-Authenticate"], status = 'Bearer realm="gopher://x"', 401
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if repository == "short" else body)
        self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def wrong_origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Wrong)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_origin_that_breaks_its_promises(tmp_path: Path) -> None:
    with wrong_origin() as remote, mirroring(tmp_path / "mirror", remote) as server:
        busy = server.ask("GET", f"/v2/busy/manifests/{digest(IMAGE)}")
        assert (busy.status, busy.codes, busy.headers["retry-after"]) == (429, ["TOOMANYREQUESTS"], "7")
        for name, expected in {"other": 503, "short": 503, "mad": 403}.items():
            assert server.ask("GET", f"/v2/{name}/manifests/{digest(IMAGE)}").status == expected, name
        for name in ("other", "short", "long"):
            with pytest.raises(HTTPException):
                server.ask("GET", f"/v2/{name}/blobs/{digest(BLOB)}")
        assert server.ask("GET", "/v2/").status == 200
        assert b"Traceback" not in b"".join(server.log)

    layout = Layout(tmp_path / "mirror/data")
    assert list(layout.blobs.glob("sha256/*/*/data")) == []
    assert list(layout.repositories.glob("**/link")) == []
    assert list(layout.staging.iterdir()) == []


def test_blob_by_sha512_is_mirrored(tmp_path: Path) -> None:
    name = f"sha512:{hashlib.sha512(BLOB).hexdigest()}"
    with logging(tmp_path / "origin") as origin:
        assert origin.ask("POST", f"/v2/a/blobs/uploads/?digest={name}", BLOB).status == 201
        with mirroring(tmp_path / "mirror", f"http://127.0.0.1:{origin.port}") as server:
            assert [server.ask("GET", f"/v2/a/blobs/{name}").body for _ in range(2)] == [BLOB, BLOB]
            assert server.ask("GET", f"/v2/a/blobs/{digest(BLOB)}").body == BLOB


def test_old_content_of_a_mirror_ends(tmp_path: Path) -> None:
    with logging(tmp_path / "origin") as origin:
        fill(origin)
        with mirroring(tmp_path / "mirror", f"http://127.0.0.1:{origin.port}") as server:
            server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT)
            server.ask("GET", f"/v2/lib/a/blobs/{digest(BLOB)}")
            layout = Layout(tmp_path / "mirror/data")
            assert expire(layout, 3600) == 0
            assert expire(layout, -1) == 2
            assert server.ask("GET", f"/v2/lib/a/blobs/{digest(BLOB)}").body == BLOB
            assert server.ask("GET", "/v2/lib/a/manifests/x", headers=ACCEPT).body == IMAGE
        assert asked(origin, f"GET /v2/lib/a/blobs/{digest(BLOB)} 200") == 2
