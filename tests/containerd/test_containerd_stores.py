import asyncio
import datetime as dt
import hashlib
import sqlite3
from pathlib import Path

import pytest

from sixhops.containerd.content import ContentStore
from sixhops.containerd.database import Database
from sixhops.containerd.gc import Collector
from sixhops.containerd.snapshots import ACTIVE, VIEW, Snapshotter
from sixhops.linux.mountlist import Mount
from sixhops.wire.proto import content_pb2, images_pb2, leases_pb2
from sixhops.wire.ttrpc.status import Code, RpcError


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "meta.db")


# -- database


def test_transaction_is_all_or_nothing(database: Database) -> None:
    def fail() -> None:
        with database.transaction():
            database.put("image", "ns", "a", b"1")
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        fail()

    assert database.get("image", "ns", "a") is None


def test_records_are_apart_by_namespace(database: Database) -> None:
    database.put("image", "one", "a", b"1")
    database.put("image", "two", "a", b"2")

    assert [record.value for record in database.all("image", "one")] == [b"1"]
    assert [record.namespace for record in database.all("image")] == ["one", "two"]
    assert database.namespaces() == {"one", "two"}
    assert database.kinds("one") == {"image"}


def test_records_survive_reopening(tmp_path: Path) -> None:
    first = Database(tmp_path / "d.db")
    first.put("lease", "ns", "l", b"x")
    first.lease("ns", "l", "content", "sha256:a")
    first.close()

    again = Database(tmp_path / "d.db")

    assert again.delete("lease", "ns", "l")
    assert not again.delete("lease", "ns", "l")
    assert again.leased("ns", "l") == [("content", "sha256:a")]


def test_numbers_are_never_given_twice(database: Database) -> None:
    assert [database.next_number("s") for _ in range(3)] == [1, 2, 3]


def test_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "d.db")
    connection.execute("PRAGMA user_version=99")
    connection.close()

    with pytest.raises(ValueError, match="version 99"):
        Database(tmp_path / "d.db")


# -- content


def test_blob_appears_only_after_commit(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    writer = store.writer("ns/r", 5)
    writer.write(b"hello")
    digest = digest_of(b"hello")
    assert (store.size(digest), writer.offset, writer.digest) == (None, 5, digest)

    asyncio.run(writer.commit(5, digest))

    assert store.path(digest).read_bytes() == b"hello"
    assert store.status("ns/r") is None


def test_ingest_is_resumed_after_a_crash(tmp_path: Path) -> None:
    ContentStore(tmp_path).writer("ns/r", 10).write(b"hello")

    writer = ContentStore(tmp_path).writer("ns/r", 10)

    assert (writer.offset, writer.digest, writer.begun.total) == (5, digest_of(b"hello"), 10)


def test_second_writer_of_a_ref(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    first = store.writer("ns/r", 0)

    with pytest.raises(RpcError, match="ref r locked for") as caught:
        store.writer("ns/r", 0)
    first.close()

    assert caught.value.code is Code.UNAVAILABLE
    store.writer("ns/r", 0).close()


@pytest.mark.parametrize(
    ("size", "expected", "message"),
    [
        (4, "", "unexpected commit size 5, expected 4: failed precondition"),
        (5, "sha256:" + "0" * 64, "unexpected commit digest .*: failed precondition"),
    ],
)
def test_wrong_bytes_are_never_committed(tmp_path: Path, size: int, expected: str, message: str) -> None:
    store = ContentStore(tmp_path)
    writer = store.writer("ns/r", 0)
    writer.write(b"hello")

    with pytest.raises(RpcError, match=message):
        asyncio.run(writer.commit(size, expected))

    assert list(store.digests()) == []
    assert store.statuses() == []


def test_truncated_ingest_starts_again(tmp_path: Path) -> None:
    writer = ContentStore(tmp_path).writer("ns/r", 0)
    writer.write(b"hello")

    writer.truncate()

    assert (writer.offset, writer.digest) == (0, digest_of(b""))


def test_abort(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.writer("ns/r", 0).close()

    assert [store.abort("ns/r"), store.abort("ns/r")] == [True, False]


# -- snapshots


def test_mounts_of_overlay_snapshots(tmp_path: Path, database: Database) -> None:
    overlay = Snapshotter("overlayfs", tmp_path, database)
    root = tmp_path / "io.containerd.snapshotter.v1.overlayfs" / "snapshots"

    assert overlay.make("ns", "a", "", ACTIVE, {}) == [Mount("bind", f"{root}/1/fs", ("rw", "rbind"))]
    overlay.commit("ns", "A", "a", {})
    (mount,) = overlay.make("ns", "b", "A", ACTIVE, {})
    assert mount.type == "overlay"
    assert mount.options[-3:] == (f"workdir={root}/2/work", f"upperdir={root}/2/fs", f"lowerdir={root}/1/fs")
    assert overlay.make("ns", "v", "A", VIEW, {}) == [Mount("bind", f"{root}/1/fs", ("ro", "rbind"))]
    overlay.commit("ns", "B", "b", {})
    (mount,) = overlay.make("ns", "w", "B", VIEW, {})
    assert mount.options[-1] == f"lowerdir={root}/2/fs:{root}/1/fs"


def test_native_snapshot_is_a_copy(tmp_path: Path, database: Database) -> None:
    native = Snapshotter("native", tmp_path, database)
    (mount,) = native.make("ns", "a", "", ACTIVE, {})
    Path(mount.source, "file").write_text("content")
    native.commit("ns", "A", "a", {})

    (mount,) = native.make("ns", "b", "A", ACTIVE, {})

    assert mount.options == ("rbind", "rw")
    assert Path(mount.source, "file").read_text() == "content"
    assert native.usage("ns", "b")[1] == 2


def test_snapshot_errors(tmp_path: Path, database: Database) -> None:
    overlay = Snapshotter("overlayfs", tmp_path, database)
    overlay.make("ns", "a", "", ACTIVE, {})
    seen = []
    for attempt in (
        lambda: overlay.make("ns", "a", "", ACTIVE, {}),
        lambda: overlay.make("ns", "b", "none", ACTIVE, {}),
        lambda: overlay.make("ns", "b", "a", ACTIVE, {}),
        lambda: overlay.remove("ns", "none"),
        lambda: overlay.commit("ns", "x", "none", {}),
    ):
        with pytest.raises(RpcError) as caught:
            attempt()
        seen.append((caught.value.code, caught.value.message))
    overlay.commit("ns", "A", "a", {})
    overlay.make("ns", "child", "A", VIEW, {})
    with pytest.raises(RpcError) as caught:
        overlay.remove("ns", "A")
    seen.append((caught.value.code, caught.value.message))
    with pytest.raises(RpcError) as caught:
        overlay.mounts("ns", "A")
    seen.append((caught.value.code, caught.value.message))

    assert seen == [
        (Code.ALREADY_EXISTS, 'snapshot "a": already exists'),
        (Code.NOT_FOUND, "parent snapshot none does not exist: not found"),
        (Code.INVALID_ARGUMENT, 'parent "a" is not committed snapshot: invalid argument'),
        (Code.NOT_FOUND, "snapshot none does not exist: not found"),
        (Code.NOT_FOUND, "snapshot none does not exist: not found"),
        (Code.FAILED_PRECONDITION, "cannot remove snapshot with child: failed precondition"),
        (Code.FAILED_PRECONDITION, "requested snapshot A not active or view: failed precondition"),
    ]


def test_directory_without_a_record_is_cleaned(tmp_path: Path, database: Database) -> None:
    overlay = Snapshotter("overlayfs", tmp_path, database)
    overlay.make("ns", "a", "", ACTIVE, {})
    stray = tmp_path / "io.containerd.snapshotter.v1.overlayfs" / "snapshots" / "77"
    stray.mkdir()

    overlay.clean()

    assert not stray.exists()
    assert overlay.mounts("ns", "a")


# -- garbage collection


class Shop:
    """A store with blobs in it, for the collector."""

    def __init__(self, path: Path, database: Database) -> None:
        self.database = database
        self.store = ContentStore(path)
        self.overlay = Snapshotter("overlayfs", path, database)
        self.collector = Collector(database, self.store, [self.overlay])

    def blob(self, data: bytes, **labels: str) -> str:
        writer = self.store.writer(f"ns/{data!r}", 0)
        writer.write(data)
        digest = asyncio.run(writer.commit(0, ""))
        named = {f"containerd.io/{key.replace('__', '.')}": value for key, value in labels.items()}
        info = content_pb2.Info(digest=digest, size=len(data), labels=named)
        self.database.put("content", "ns", digest, info.SerializeToString())
        return digest

    def left(self) -> set[str]:
        return {record.key for record in self.database.all("content")}


@pytest.fixture
def shop(tmp_path: Path, database: Database) -> Shop:
    return Shop(tmp_path, database)


def test_unreferenced_blob_is_collected_with_its_file(shop: Shop) -> None:
    digest = shop.blob(b"lost")

    assert shop.collector.collect() == 1
    assert shop.left() == set()
    assert shop.store.size(digest) is None


def test_image_keeps_what_labels_lead_to(shop: Shop) -> None:
    layer = shop.blob(b"layer")
    manifest = shop.blob(b"manifest", gc__ref__content__l__0=layer)
    shop.blob(b"lost")
    image = images_pb2.Image(name="i")
    image.target.digest = manifest
    shop.database.put("image", "ns", "i", image.SerializeToString())

    shop.collector.collect()

    assert shop.left() == {layer, manifest}


def test_lease_keeps_and_a_flat_one_no_further(shop: Shop) -> None:
    layer = shop.blob(b"layer")
    manifest = shop.blob(b"manifest", gc__ref__content__0=layer)
    lease = leases_pb2.Lease(id="l", labels={"containerd.io/gc.flat": "1"})
    shop.database.put("lease", "ns", "l", lease.SerializeToString())
    shop.database.lease("ns", "l", "content", manifest)

    shop.collector.collect()

    assert shop.left() == {manifest}


def test_expired_lease_keeps_nothing(shop: Shop) -> None:
    digest = shop.blob(b"x")
    lease = leases_pb2.Lease(id="l", labels={"containerd.io/gc.expire": "2026-11-24T16:46:08Z"})
    shop.database.put("lease", "ns", "l", lease.SerializeToString())
    shop.database.lease("ns", "l", "content", digest)

    shop.collector.collect(dt.datetime(2026, 11, 24, tzinfo=dt.UTC))
    assert shop.left() == {digest}

    shop.collector.collect(dt.datetime(2026, 11, 25, tzinfo=dt.UTC))
    assert shop.left() == set()
    assert shop.database.all("lease") == []


def test_snapshots_go_children_first_and_parents_of_kept_ones_stay(shop: Shop) -> None:
    overlay = shop.overlay
    overlay.make("ns", "a", "", ACTIVE, {})
    overlay.commit("ns", "A", "a", {})
    overlay.make("ns", "b", "A", ACTIVE, {"containerd.io/gc.root": "now"})
    overlay.make("ns", "c", "A", ACTIVE, {})
    overlay.commit("ns", "C", "c", {})
    overlay.make("ns", "d", "C", ACTIVE, {})

    assert shop.collector.collect() == 2
    assert [record.key for record in shop.database.all(overlay.kind)] == ["A", "b"]


def test_root_label_keeps_a_blob(shop: Shop) -> None:
    digest = shop.blob(b"kept", gc__root="now")

    shop.collector.collect()

    assert shop.left() == {digest}
