"""Snapshots, over all snapshotters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import invalid_argument, not_found
from sixhops.containerd.filters import parse_all
from sixhops.containerd.snapshots import ACTIVE, VIEW, Snapshotter
from sixhops.containerd.stamps import set_now
from sixhops.containerd.validate import check_labels, quote
from sixhops.wire.proto import payloads_pb2, snapshots_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.database import Database
    from sixhops.containerd.rpc import Call
    from sixhops.linux.mountlist import Mount

__all__ = ["SnapshotsService"]

LIST_CHUNK = 100
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

    def _make(self, request: Any, call: Call, kind: int) -> list[types_pb2.Mount]:
        snapshotter = self._snapshotter(request.snapshotter)
        check_labels(request.labels, "info.Labels")
        mounts = snapshotter.make(call.namespace, request.key, request.parent, kind, request.labels)
        self._lease(call, snapshotter.name, request.key)
        event = payloads_pb2.SnapshotPrepare(
            key=request.key, parent=request.parent, snapshotter=snapshotter.name
        )
        self._bus.publish(call.namespace, "/snapshot/prepare", event)
        return to_messages(mounts)

    def _lease(self, call: Call, snapshotter: str, key: str) -> None:
        if not call.lease:
            return
        if self._database.get("lease", call.namespace, call.lease) is None:
            raise not_found("lease does not exist")
        self._database.lease(call.namespace, call.lease, f"snapshots/{snapshotter}", key)

    async def prepare(self, request: Any, call: Call) -> Any:
        """Make a snapshot to write to."""
        return snapshots_pb2.PrepareSnapshotResponse(mounts=self._make(request, call, ACTIVE))

    async def view(self, request: Any, call: Call) -> Any:
        """Make a snapshot to read from."""
        return snapshots_pb2.ViewSnapshotResponse(mounts=self._make(request, call, VIEW))

    async def mounts(self, request: Any, call: Call) -> Any:
        """Return the mounts of an active snapshot or a view."""
        mounts = self._snapshotter(request.snapshotter).mounts(call.namespace, request.key)
        return snapshots_pb2.MountsResponse(mounts=to_messages(mounts))

    async def commit(self, request: Any, call: Call) -> Any:
        """Make an active snapshot a layer."""
        snapshotter = self._snapshotter(request.snapshotter)
        check_labels(request.labels, "info.Labels")
        snapshotter.commit(call.namespace, request.name, request.key, request.labels)
        self._lease(call, snapshotter.name, request.name)
        event = payloads_pb2.SnapshotCommit(key=request.key, name=request.name, snapshotter=snapshotter.name)
        self._bus.publish(call.namespace, "/snapshot/commit", event)
        return Empty()

    async def remove(self, request: Any, call: Call) -> Any:
        """Remove a snapshot."""
        snapshotter = self._snapshotter(request.snapshotter)
        snapshotter.remove(call.namespace, request.key)
        event = payloads_pb2.SnapshotRemove(key=request.key, snapshotter=snapshotter.name)
        self._bus.publish(call.namespace, "/snapshot/remove", event)
        return Empty()

    async def stat(self, request: Any, call: Call) -> Any:
        """Return one snapshot's facts."""
        _record, info = self._snapshotter(request.snapshotter).record(call.namespace, request.key)
        return snapshots_pb2.StatSnapshotResponse(info=info)

    async def update(self, request: Any, call: Call) -> Any:
        """Change labels."""
        snapshotter = self._snapshotter(request.snapshotter)
        record, info = snapshotter.record(call.namespace, request.info.name)
        for path in list(request.update_mask.paths) or ["labels"]:
            if path == "labels":
                info.labels.clear()
                info.labels.update(request.info.labels)
            elif path.startswith("labels."):
                key = path.removeprefix("labels.")
                if value := request.info.labels.get(key):
                    info.labels[key] = value
                else:
                    info.labels.pop(key, None)
            else:
                raise invalid_argument(f"cannot update {quote(path)} field on snapshot {quote(info.name)}")
        check_labels(info.labels, "info.Labels")
        set_now(info.updated_at)
        self._database.put(
            snapshotter.kind,
            call.namespace,
            info.name,
            info.SerializeToString(),
            parent=record.parent,
            number=record.number,
        )
        return snapshots_pb2.UpdateSnapshotResponse(info=info)

    async def list(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Yield the snapshots that match."""
        snapshotter = self._snapshotter(request.snapshotter)
        wanted = parse_all(request.filters)
        response = snapshots_pb2.ListSnapshotsResponse()
        for record in self._database.all(snapshotter.kind, call.namespace):
            info = snapshots_pb2.Info.FromString(record.value)
            if wanted.matches(lambda path, info=info: _look(info, path)):  # type: ignore[misc] # bound per turn
                response.info.append(info)
            if len(response.info) == LIST_CHUNK:
                yield response
                response = snapshots_pb2.ListSnapshotsResponse()
        if response.info:
            yield response

    async def usage(self, request: Any, call: Call) -> Any:
        """Return what a snapshot itself takes on disk."""
        size, inodes = self._snapshotter(request.snapshotter).usage(call.namespace, request.key)
        return snapshots_pb2.UsageResponse(size=size, inodes=inodes)

    async def cleanup(self, request: Any, _call: Call) -> Any:
        """Remove what no record speaks of."""
        self._snapshotter(request.snapshotter).clean()
        return Empty()


def _look(info: snapshots_pb2.Info, path: tuple[str, ...]) -> str | None:
    if path == ("name",):
        return info.name
    if path == ("parent",):
        return info.parent
    if path == ("kind",):
        return KINDS.get(info.kind, "unknown")
    if path[0] == "labels" and len(path) > 1:
        return info.labels.get(".".join(path[1:]))
    return None
