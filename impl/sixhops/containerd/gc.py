"""Garbage collection: what no root leads to is removed.

Roots are leases that have not expired (and what they hold), images (their target), containers (their
snapshot) and everything with the label containerd.io/gc.root. From there it goes on over the labels
containerd.io/gc.ref.content[.x] and containerd.io/gc.ref.snapshot.<snapshotter> and from a snapshot to its
parent. A lease with containerd.io/gc.flat leads no further than to what it holds.

It runs as upstream's does by default: after `sync` deletions, some time after the start, and after every hundred
changes. A deletion alone doesn't start it, so a blob survives its image for a while (and a pull finds it again).
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

from sixhops.wire.proto import containers_pb2, content_pb2, images_pb2, leases_pb2, snapshots_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sixhops.containerd.content import ContentStore
    from sixhops.containerd.database import Database
    from sixhops.containerd.snapshots import Snapshotter

__all__ = ["Collector"]

log = logging.getLogger(__name__)
ROOT = "containerd.io/gc.root"
FLAT = "containerd.io/gc.flat"
EXPIRE = "containerd.io/gc.expire"
CONTENT_REFERENCE = "containerd.io/gc.ref.content"
SNAPSHOT_REFERENCE = "containerd.io/gc.ref.snapshot."
MUTATIONS = 100

Node = tuple[str, str, str]  # namespace, type ("content", "snapshots/overlayfs"), id


class Collector:
    """Marks from the roots, then removes the rest."""

    def __init__(self, database: Database, store: ContentStore, snapshotters: Iterable[Snapshotter]) -> None:
        self._database = database
        self._store = store
        self._snapshotters = {f"snapshots/{item.name}": item for item in snapshotters}

    def due(self) -> bool:
        """Tell whether enough has changed for another run."""
        return self._database.mutations >= MUTATIONS

    def collect(self, now: dt.datetime | None = None) -> int:
        """Remove what can't be reached; return how many things that were."""
        moment = now or dt.datetime.now(dt.UTC)
        removed = 0
        with self._database.transaction():
            self._expire(moment)
            labels = self._labels()
            kept = self._mark(labels)
            gone = [node for node in labels if node not in kept]
            for namespace, kind, identifier in _children_first(gone, self._snapshotters, self._database):
                if kind == "content":
                    self._database.delete("content", namespace, identifier)
                else:
                    self._snapshotters[kind].remove(namespace, identifier)
                removed += 1
        known = {record.key for record in self._database.all("content")}
        for digest in list(self._store.digests()):
            if digest not in known:
                self._store.remove(digest)
        for snapshotter in self._snapshotters.values():
            snapshotter.clean()
        self._database.mutations = 0
        log.debug("garbage collected: %d", removed)
        return removed

    def _expire(self, now: dt.datetime) -> None:
        for record in self._database.all("lease"):
            text = leases_pb2.Lease.FromString(record.value).labels.get(EXPIRE)
            if text and _parse_time(text) < now:
                self._database.delete("lease", record.namespace, record.key)
                self._database.unlease(record.namespace, record.key)
        for record in self._database.all("image"):
            text = images_pb2.Image.FromString(record.value).labels.get(EXPIRE)
            if text and _parse_time(text) < now:
                self._database.delete("image", record.namespace, record.key)

    def _labels(self) -> dict[Node, Mapping[str, str]]:
        """Return everything that can be collected, with its labels."""
        found: dict[Node, Mapping[str, str]] = {}
        for record in self._database.all("content"):
            found[record.namespace, "content", record.key] = content_pb2.Info.FromString(record.value).labels
        for kind, snapshotter in self._snapshotters.items():
            for record in self._database.all(snapshotter.kind):
                found[record.namespace, kind, record.key] = snapshots_pb2.Info.FromString(record.value).labels
        return found

    def _mark(self, labels: dict[Node, Mapping[str, str]]) -> set[Node]:
        pending: list[Node] = [node for node, own in labels.items() if ROOT in own]
        kept: set[Node] = set()
        for record in self._database.all("lease"):
            lease = leases_pb2.Lease.FromString(record.value)
            held = [
                (record.namespace, kind, identifier)
                for kind, identifier in self._database.leased(record.namespace, record.key)
            ]
            if FLAT in lease.labels:
                kept.update(held)
            else:
                pending.extend(held)
        for record in self._database.all("image"):
            image = images_pb2.Image.FromString(record.value)
            pending.append((record.namespace, "content", image.target.digest))
            pending.extend(_references(record.namespace, image.labels))
        for record in self._database.all("container"):
            container = containers_pb2.Container.FromString(record.value)
            if container.snapshot_key:
                kind = f"snapshots/{container.snapshotter}"
                pending.append((record.namespace, kind, container.snapshot_key))
            pending.extend(_references(record.namespace, container.labels))
        seen: set[Node] = set()
        while pending:
            node = pending.pop()
            if node in seen or node not in labels:
                continue
            seen.add(node)
            pending.extend(_references(node[0], labels[node]))
            snapshotter = self._snapshotters.get(node[1])
            if snapshotter is not None:
                record_found = self._database.get(snapshotter.kind, node[0], node[2])
                if record_found is not None and record_found.parent:
                    pending.append((node[0], node[1], record_found.parent))
        return kept | seen


def _references(namespace: str, labels: Mapping[str, str]) -> list[Node]:
    found: list[Node] = []
    for key, value in labels.items():
        if key == CONTENT_REFERENCE or key.startswith((CONTENT_REFERENCE + ".", CONTENT_REFERENCE + "/")):
            found.append((namespace, "content", value))
        elif key.startswith(SNAPSHOT_REFERENCE):
            name = key.removeprefix(SNAPSHOT_REFERENCE).partition("/")[0]
            found.append((namespace, f"snapshots/{name}", value))
    return found


def _children_first(
    nodes: list[Node], snapshotters: Mapping[str, Snapshotter], database: Database
) -> list[Node]:
    """Order what goes so that no snapshot goes before one that stands on it."""

    def depth(node: Node) -> int:
        snapshotter = snapshotters.get(node[1])
        if snapshotter is None:
            return 0
        count, key = 0, node[2]
        while key and (record := database.get(snapshotter.kind, node[0], key)) is not None:
            count, key = count + 1, record.parent
        return count

    return sorted(nodes, key=depth, reverse=True)


def _parse_time(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        log.warning("label %s has no valid time: %s", EXPIRE, text)
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
