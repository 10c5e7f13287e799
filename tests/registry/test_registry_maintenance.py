from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import registry_support as support
from registry_support import DOCKER, OCI, Running, digest, index, manifest

from sixhops.registry.names import Digest, parse_digest
from sixhops.registry.storage import files
from sixhops.registry.storage.maintenance import Collected, check, collect
from sixhops.wire.image import TrustKey, digest_of, schema1_payload, sign_pretty
from sixhops.wire.image.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = manifest(DOCKER, b"{}", b"layer")


def parsed(data: bytes) -> Digest:
    found = parse_digest(digest(data))
    assert found is not None
    return found


def fill(server: Running) -> None:
    stamp = "2023-11-14T22:13:20Z"
    for data in (b"{}", b"layer", b"orphan"):
        server.upload("a", data)
    many = index(support.LIST, (IMAGE, DOCKER))
    config = {"created": stamp, "architecture": "amd64", "os": "linux", "config": {}}
    signed = sign_pretty(
        schema1_payload("a", "old", config, [digest_of(b"layer")]), TrustKey.from_seed(b"test"), stamp
    )
    for tag, data, kind in [
        ("x", IMAGE, DOCKER),
        ("many", many, support.LIST),
        ("old", signed, support.SCHEMA1),
    ]:
        assert server.ask("PUT", f"/v2/a/manifests/{tag}", data, {"Content-Type": kind}).status == 201


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    with support.ours(tmp_path) as server:
        fill(server)
    return Layout(tmp_path / "data")


def test_only_the_orphan_is_collected(layout: Layout, tmp_path: Path) -> None:
    expected = (parsed(b"orphan"),)

    assert collect(layout, dry_run=True, grace=0).blobs == expected
    assert layout.blob(expected[0]).exists()
    assert collect(layout, dry_run=False, grace=0) == Collected(expected, len(b"orphan"))
    assert collect(layout, dry_run=False, grace=0).blobs == ()
    assert list(check(layout)) == []
    with support.ours(tmp_path) as server:
        for tag in ("x", "many", "old"):
            assert server.ask("GET", f"/v2/a/manifests/{tag}").status == 200
        assert server.ask("GET", f"/v2/a/blobs/{digest(b'orphan')}").codes == ["BLOB_UNKNOWN"]


def test_what_a_deleted_manifest_held_is_collected(layout: Layout, tmp_path: Path) -> None:
    with support.ours(tmp_path) as server:
        for tag in ("x", "many", "old"):
            name = server.ask("GET", f"/v2/a/manifests/{tag}").headers["docker-content-digest"]
            assert server.ask("DELETE", f"/v2/a/manifests/{name}").status == 202

    assert {parsed(b"{}"), parsed(b"layer"), parsed(IMAGE)} <= set(
        collect(layout, dry_run=False, grace=0).blobs
    )
    assert list(layout.blobs.glob("sha256/*/*/data")) == []


def test_young_content_is_kept_for_its_manifest(layout: Layout) -> None:
    assert collect(layout, dry_run=False).blobs == ()


def test_unreadable_manifest_stops_the_collection(layout: Layout) -> None:
    layout.blob(parsed(IMAGE)).write_bytes(b"{")

    with pytest.raises(ValueError, match="not JSON"):
        collect(layout, dry_run=False, grace=0)
    assert layout.blob(parsed(b"orphan")).exists()


def test_manifests_wait_for_a_collection(tmp_path: Path) -> None:
    with support.ours(tmp_path) as server:
        server.upload("a", b"{}")
        image = manifest(OCI, b"{}")
        answers: list[int] = []
        put = threading.Thread(
            target=lambda: answers.append(
                server.ask("PUT", "/v2/a/manifests/x", image, {"Content-Type": OCI}).status
            )
        )
        layout = Layout(tmp_path / "data")
        with files.content_lock(layout.base, exclusive=True):
            put.start()
            put.join(0.2)
            assert answers == []
            layout.blob(parsed(b"{}")).unlink()
        put.join(20)

    assert answers == [400]


@pytest.mark.parametrize(
    ("break_it", "line"),
    [
        (lambda layout: layout.blob(parsed(b"layer")).write_bytes(b"rotten"), "the content has digest"),
        (lambda layout: layout.blob(parsed(b"layer")).unlink(), "refers to blob"),
        (lambda layout: layout.blob(parsed(b"orphan")).unlink(), "no content"),
        (lambda layout: layout.layer_link("a", parsed(b"layer")).write_text("torn"), "not a digest"),
        (
            lambda layout: layout.revision_link("a", parsed(IMAGE)).unlink(),
            "is no manifest of this repository",
        ),
        (lambda layout: layout.revision_link("a", parsed(IMAGE)).unlink(), "refers to manifest"),
        (lambda layout: layout.blob(parsed(IMAGE)).write_bytes(b"{}"), "manifest " + digest(IMAGE)),
    ],
)
def test_faults_are_found(layout: Layout, break_it: object, line: str) -> None:
    assert callable(break_it)
    assert list(check(layout)) == []

    break_it(layout)

    assert any(line in found for found in check(layout))


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sixhops.registry", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_command_line(layout: Layout, tmp_path: Path) -> None:
    dry = program("gc", "--dry-run", "--grace", "0", "--storage", str(layout.root))
    assert (dry.returncode, dry.stdout) == (0, f"{digest(b'orphan')}\n1 blobs, 6 bytes would be removed\n")
    done = program("gc", "--grace", "0", str(tmp_path / "ours.yml"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 blobs, 6 bytes removed")
    assert program("fsck", str(tmp_path / "ours.yml")).stdout == "0 faults\n"

    layout.blob(parsed(b"layer")).write_bytes(b"rotten")
    bad = program("fsck", "--storage", str(layout.root))
    assert (bad.returncode, bad.stdout.splitlines()[-1]) == (1, "1 faults")
    assert program("fsck", "--storage", str(tmp_path / "nowhere")).returncode == 4
