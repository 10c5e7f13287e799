"""What the OCI specification adds to docker-registry 2.8, modes of running, directories that change hands."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import bcrypt
import pytest
import registry_support as support
from registry_support import DOCKER, INDEX, OCI, UPSTREAM, Running, digest, index, manifest

from sixhops.wire.image import TrustKey, digest_of, schema1_payload, sign_pretty, verify_pretty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = manifest(OCI, b"{}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with support.ours(tmp_path_factory.mktemp("api")) as running:
        yield running


def put(server: Running, repository: str, reference: str, data: bytes, kind: str = OCI) -> support.Answer:
    answer = server.ask("PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": kind})
    assert answer.status == 201, answer
    return answer


@pytest.fixture(scope="module")
def tagged(server: Running) -> Running:
    server.upload("tags", b"{}")
    for tag in ["b", "A", "a", "C", "d10", "d9"]:
        put(server, "tags", tag, IMAGE)
    return server


def test_tags_are_sorted_without_regard_to_case(tagged: Running) -> None:
    assert tagged.ask("GET", "/v2/tags/tags/list").json["tags"] == ["A", "a", "b", "C", "d10", "d9"]


def test_tags_page_by_page(tagged: Running) -> None:
    seen, target = [], "/v2/tags/tags/list?n=4"
    while target:
        answer = tagged.ask("GET", target)
        seen.append(answer.json["tags"])
        target = answer.headers.get("link", "").partition(">")[0].removeprefix("<")

    assert seen == [["A", "a", "b", "C"], ["d10", "d9"]]


def test_zero_tags_on_request(tagged: Running) -> None:
    answer = tagged.ask("GET", "/v2/tags/tags/list?n=0")

    assert answer.json["tags"] == []
    assert "link" not in answer.headers


def test_tags_after_one_that_is_not_there(tagged: Running) -> None:
    assert tagged.ask("GET", "/v2/tags/tags/list?last=c5&n=9").json["tags"] == ["d10", "d9"]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 40, "%D9%A3"])
def test_page_size_that_is_no_number(tagged: Running, number: str) -> None:
    answer = tagged.ask("GET", f"/v2/tags/tags/list?n={number}")

    assert (answer.status, answer.codes) == (400, ["PAGINATION_NUMBER_INVALID"])


def test_delete_tag_leaves_the_manifest(server: Running) -> None:
    server.upload("untag", b"{}")
    put(server, "untag", "x", IMAGE)

    assert server.ask("DELETE", "/v2/untag/manifests/x").status == 202
    assert server.ask("GET", "/v2/untag/manifests/x").codes == ["MANIFEST_UNKNOWN"]
    assert server.ask("GET", f"/v2/untag/manifests/{digest(IMAGE)}").body == IMAGE
    assert server.ask("GET", "/v2/untag/tags/list").json == {"name": "untag", "tags": []}
    assert server.ask("DELETE", "/v2/untag/manifests/x").codes == ["MANIFEST_UNKNOWN"]


@pytest.fixture(scope="module")
def referred(server: Running) -> Running:
    server.upload("ref", b"{}")
    put(server, "ref", "subject", IMAGE)
    return server


SUBJECT = {"subject": {"mediaType": OCI, "digest": digest(IMAGE), "size": len(IMAGE)}}
SIGNATURE = manifest(OCI, b"{}", artifactType="a/signature", annotations={"by": "me"}, **SUBJECT)
SBOM = manifest(OCI, b"{}", **SUBJECT)
BUNDLE = index(INDEX, artifactType="a/bundle", **SUBJECT)


def test_referrers_with_filter_pages_and_deletion(referred: Running) -> None:
    for document, kind in [(SIGNATURE, OCI), (SBOM, OCI), (BUNDLE, INDEX)]:
        assert put(referred, "ref", digest(document), document, kind).headers["oci-subject"] == digest(IMAGE)
    target = f"/v2/ref/referrers/{digest(IMAGE)}"

    everyone = referred.ask("GET", target)
    assert everyone.headers["content-type"] == INDEX
    found = {entry["digest"]: entry for entry in everyone.json["manifests"]}
    assert found.keys() == {digest(SIGNATURE), digest(SBOM), digest(BUNDLE)}
    assert found[digest(SIGNATURE)] == {
        "mediaType": OCI,
        "digest": digest(SIGNATURE),
        "size": len(SIGNATURE),
        "artifactType": "a/signature",
        "annotations": {"by": "me"},
    }
    assert found[digest(SBOM)]["artifactType"] == "application/vnd.oci.image.config.v1+json"

    filtered = referred.ask("GET", f"{target}?artifactType=a/bundle")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert [entry["digest"] for entry in filtered.json["manifests"]] == [digest(BUNDLE)]

    paged, following = [], f"{target}?n=2"
    while following:
        page = referred.ask("GET", following)
        paged += [entry["digest"] for entry in page.json["manifests"]]
        following = page.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert paged == sorted(found)

    assert referred.ask("DELETE", f"/v2/ref/manifests/{digest(SBOM)}").status == 202
    left = referred.ask("GET", target).json["manifests"]
    assert {entry["digest"] for entry in left} == {digest(SIGNATURE), digest(BUNDLE)}


def test_referrers_of_what_nobody_knows(server: Running) -> None:
    answer = server.ask("GET", f"/v2/nobody/referrers/{digest(b'?')}")

    assert (answer.status, answer.json["manifests"]) == (200, [])


def test_subject_may_come_later(server: Running) -> None:
    server.upload("later", b"{}")
    put(server, "later", digest(SBOM), SBOM)

    assert len(server.ask("GET", f"/v2/later/referrers/{digest(IMAGE)}").json["manifests"]) == 1


@pytest.mark.skipif(UPSTREAM is None, reason="docker-registry is not installed")
def test_referrers_that_docker_registry_took_are_found(tmp_path: Path) -> None:
    """Clients push such manifests beside a fallback tag while a registry has no referrers API."""
    fallback = index(INDEX, (SIGNATURE, OCI))
    with support.upstream(tmp_path) as before:
        before.upload("ref", b"{}")
        put(before, "ref", "subject", IMAGE)
        put(before, "ref", digest(SIGNATURE), SIGNATURE)
        put(before, "ref", digest(IMAGE).replace(":", "-"), fallback, INDEX)
    target = f"/v2/ref/referrers/{digest(IMAGE)}"
    with support.ours(tmp_path) as now:
        assert [entry["digest"] for entry in now.ask("GET", target).json["manifests"]] == [digest(SIGNATURE)]
        put(now, "ref", digest(SBOM), SBOM)
        expected = sorted([digest(SIGNATURE), digest(SBOM)])
        assert [entry["digest"] for entry in now.ask("GET", target).json["manifests"]] == expected
        assert now.ask("DELETE", f"/v2/ref/manifests/{digest(SIGNATURE)}").status == 202
        assert [entry["digest"] for entry in now.ask("GET", target).json["manifests"]] == [digest(SBOM)]
    with support.upstream(tmp_path) as again:
        put(again, "ref", digest(BUNDLE), BUNDLE, INDEX)
    with support.ours(tmp_path) as last:
        expected = sorted([digest(SBOM), digest(BUNDLE)])
        assert [entry["digest"] for entry in last.ask("GET", target).json["manifests"]] == expected


def test_manifest_is_bound_to_its_repository(server: Running) -> None:
    server.upload("mine", b"{}")
    put(server, "mine", "x", IMAGE)

    assert server.ask("GET", f"/v2/yours/manifests/{digest(IMAGE)}").codes == ["MANIFEST_UNKNOWN"]
    assert server.ask("GET", f"/v2/yours/blobs/{digest(b'{}')}").codes == ["BLOB_UNKNOWN"]


def test_location_names_the_host_that_the_client_used(server: Running) -> None:
    plain = server.ask("POST", "/v2/a/blobs/uploads/", headers={"Host": "registry.example:99"})
    proxied = {"Host": "x", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "front.example"}

    assert plain.headers["location"].startswith("http://registry.example:99/v2/a/blobs/uploads/")
    found = server.ask("POST", "/v2/a/blobs/uploads/", headers=proxied).headers["location"]
    assert found.startswith("https://front.example/v2/a/blobs/uploads/")


def schema1() -> tuple[bytes, bytes]:
    stamp = "2023-11-14T22:13:20Z"
    config = {"created": stamp, "architecture": "amd64", "os": "linux", "config": {}}
    payload = schema1_payload("s1", "x", config, [digest_of(b"layer")])
    return payload, sign_pretty(payload, TrustKey.from_seed(b"test"), stamp)


def test_schema1_is_served_as_it_was_signed(server: Running) -> None:
    payload, signed = schema1()
    server.upload("s1", b"layer")

    assert put(server, "s1", "x", signed, support.SCHEMA1).headers["docker-content-digest"] == digest(payload)
    for reference in ("x", digest(payload)):
        answer = server.ask("GET", f"/v2/s1/manifests/{reference}", headers={"Accept": DOCKER})
        assert (answer.body, answer.headers["content-type"]) == (signed, support.SCHEMA1)


def test_schema1_with_a_broken_signature(server: Running) -> None:
    _, signed = schema1()
    server.upload("s1", b"layer")

    broken = signed.replace(b'"amd64"', b'"arm64"')
    answer = server.ask("PUT", "/v2/s1/manifests/x", broken, {"Content-Type": support.SCHEMA1})

    assert (answer.status, answer.codes) == (400, ["MANIFEST_UNVERIFIED"])


def test_read_only_and_no_deletion(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with support.ours(tmp_path) as writer:
        writer.upload("a", b"{}")
        put(writer, "a", "x", IMAGE)

    with support.ours(
        tmp_path, support.configuration(root, storage=f"{{filesystem: {{rootdirectory: '{root}'}}}}")
    ) as kept:
        for target in (f"blobs/{digest(b'{}')}", "manifests/x", f"manifests/{digest(IMAGE)}"):
            answer = kept.ask("DELETE", f"/v2/a/{target}")
            assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])

    storage = f"{{filesystem: {{rootdirectory: '{root}'}}, maintenance: {{readonly: {{enabled: true}}}}}}"
    with support.ours(tmp_path, support.configuration(root, storage=storage)) as reader:
        assert reader.ask("GET", "/v2/a/manifests/x").body == IMAGE
        refused = reader.ask("POST", "/v2/a/blobs/uploads/")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        assert reader.ask("PUT", "/v2/a/manifests/x", IMAGE).headers["allow"] == "GET, HEAD"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def with_passwords(tmp_path: Path) -> str:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"# people\nme:{hashed}\n")
    auth = f"{{htpasswd: {{realm: here, path: '{tmp_path / 'htpasswd'}'}}}}"
    return support.configuration(tmp_path / "data", auth=auth)


def test_basic_authentication(tmp_path: Path) -> None:
    with support.ours(tmp_path, with_passwords(tmp_path)) as server:
        for headers in ({}, basic("me", "wrong"), basic("you", "secret"), {"Authorization": "Basic !!"}):
            answer = server.ask("GET", "/v2/", headers=headers)
            assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
            assert answer.headers["www-authenticate"] == 'Basic realm="here"'
        for _ in range(2):
            assert server.ask("GET", "/v2/", headers=basic("me", "secret")).status == 200
        assert server.ask("POST", "/v2/a/blobs/uploads/", headers=basic("me", "secret")).status == 202

        changed = bcrypt.hashpw(b"changed!", bcrypt.gensalt(4)).decode()
        (tmp_path / "htpasswd").write_text(f"me:{changed}\nother:{changed}\n")
        assert server.ask("GET", "/v2/", headers=basic("me", "secret")).status == 401
        assert server.ask("GET", "/v2/", headers=basic("other", "changed!")).status == 200


@pytest.mark.skipif(UPSTREAM is None, reason="docker-registry is not installed")
def test_challenges_are_docker_registrys(tmp_path: Path) -> None:
    config = with_passwords(tmp_path)
    asked = [
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/a/tags/list"),
        ("PUT", "/v2/a/manifests/x"),
        ("DELETE", "/v2/a/manifests/x"),
        ("POST", f"/v2/a/blobs/uploads/?mount={digest(b'')}&from=b"),
    ]
    answers = []
    for start in (support.upstream, support.ours):
        with start(tmp_path, config) as server:
            found = [server.ask(method, target) for method, target in asked]
            answers.append([(a.status, a.headers["www-authenticate"], a.json) for a in found])

    assert answers[1] == answers[0]


@pytest.mark.parametrize("line", ["me", "me:{SHA}xxxx", "me:$apr1$x$y"])
def test_htpasswd_of_another_kind_is_refused(tmp_path: Path, line: str) -> None:
    config = with_passwords(tmp_path)
    (tmp_path / "htpasswd").write_text(line)
    (tmp_path / "c.yml").write_text(config)

    ended = program(["serve", str(tmp_path / "c.yml")])

    assert ended.returncode == 1
    assert "htpasswd:1: expected user:bcrypt-hash" in ended.stderr


def program(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sixhops.registry", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_exit_codes(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("version: 0.1\nhttp: {adr: x}\n")
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = program(
            ["serve", "--storage", str(tmp_path / "d"), "--addr", f"127.0.0.1:{taken.getsockname()[1]}"]
        )

    assert (busy.returncode, "address already in use" in busy.stderr) == (1, True)
    wrong = program(["serve", str(tmp_path / "bad.yml")])
    assert (wrong.returncode, "http.adr: not supported" in wrong.stderr) == (4, True)
    assert program(["serve"]).returncode == 4
    assert program(["sevre"]).returncode == 4
    assert program(["serve", "--storage", str(tmp_path), "--addr", "nowhere"]).returncode == 4
    assert program(["serve", "--storage", str(tmp_path / "file/x"), "--addr", "127.0.0.1:0"]).returncode == 1


def test_headers_of_the_configuration_are_on_every_answer(tmp_path: Path) -> None:
    http_part = "{addr: '127.0.0.1:0', headers: {X-Mine: [one]}}"
    with support.ours(tmp_path, support.configuration(tmp_path / "d", http=http_part)) as server:
        server.upload("a", b"blob")
        for target in ("/v2/", f"/v2/a/blobs/{digest(b'blob')}", "/v2/a/tags/list"):
            assert server.ask("GET", target).headers["x-mine"] == "one"


def test_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=x"]
    subprocess.run([*argv, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    http_part = f"{{addr: '127.0.0.1:0', tls: {{certificate: '{certificate}', key: '{key}'}}}}"
    data = b"over TLS" * 100_000
    with support.ours(tmp_path, support.configuration(tmp_path / "d", http=http_part)) as server:
        trust = ssl.create_default_context(cafile=str(certificate))
        peer = http.client.HTTPSConnection("127.0.0.1", server.port, context=trust, timeout=20)
        peer.request("POST", f"/v2/a/blobs/uploads/?digest={digest(data)}", data)
        pushed = peer.getresponse()
        pushed.read()
        peer.request("GET", f"/v2/a/blobs/{digest(data)}")
        pulled = peer.getresponse().read()
        peer.close()

    assert (pushed.status, pushed.headers["Location"][:8], pulled) == (201, "https://", data)


def test_unix_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    argv = [
        sys.executable,
        "-m",
        "sixhops.registry",
        "serve",
        "--storage",
        str(tmp_path / "d"),
        "--addr",
        f"unix:{path}",
    ]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as log:
        assert "listening on unix:" in log.readline()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert peer.recv(1000).startswith(b"HTTP/1.1 200")
        process.terminate()
        assert process.wait(10) == 0
    assert not path.exists()


@pytest.mark.skipif(UPSTREAM is None, reason="docker-registry is not installed")
def test_either_registry_opens_the_others_directory(tmp_path: Path) -> None:
    payload, signed = schema1()
    image = manifest(DOCKER, b"{}", b"layer")
    many = index(support.LIST, (image, DOCKER))

    def fill(server: Running, repository: str) -> None:
        server.upload(repository, b"{}")
        server.upload(repository, b"layer")
        put(server, repository, "v2", image, DOCKER)
        put(server, repository, "list", many, support.LIST)
        put(server, repository, "oci", IMAGE)
        put(server, repository, "v1", signed, support.SCHEMA1)

    def check(server: Running, repository: str) -> None:
        accept = {"Accept": f"{DOCKER}, {support.LIST}, {OCI}, {INDEX}"}
        for tag, data in [("v2", image), ("list", many), ("oci", IMAGE)]:
            for reference in (tag, digest(data)):
                assert (
                    server.ask("GET", f"/v2/{repository}/manifests/{reference}", headers=accept).body == data
                )
        old = server.ask("GET", f"/v2/{repository}/manifests/v1", headers=accept)
        assert old.headers["docker-content-digest"] == digest(payload)
        assert verify_pretty(old.body)[0] == payload
        assert server.ask("GET", f"/v2/{repository}/blobs/{digest(b'layer')}").body == b"layer"
        assert sorted(server.ask("GET", f"/v2/{repository}/tags/list").json["tags"]) == [
            "list",
            "oci",
            "v1",
            "v2",
        ]
        assert server.ask("GET", "/v2/_catalog").json["repositories"] == sorted(names)

    names = ["s1"]
    with support.upstream(tmp_path) as theirs:
        fill(theirs, "s1")
    names.append("here/s1")
    with support.ours(tmp_path) as own:
        fill(own, "here/s1")
        check(own, "s1")
        assert own.ask("DELETE", f"/v2/s1/manifests/{digest(IMAGE)}").status == 202
        put(own, "s1", "oci", IMAGE)
    with support.upstream(tmp_path) as theirs:
        check(theirs, "here/s1")
        check(theirs, "s1")


def test_catalog_pages(tmp_path: Path) -> None:
    with support.ours(tmp_path) as server:
        names = ["a", "a/b", "a-b", "b"]
        for name in names:
            server.upload(name, b"{}")
        seen, target = [], "/v2/_catalog?n=3"
        while target:
            answer = server.ask("GET", target)
            seen += json.loads(answer.body)["repositories"]
            target = answer.headers.get("link", "").partition(">")[0].removeprefix("<")

    assert seen == names
