"""Bundles: made whole, gone by name at once, and never found again half removed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from sixhops.containerd.settings.config import Config
from sixhops.containerd.tasks.bundles import Bundles, has_log
from sixhops.wire.ttrpc.status import RpcError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path / "root", state=tmp_path / "state")


def test_bundle_has_all_and_goes_by_name_at_once(config: Config) -> None:
    bundles = Bundles(config)

    bundle = bundles.make("moby", "one", b"{}")
    bundles.complete("moby", "one", "/usr/bin/shim", "unix:///socket")

    assert (bundle / "config.json").read_bytes() == b"{}"
    assert (bundle / "work").resolve().is_dir()
    assert (bundle / "rootfs").is_dir()
    assert (bundle / "shim-binary-path").read_text() == "/usr/bin/shim"
    assert (bundle / "address").read_text() == "unix:///socket"
    assert has_log(bundle)
    assert list(bundles.all()) == [("moby", "one", bundle)]
    for _ in range(3):  # the same id again, however far the removal has come
        bundles.remove("moby", "one")
        assert not bundle.exists()
        assert list(bundles.all()) == []
        bundles.make("moby", "one", b"{}")
        bundles.complete("moby", "one", "")
    bundles.remove("moby", "one")
    bundles.remove("moby", "one")
    bundles.close()
    assert list((config.state / "io.containerd.runtime.v2.task" / "moby").iterdir()) == []
    assert list((config.root / "io.containerd.runtime.v2.task" / "moby").iterdir()) == []


def test_removal_that_was_cut_short_is_no_bundle_and_goes_at_the_start(config: Config) -> None:
    bundles = Bundles(config)
    bundle = bundles.make("moby", "one", b"{}")
    left = bundle.with_name(".two.0")
    left.mkdir()

    assert [name for _, name, _ in bundles.all()] == ["one"]
    bundles.sweep()

    assert not left.exists()
    assert bundle.exists()
    bundles.close()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"linux": ', "unexpected end of JSON input"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"[]", "json: cannot unmarshal into Go value: "),
        (b'{"linux": {"gidMappings": [{"hostID": "x"}]}}', "json: cannot unmarshal into Go value: "),
        (b"[" * 100_000, "json: cannot unmarshal into Go value: "),
    ],
)
def test_what_is_no_specification_leaves_no_bundle(config: Config, spec: bytes, message: str) -> None:
    bundles = Bundles(config)

    with pytest.raises(RpcError) as caught:
        bundles.make("moby", "one", spec)

    assert caught.value.message.startswith(f"failed to start shim: {message}")
    assert list(bundles.all()) == []
    bundles.close()


@pytest.mark.parametrize(
    ("mappings", "group", "mode"),
    [
        ([], None, 0o700),
        ([{"containerID": 0, "hostID": 0, "size": 10}], None, 0o700),
        ([{"containerID": 1, "hostID": 7, "size": 1}, {"hostID": 4242, "size": 1}], 4242, 0o710),
    ],
)
def test_root_of_the_containers_user_namespace_gets_in(
    config: Config, mappings: list[dict[str, int]], group: int | None, mode: int
) -> None:
    bundles = Bundles(config)

    found = bundles.make("moby", "one", json.dumps({"linux": {"gidMappings": mappings}}).encode()).stat()

    assert found.st_gid == (os.getgid() if group is None else group)
    assert found.st_mode & 0o777 == mode
    bundles.close()


def test_what_was_read_ahead_is_not_taken_for_another(config: Config) -> None:
    bundles = Bundles(config)
    mapped = json.dumps({"linux": {"gidMappings": [{"hostID": 4242, "size": 1}]}}).encode()
    bundles.expect(b"[]")  # no specification, which `make` will say
    bundles.expect(mapped)

    assert bundles.make("moby", "one", b"{}").stat().st_gid == os.getgid()
    bundles.expect(mapped)
    assert bundles.make("moby", "two", mapped).stat().st_gid == 4242
    with pytest.raises(RpcError):
        bundles.make("moby", "three", b"[]")
    bundles.close()


def test_work_is_a_directory_that_was_there_before(config: Config) -> None:
    bundles = Bundles(config)
    tasks = config.root / "io.containerd.runtime.v2.task"
    bundles.make("moby", "one", b"{}")
    bundles.refill()
    bundles._removals.submit(lambda: None).result(10)
    (waiting,) = tasks.glob(".work.*")

    inode = waiting.stat().st_ino
    # another namespace has no directory yet, so its first one is made
    for name in ("two", "three"):
        bundles.make("k8s", name, b"{}")
    first = bundles.work("k8s", "two").stat()
    work = bundles.work("k8s", "three")
    assert bundles.work("k8s", "three") == work

    assert first.st_ino != inode
    assert (work.stat().st_ino, work.stat().st_mode & 0o777, list(work.iterdir())) == (inode, 0o700, [])
    bundles.close()
    assert list(tasks.glob(".work.*")) == []


def test_a_bundle_that_cannot_be_completed(config: Config) -> None:
    bundles = Bundles(config)
    (bundles.make("moby", "one", b"{}") / "shim-binary-path").mkdir()

    with pytest.raises(RpcError, match=r"^failed to start shim: .*Is a directory"):
        bundles.complete("moby", "one", "")
    bundles.close()


def test_work_in_reserve_of_one_that_died_goes_at_the_start(config: Config) -> None:
    bundles = Bundles(config)
    bundles.make("moby", "one", b"{}")
    bundles.refill()
    bundles._removals.submit(lambda: None).result(10)

    assert list((config.root / "io.containerd.runtime.v2.task").glob(".work.*"))
    bundles = Bundles(config)
    bundles.sweep()

    assert not list((config.root / "io.containerd.runtime.v2.task").glob(".*"))
    assert [name for _, name, _ in bundles.all()] == ["one"]
    bundles.close()
