"""Garbage collection: what no root leads to is removed.

Roots are leases that have not expired (and what they hold), images (their target), containers (their snapshot),
everything with the label containerd.io/gc.root, and ingests for a day after their last use. From there it goes on over
the labels containerd.io/gc.ref.content[.x] and containerd.io/gc.ref.snapshot.<snapshotter>, and from a snapshot to its
parent. A lease with containerd.io/gc.flat leads no further than to what it holds and those parents.

When it runs is upstream's rule: shortly after the start, at once for a deletion that asks for it (`sync`), and else
after a deletion or a hundred changes, but so that it never takes more than a fiftieth of the time (`run`; the
configuration can say otherwise).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from typing import TYPE_CHECKING

from sixhops.containerd.settings.config import Schedule
from sixhops.wire.proto import containers_pb2, content_pb2, images_pb2, leases_pb2, snapshots_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sixhops.containerd.metadata.database import Database, Record
    from sixhops.containerd.storage.content import ContentStore
    from sixhops.containerd.storage.snapshots import Snapshotter

__all__ = ["Collector", "Node"]

log = logging.getLogger(__name__)
ROOT = "containerd.io/gc.root"
FLAT = "containerd.io/gc.flat"
EXPIRE = "containerd.io/gc.expire"
CONTENT_REFERENCE = "containerd.io/gc.ref.content"
SNAPSHOT_REFERENCE = "containerd.io/gc.ref.snapshot."
CONTENT = "content"
INGEST = "ingests"
INGEST_LIFE = dt.timedelta(hours=24)

Node = tuple[
    str, str, str
]  # namespace, type as leases name it ("content", "ingests", "snapshots/overlayfs"), id


class Collector:
    """Marks from the roots, then removes the rest."""

    def __init__(
        self,
        database: Database,
        store: ContentStore,
        snapshotters: Iterable[Snapshotter],
        schedule: Schedule | None = None,
    ) -> None:
        self._schedule = schedule or Schedule()
        self._database = database
        self._store = store
        self._snapshotters = {f"snapshots/{item.name}": item for item in snapshotters}
        self._due = asyncio.Event()
        database.changed = self._count

    def _count(self) -> None:
        deletions, mutations = self._database.deletions, self._database.mutations
        if (deletions and deletions >= self._schedule.deletions) or 0 < self._schedule.mutations <= mutations:
            self._due.set()

    def forget_lost(self) -> None:
        """Remove the records of blobs whose file isn't there or has another size: nobody may be told of those.

        A crash of the process leaves none; a disk that lost its last writes, or someone's hand, may.
        """
        for record in self._database.all(CONTENT):
            if self._store.size(record.key) != content_pb2.Info.FromString(record.value).size:
                log.error("content %s of namespace %s is damaged; forgotten", record.key, record.namespace)
                self._database.delete(CONTENT, record.namespace, record.key)

    async def run(self) -> None:
        """Collect when it is due, for as long as this is awaited."""
        await asyncio.sleep(self._schedule.startup)
        spent, runs = 0.0, 0
        while True:
            begin = time.monotonic()
            try:
                _count, doomed = self.mark_and_forget()
            except Exception:
                log.exception("garbage collection failed")
                doomed = []
            spent, runs = spent + time.monotonic() - begin, runs + 1
            await asyncio.to_thread(self.remove, doomed)
            if self._schedule.pause:
                rest = begin + (spent / runs) * (1 / self._schedule.pause - 1) - time.monotonic()
                await asyncio.sleep(max(rest, 0.0))
            await self._due.wait()
            await asyncio.sleep(self._schedule.delay)

    async def sweep(self) -> None:
        """Collect now, for a deletion that asks for it; the files have gone when this returns."""
        _count, doomed = self.mark_and_forget()
        await asyncio.to_thread(self.remove, doomed)

    def collect(self, now: dt.datetime | None = None) -> int:
        """Remove what can't be reached, records and files; return how many records went."""
        count, doomed = self.mark_and_forget(now)
        self.remove(doomed)
        return count

    def mark_and_forget(self, now: dt.datetime | None = None) -> tuple[int, list[tuple[Snapshotter, Path]]]:
        """Remove the records that can't be reached, and blobs and ingests that no record speaks of.

        Returns how many records went, and the snapshot directories that nobody knows any more: their names are never
        used again, so they can be removed at leisure.
        """
        self._due.clear()
        moment = now or dt.datetime.now(dt.UTC)
        with self._database.transaction():
            self._expire(moment)
            labels = self._labels()
            kept = self._mark(labels, moment)
            gone = [node for node in labels if node not in kept]
            for namespace, kind, identifier in gone:
                self._database.delete(self._record_kind(kind), namespace, identifier)
        self._clean_store()
        self._database.mutations = 0
        self._database.deletions = 0
        log.debug("garbage collected: %d", len(gone))
        doomed = [(item, path) for item in self._snapshotters.values() for path in item.unknown()]
        return len(gone), doomed

    def remove(self, doomed: Iterable[tuple[Snapshotter, Path]]) -> None:
        """Remove snapshot directories."""
        for snapshotter, path in doomed:
            snapshotter.discard(path)

    def _record_kind(self, kind: str) -> str:
        if kind == INGEST:
            return "ingest"
        return kind if kind == CONTENT else self._snapshotters[kind].kind

    def _clean_store(self) -> None:
        known = {record.key for record in self._database.all(CONTENT)}
        backends = set()
        for record in self._database.all("ingest"):
            backends.add(record.backend)
            # what an ingest shares with another namespace must outlive the blob there
            known.add(content_pb2.Status.FromString(record.value).expected)
        for digest in list(self._store.digests()):
            if digest not in known and not self._store.is_arriving(digest):
                self._store.remove(digest)
        for ref in self._store.refs():
            if ref not in backends:
                self._store.abort(ref)

    def _expire(self, now: dt.datetime) -> None:
        for record in self._database.all("lease"):
            text = leases_pb2.Lease.FromString(record.value).labels.get(EXPIRE)
            if text and _parse_time(text) < now:
                self._database.delete("lease", record.namespace, record.key)
                self._database.unlease(record.namespace, record.key)

    def _labels(self) -> dict[Node, Mapping[str, str]]:
        """Return everything that can be collected, with its labels."""
        found: dict[Node, Mapping[str, str]] = {}
        for record in self._database.all(CONTENT):
            found[record.namespace, CONTENT, record.key] = content_pb2.Info.FromString(record.value).labels
        for record in self._database.all("ingest"):
            found[record.namespace, INGEST, record.key] = {}
        for kind, snapshotter in self._snapshotters.items():
            for record in self._database.all(snapshotter.kind):
                found[record.namespace, kind, record.key] = snapshots_pb2.Info.FromString(record.value).labels
        return found

    def _mark(self, labels: dict[Node, Mapping[str, str]], now: dt.datetime) -> set[Node]:
        pending: list[Node] = [node for node, own in labels.items() if ROOT in own]
        flat: list[Node] = []
        for record in self._database.all("lease"):
            lease = leases_pb2.Lease.FromString(record.value)
            held = [
                (record.namespace, kind, identifier)
                for kind, identifier in self._database.leased(record.namespace, record.key)
            ]
            (flat if FLAT in lease.labels else pending).extend(held)
        for record in self._database.all("image"):
            image = images_pb2.Image.FromString(record.value)
            pending.append((record.namespace, CONTENT, image.target.digest))
            pending.extend(_references(record.namespace, image.labels))
        for record in self._database.all("container"):
            container = containers_pb2.Container.FromString(record.value)
            if container.snapshot_key:
                kind = f"snapshots/{container.snapshotter}"
                pending.append((record.namespace, kind, container.snapshot_key))
            pending.extend(_references(record.namespace, container.labels))
        ingests = self._database.all("ingest")
        pending.extend((item.namespace, INGEST, item.key) for item in ingests if _used_lately(item, now))
        return self._reach(pending, labels, deep=True) | self._reach(flat, labels, deep=False)

    def _reach(self, pending: list[Node], labels: dict[Node, Mapping[str, str]], *, deep: bool) -> set[Node]:
        """Return all that the nodes lead to; without `deep` only over parents."""
        seen: set[Node] = set()
        while pending:
            node = pending.pop()
            if node in seen or node not in labels:
                continue
            seen.add(node)
            if deep:
                pending.extend(_references(node[0], labels[node]))
            snapshotter = self._snapshotters.get(node[1])
            if snapshotter is not None:
                record = self._database.get(snapshotter.kind, node[0], node[2])
                if record is not None and record.parent:
                    pending.append((node[0], node[1], record.parent))
        return seen


def _used_lately(record: Record, now: dt.datetime) -> bool:
    status = content_pb2.Status.FromString(record.value)
    if not status.HasField("updated_at"):
        return False  # only ever opened under a lease, which keeps it or doesn't
    used = dt.datetime.fromtimestamp(status.updated_at.seconds, dt.UTC)
    return now - used < INGEST_LIFE


def _references(namespace: str, labels: Mapping[str, str]) -> list[Node]:
    found: list[Node] = []
    for key, value in labels.items():
        if key == CONTENT_REFERENCE or key.startswith((CONTENT_REFERENCE + ".", CONTENT_REFERENCE + "/")):
            found.append((namespace, CONTENT, value))
        elif key.startswith(SNAPSHOT_REFERENCE):
            name = key.removeprefix(SNAPSHOT_REFERENCE).partition("/")[0]
            found.append((namespace, f"snapshots/{name}", value))
    return found


def _parse_time(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        log.warning("label %s has no valid time: %s", EXPIRE, text)
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
