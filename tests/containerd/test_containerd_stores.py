import asyncio
import datetime as dt
import hashlib
import resource
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sixhops.containerd.metadata.database import Database
from sixhops.containerd.metadata.gc import Collector
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.storage.content import ContentStore
from sixhops.containerd.storage.snapshots import ACTIVE, VIEW, Snapshotter
from sixhops.linux.mountlist import Mount
from sixhops.wire.proto import content_pb2, images_pb2, leases_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

DIGEST = "sha256:" + "0" * 64


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


def test_commit_that_is_refused_changes_nothing(database: Database) -> None:
    def fail() -> None:
        with database.transaction():
            database.put("image", "ns", "big", bytes(1 << 20))

    database.put("image", "ns", "a", b"1")
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        fail()

    assert [record.key for record in database.all("image")] == ["a"]
    assert not database._connection.in_transaction
    assert database.delete("image", "ns", "a")


def test_records_are_apart_by_namespace(database: Database) -> None:
    database.put("image", "one", "a", b"1")
    database.put("image", "two", "a", b"2")

    assert [record.value for record in database.all("image", "one")] == [b"1"]
    assert [record.namespace for record in database.all("image")] == ["one", "two"]
    assert [record.key for record in database.all("namespace", "")] == ["one", "two"]
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


def test_namespace_stays_until_it_is_deleted_with_all_in_it(database: Database) -> None:
    database.put("image", "ns", "a", b"1")
    database.lease("ns", "l", "content", "x")
    database.delete("image", "ns", "a")
    assert database.get("namespace", "", "ns") is not None

    database.delete_namespace("ns")

    assert database.get("namespace", "", "ns") is None
    assert database.leased("ns", "l") == []
    database.put("image", "ns", "a", b"1")
    assert database.get("namespace", "", "ns") is not None


def test_database_of_an_earlier_version_gets_its_namespaces(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "d.db")
    connection.execute(
        "CREATE TABLE records (kind TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, "
        "parent TEXT NOT NULL DEFAULT '', number INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (kind, namespace, key))"
    )
    connection.execute("INSERT INTO records (kind, namespace, key, value) VALUES ('image', 'ns', 'a', 'x')")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()

    database = Database(tmp_path / "d.db")

    assert [record.key for record in database.all("namespace", "")] == ["ns"]
    assert database.all("image")[0].backend == "ns/0/a"


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
    async def scenario() -> None:
        store = ContentStore(tmp_path)
        writer = await store.writer("ns/1/r", 5)
        writer.write(b"hello")
        digest = digest_of(b"hello")
        assert (store.size(digest), writer.offset, writer.digest) == (None, 5, digest)

        assert await writer.commit(digest) == digest

        assert store.path(digest).read_bytes() == b"hello"
        assert store.status("ns/1/r") is None

    asyncio.run(scenario())


def test_ingest_is_resumed_after_a_crash(tmp_path: Path) -> None:
    async def scenario() -> None:
        (await ContentStore(tmp_path).writer("ns/1/r", 10)).write(b"hello")

        writer = await ContentStore(tmp_path).writer("ns/1/r", 10)

        assert (writer.offset, writer.digest, writer.begun.total) == (5, digest_of(b"hello"), 10)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["total", "startedat", "data", "ref"])
def test_ingest_that_a_crash_left_half_begun_begins_anew(tmp_path: Path, name: str) -> None:
    async def begin() -> None:
        (await ContentStore(tmp_path).writer("ns/1/r", 10)).close()

    async def scenario() -> None:
        store = ContentStore(tmp_path)
        assert store.status("ns/1/r") is None

        writer = await store.writer("ns/1/r", 10)

        assert (writer.offset, writer.begun.ref, writer.begun.total) == (0, "ns/1/r", 10)

    asyncio.run(begin())
    (path,) = tmp_path.glob(f"ingest/*/{name}")
    path.unlink()
    asyncio.run(scenario())


def test_another_total_begins_anew_over_the_same_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ContentStore(tmp_path)
        writer = await store.writer("ns/1/r", 5)
        writer.write(b"hello")
        writer.close()

        writer = await store.writer("ns/1/r", 7)
        status = store.status("ns/1/r")
        assert (writer.offset, writer.digest) == (0, digest_of(b""))
        assert status is not None
        assert (status.offset, status.total) == (5, 7)
        writer.write(b"x")

        assert store.path(await writer.commit("")).read_bytes() == b"x"

    asyncio.run(scenario())


def test_second_writer_of_a_ref(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ContentStore(tmp_path)
        first = await store.writer("ns/1/r", 0)

        with pytest.raises(RpcError, match="ref ns/1/r locked for") as caught:
            await store.writer("ns/1/r", 0)
        second = asyncio.create_task(store.writer("ns/1/r", 0))
        await asyncio.sleep(0)  # it waits for the first now
        first.close()

        assert caught.value.code is Code.UNAVAILABLE
        (await second).close()

    asyncio.run(scenario())


def test_wrong_bytes_are_never_committed(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ContentStore(tmp_path)
        writer = await store.writer("ns/1/r", 0)
        writer.write(b"hello")

        with pytest.raises(RpcError, match=r"unexpected commit digest .*: failed precondition"):
            await writer.commit("sha256:" + "0" * 64)

        assert list(store.digests()) == []
        assert store.refs() == ["ns/1/r"]

    asyncio.run(scenario())


def test_full_disk_leaves_what_was_written_and_no_blob(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ContentStore(tmp_path)
        writer = await store.writer("ns/1/r", 0)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                writer.write(b"hello")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        writer.close()

        assert list(store.digests()) == []
        writer = await store.writer("ns/1/r", 0)
        assert (writer.offset, writer.digest) == (4, digest_of(b"hell"))
        writer.write(b"o")
        assert await writer.commit(digest_of(b"hello")) == digest_of(b"hello")

    asyncio.run(scenario())


def test_truncated_ingest_starts_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = await ContentStore(tmp_path).writer("ns/1/r", 0)
        writer.write(b"hello")

        writer.truncate()

        assert (writer.offset, writer.digest) == (0, digest_of(b""))

    asyncio.run(scenario())


def test_abort(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ContentStore(tmp_path)
        (await store.writer("ns/1/r", 0)).close()

        store.abort("ns/1/r")
        store.abort("ns/1/r")

        assert store.status("ns/1/r") is None

    asyncio.run(scenario())


# -- snapshots


def make(snapshotter: Snapshotter, *arguments: Any) -> list[Mount]:
    return asyncio.run(snapshotter.make(*arguments))


def test_mounts_of_overlay_snapshots(tmp_path: Path, database: Database) -> None:
    overlay = Snapshotter("overlayfs", tmp_path, database)
    root = tmp_path / "io.containerd.snapshotter.v1.overlayfs" / "snapshots"

    assert make(overlay, "ns", "a", "", ACTIVE, {}) == [Mount("bind", f"{root}/1/fs", ("rw", "rbind"))]
    overlay.commit("ns", "A", "a", {})
    (mount,) = make(overlay, "ns", "b", "A", ACTIVE, {})
    assert mount.type == "overlay"
    assert mount.options[-3:] == (f"workdir={root}/2/work", f"upperdir={root}/2/fs", f"lowerdir={root}/1/fs")
    assert make(overlay, "ns", "v", "A", VIEW, {}) == [Mount("bind", f"{root}/1/fs", ("ro", "rbind"))]
    overlay.commit("ns", "B", "b", {})
    (mount,) = make(overlay, "ns", "w", "B", VIEW, {})
    assert mount.options[-1] == f"lowerdir={root}/2/fs:{root}/1/fs"


def test_native_snapshot_is_a_copy(tmp_path: Path, database: Database) -> None:
    native = Snapshotter("native", tmp_path, database)
    (mount,) = make(native, "ns", "a", "", ACTIVE, {})
    Path(mount.source, "file").write_text("content")
    native.commit("ns", "A", "a", {})

    (mount,) = make(native, "ns", "b", "A", ACTIVE, {})

    assert mount.options == ("rbind", "rw")
    assert Path(mount.source, "file").read_text() == "content"
    assert asyncio.run(native.usage("ns", "b"))[1] == 2


def test_name_that_is_taken_while_the_parent_is_copied(tmp_path: Path, database: Database) -> None:
    native = Snapshotter("native", tmp_path, database)
    make(native, "ns", "a", "", ACTIVE, {})
    native.commit("ns", "A", "a", {})

    async def both() -> list[Any]:
        attempts = (native.make("ns", "b", "A", ACTIVE, {}) for _ in range(2))
        return await asyncio.gather(*attempts, return_exceptions=True)

    results = asyncio.run(both())

    (refused,) = [result for result in results if isinstance(result, RpcError)]
    assert refused.message == 'snapshot "b": already exists'
    assert native.unknown() == []


def test_snapshot_errors(tmp_path: Path, database: Database) -> None:
    overlay = Snapshotter("overlayfs", tmp_path, database)
    make(overlay, "ns", "a", "", ACTIVE, {})
    seen = []
    for attempt in (
        lambda: make(overlay, "ns", "a", "", ACTIVE, {}),
        lambda: make(overlay, "ns", "b", "none", ACTIVE, {}),
        lambda: make(overlay, "ns", "b", "a", ACTIVE, {}),
        lambda: overlay.remove("ns", "none"),
        lambda: overlay.commit("ns", "x", "none", {}),
    ):
        with pytest.raises(RpcError) as caught:
            attempt()
        seen.append((caught.value.code, caught.value.message))
    overlay.commit("ns", "A", "a", {})
    make(overlay, "ns", "child", "A", VIEW, {})
    with pytest.raises(RpcError) as caught:
        overlay.remove("ns", "A")
    seen.append((caught.value.code, caught.value.message))
    with pytest.raises(RpcError) as caught:
        overlay.mounts("ns", "A")
    seen.append((caught.value.code, caught.value.message))

    assert seen == [
        (Code.ALREADY_EXISTS, 'snapshot "a": already exists'),
        (Code.NOT_FOUND, "parent snapshot none does not exist: not found"),
        (
            Code.INVALID_ARGUMENT,
            'failed to create snapshot: parent "ns/1/a" is not committed snapshot: invalid argument',
        ),
        (Code.NOT_FOUND, "snapshot none does not exist: not found"),
        (Code.NOT_FOUND, "snapshot none does not exist: not found"),
        (Code.FAILED_PRECONDITION, "cannot remove snapshot with child: failed precondition"),
        (
            Code.FAILED_PRECONDITION,
            "failed to get active mount: requested snapshot ns/2/A not active or view: failed precondition",
        ),
    ]


def test_directory_without_a_record_is_cleaned(tmp_path: Path, database: Database) -> None:
    overlay = Snapshotter("overlayfs", tmp_path, database)
    make(overlay, "ns", "a", "", ACTIVE, {})
    stray = tmp_path / "io.containerd.snapshotter.v1.overlayfs" / "snapshots" / "77"
    stray.mkdir()

    assert overlay.unknown() == [stray]
    overlay.discard(stray)

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
        async def write() -> str:
            writer = await self.store.writer(f"ns/1/{data!r}", 0)
            writer.write(data)
            return await writer.commit("")

        digest = asyncio.run(write())
        named = {f"containerd.io/{key.replace('__', '.')}": value for key, value in labels.items()}
        info = content_pb2.Info(digest=digest, size=len(data), labels=named)
        self.database.put("content", "ns", digest, info.SerializeToString())
        return digest

    def blob_record(self, digest: str) -> None:
        self.database.put("content", "ns", digest, content_pb2.Info(digest=digest).SerializeToString())

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
    make(overlay, "ns", "a", "", ACTIVE, {})
    overlay.commit("ns", "A", "a", {})
    make(overlay, "ns", "b", "A", ACTIVE, {"containerd.io/gc.root": "now"})
    make(overlay, "ns", "c", "A", ACTIVE, {})
    overlay.commit("ns", "C", "c", {})
    make(overlay, "ns", "d", "C", ACTIVE, {})

    assert shop.collector.collect() == 2
    assert [record.key for record in shop.database.all(overlay.kind)] == ["A", "b"]


def test_root_label_keeps_a_blob(shop: Shop) -> None:
    digest = shop.blob(b"kept", gc__root="now")

    shop.collector.collect()

    assert shop.left() == {digest}


def test_damaged_blob_is_forgotten_at_the_start(shop: Shop) -> None:
    good, cut, gone = shop.blob(b"good"), shop.blob(b"cut"), shop.blob(b"gone")
    shop.store.path(cut).chmod(0o644)
    shop.store.path(cut).write_bytes(b"c")
    shop.store.path(gone).unlink()

    shop.collector.forget_lost()

    assert shop.left() == {good}


@pytest.mark.parametrize(("days", "kept"), [(0, True), (2, False)])
def test_ingest_is_kept_for_a_day(shop: Shop, days: int, kept: bool) -> None:
    asyncio.run(shop.store.writer("ns/1/r", 0)).close()
    status = content_pb2.Status(ref="r")
    set_now(status.updated_at)
    shop.database.put("ingest", "ns", "r", status.SerializeToString(), sequence=1)

    shop.collector.collect(dt.datetime.now(dt.UTC) + dt.timedelta(days=days))

    assert (shop.store.status("ns/1/r") is not None) is kept
    assert (shop.database.get("ingest", "ns", "r") is not None) is kept


def test_leased_ingest_goes_with_its_lease(shop: Shop) -> None:
    shop.database.put("lease", "ns", "l", leases_pb2.Lease(id="l").SerializeToString())
    shop.database.lease("ns", "l", "ingests", "r")
    shop.database.put("ingest", "ns", "r", content_pb2.Status(ref="r").SerializeToString(), sequence=1)
    shop.collector.collect()
    assert shop.database.get("ingest", "ns", "r") is not None

    shop.database.delete("lease", "ns", "l")
    shop.database.unlease("ns", "l")
    shop.collector.collect()

    assert shop.database.get("ingest", "ns", "r") is None


def test_collection_follows_a_deletion(shop: Shop) -> None:
    async def scenario() -> None:
        changed = asyncio.Event()
        count = shop.database.changed

        def note() -> None:
            count()
            changed.set()

        async def empty() -> None:
            while shop.left():
                changed.clear()
                await changed.wait()

        shop.database.changed = note
        running = asyncio.create_task(shop.collector.run())
        try:
            shop.blob_record(DIGEST)
            await asyncio.wait_for(empty(), 20)  # the first run, shortly after the start
            shop.blob_record(DIGEST)
            shop.database.put("lease", "ns", "l", b"")
            shop.database.delete("lease", "ns", "l")
            await asyncio.wait_for(empty(), 20)
        finally:
            running.cancel()

    asyncio.run(scenario())


def test_blob_is_not_collected_between_its_name_and_its_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ContentStore(tmp_path)
        database = Database(tmp_path / "meta.db")
        collector = Collector(database, store, [])
        writer = await store.writer("ns/1/r", 0)
        writer.write(b"hello")
        with store.arriving(writer.digest):
            digest = await writer.commit("")
            collector.collect()
            assert store.size(digest) == 5
        collector.collect()
        assert store.size(digest) is None
        database.close()

    asyncio.run(scenario())
