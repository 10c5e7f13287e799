"""Snapshots, over all snapshotters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import invalid_argument, not_found, not_implemented
from sixhops.containerd.metadata.labels import drop_empty, update_labels
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.metadata.validate import check_labels, quote
from sixhops.containerd.rpc import check_namespace, namespace_checked
from sixhops.containerd.services.listing import batches, label, lease_resource, matching
from sixhops.containerd.storage.snapshots import ACTIVE, NAMELESS, VIEW, Snapshotter
from sixhops.wire.proto import payloads_pb2, snapshots_pb2, types_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.rpc import Call
    from sixhops.linux.mountlist import Mount

__all__ = ["SnapshotsService", "to_messages"]

KINDS = {1: "view", 2: "active", 3: "committed"}


def to_messages(mounts: list[Mount]) -> list[types_pb2.Mount]:
    """Return mounts as the API shows them."""
    return [types_pb2.Mount(type=item.type, source=item.source, options=item.options) for item in mounts]


class SnapshotsService:
    """containerd.services.snapshots.v1.Snapshots."""

    def __init__(self, snapshotters: list[Snapshotter], database: Database, bus: Bus) -> None:
        self._snapshotters = {snapshotter.name: snapshotter for snapshotter in snapshotters}
        self._database = database
        self._bus = bus

    def _snapshotter(self, name: str) -> Snapshotter:
        if not name:
            raise invalid_argument("snapshotter argument missing")
        if name not in self._snapshotters:
            raise invalid_argument(f"snapshotter not loaded: {name}")
        return self._snapshotters[name]

    async def _make(self, request: Any, call: Call, kind: int) -> list[types_pb2.Mount]:
        snapshotter = self._snapshotter(request.snapshotter)
        check_labels(request.labels, "info.Labels")
        self._check_lease(call)
        try:
            mounts = await snapshotter.make(call.namespace, request.key, request.parent, kind, request.labels)
        except RpcError as error:
            if error.message == NAMELESS and call.lease:  # upstream's database is asked about the lease first
                raise RpcError(Code.UNKNOWN, "key required") from error
            raise
        lease_resource(self._database, call, f"snapshots/{snapshotter.name}", request.key)
        if kind == ACTIVE:  # of a view nobody is told
            event = payloads_pb2.SnapshotPrepare(key=request.key, parent=request.parent)
            self._bus.publish(call.namespace, "/snapshot/prepare", event)
        return to_messages(mounts)

    def _check_lease(self, call: Call) -> None:
        """Refuse an unknown lease before there is anything that it would have to hold."""
        if call.lease and self._database.get("lease", call.namespace, call.lease) is None:
            raise not_found("lease does not exist")

    async def prepare(self, request: Any, call: Call) -> Any:
        """Make a snapshot to write to."""
        return snapshots_pb2.PrepareSnapshotResponse(mounts=await self._make(request, call, ACTIVE))

    async def view(self, request: Any, call: Call) -> Any:
        """Make a snapshot to read from."""
        return snapshots_pb2.ViewSnapshotResponse(mounts=await self._make(request, call, VIEW))

    async def mounts(self, request: Any, call: Call) -> Any:
        """Return the mounts of an active snapshot or a view."""
        mounts = self._snapshotter(request.snapshotter).mounts(call.namespace, request.key)
        return snapshots_pb2.MountsResponse(mounts=to_messages(mounts))

    async def commit(self, request: Any, call: Call) -> Any:
        """Make an active snapshot a layer."""
        snapshotter = self._snapshotter(request.snapshotter)
        check_labels(request.labels, "info.Labels")
        kind = f"snapshots/{snapshotter.name}"
        with self._database.transaction():
            snapshotter.commit(call.namespace, request.name, request.key, request.labels)
            if lease_resource(self._database, call, kind, request.name):
                self._database.unlease(call.namespace, call.lease, kind, request.key)
        event = payloads_pb2.SnapshotCommit(key=request.key, name=request.name)
        self._bus.publish(call.namespace, "/snapshot/commit", event)
        return Empty()

    async def remove(self, request: Any, call: Call) -> Any:
        """Remove a snapshot."""
        snapshotter = self._snapshotter(request.snapshotter)
        snapshotter.remove(call.namespace, request.key)
        if call.lease:
            kind = f"snapshots/{snapshotter.name}"
            self._database.unlease(call.namespace, call.lease, kind, request.key)
        event = payloads_pb2.SnapshotRemove(key=request.key)
        self._bus.publish(call.namespace, "/snapshot/remove", event)
        return Empty()

    async def stat(self, request: Any, call: Call) -> Any:
        """Return one snapshot's facts."""
        _record, info = self._snapshotter(request.snapshotter).record(call.namespace, request.key)
        return snapshots_pb2.StatSnapshotResponse(info=info)

    async def update(self, request: Any, call: Call) -> Any:
        """Change labels."""
        snapshotter = self._snapshotter(request.snapshotter)
        if not request.info.name:
            raise RpcError(Code.INVALID_ARGUMENT, "invalid argument")
        record, info = snapshotter.record(call.namespace, request.info.name)
        what = f"snapshot {quote(info.name)}"
        update_labels(info.labels, request.info.labels, request.update_mask.paths, what)
        check_labels(info.labels, "info.Labels")
        drop_empty(info.labels)
        set_now(info.updated_at)
        snapshotter.replace(record, info)
        return snapshots_pb2.UpdateSnapshotResponse(info=info)

    @namespace_checked
    async def list(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Yield the snapshots that match. A bad filter or namespace has no code of its own here (observed)."""
        snapshotter = self._snapshotter(request.snapshotter)
        records = self._database.all(snapshotter.kind, call.namespace)
        infos = (snapshots_pb2.Info.FromString(record.value) for record in records)
        try:
            check_namespace(call.namespace)
            found = matching(infos, request.filters, _look)
        except RpcError as error:
            raise RpcError(Code.UNKNOWN, error.message) from error
        for batch in batches(found):
            yield snapshots_pb2.ListSnapshotsResponse(info=batch)

    async def usage(self, request: Any, call: Call) -> Any:
        """Return what a snapshot itself takes on disk."""
        size, inodes = await self._snapshotter(request.snapshotter).usage(call.namespace, request.key)
        return snapshots_pb2.UsageResponse(size=size, inodes=inodes)

    async def cleanup(self, request: Any, _call: Call) -> Any:
        """Refuse: as in upstream, what no record speaks of goes with the garbage collection, not on demand."""
        self._snapshotter(request.snapshotter)
        raise not_implemented("snapshotter does not implement Cleanup method")


def _look(info: snapshots_pb2.Info, path: tuple[str, ...]) -> str | None:
    if path == ("name",):
        return info.name
    if path == ("parent",):
        return info.parent
    if path == ("kind",):
        return KINDS.get(info.kind, "unknown")
    return label(info.labels, path) if path[0] == "labels" else None
