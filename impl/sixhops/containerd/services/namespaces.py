"""Namespaces: each has records of its own. One is there as soon as something is put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import already_exists, failed_precondition, not_found
from sixhops.containerd.metadata.labels import drop_empty
from sixhops.containerd.metadata.validate import check_identifier, check_labels, quote
from sixhops.containerd.rpc import check_namespace
from sixhops.wire.proto import namespaces_pb2, payloads_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.rpc import Call

__all__ = ["NamespacesService"]

KIND = "namespace"
# kinds of records that keep a namespace from being deleted, as the error calls them and in its order
HOLDING = (("image", "images"), ("content", "blobs"), ("container", "containers"))
SNAPSHOTS = "snapshots:"
NAMELESS = "bucket name required"  # what upstream's database says of an empty name
PUBLISHING = "failed publishing event: "


class NamespacesService:
    """containerd.services.namespaces.v1.Namespaces."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    def _read(self, name: str) -> namespaces_pb2.Namespace:
        record = self._database.get(KIND, "", name)
        namespace = namespaces_pb2.Namespace()
        if record is not None:
            namespace.ParseFromString(record.value)
        namespace.name = name
        return namespace

    def _publish(self, call: Call, topic: str, event: Message) -> None:
        """Tell of a change in the caller's namespace; without one the change is made and the call fails, as upstream."""
        check_namespace(call.namespace, PUBLISHING, Code.UNKNOWN)
        self._bus.publish(call.namespace, topic, event)

    async def get(self, request: Any, _call: Call) -> Any:
        """Return a namespace; one that has nothing in it yet is answered too, as upstream does."""
        return namespaces_pb2.GetNamespaceResponse(namespace=self._read(request.name))

    async def list(self, _request: Any, _call: Call) -> Any:
        """Return all namespaces by name; the request's filter is not looked at, by upstream neither."""
        names = [record.key for record in self._database.all(KIND, "")]
        return namespaces_pb2.ListNamespacesResponse(namespaces=[self._read(name) for name in names])

    async def create(self, request: Any, call: Call) -> Any:
        """Make a namespace with labels."""
        namespace = request.namespace
        check_identifier(namespace.name)
        check_labels(namespace.labels, "namespace.Labels")
        if self._database.get(KIND, "", namespace.name) is not None:
            raise already_exists(f"namespace {quote(namespace.name)}")
        stored = namespaces_pb2.Namespace(name=namespace.name, labels=namespace.labels)
        drop_empty(stored.labels)
        self._database.put(KIND, "", namespace.name, stored.SerializeToString())
        event = payloads_pb2.NamespaceCreate(name=namespace.name, labels=namespace.labels)
        self._publish(call, "/namespaces/create", event)
        return namespaces_pb2.CreateNamespaceResponse(namespace=namespace)

    async def update(self, request: Any, call: Call) -> Any:
        """Replace all labels, or those that the mask names. The answer is empty, as upstream's is."""
        given = request.namespace
        namespace = self._read(given.name)
        paths = list(request.update_mask.paths)
        if not paths:
            namespace.labels.clear()
            namespace.labels.update(given.labels)
        for path in paths:
            if not path.startswith("labels."):
                raise RpcError(Code.INVALID_ARGUMENT, f"cannot update {quote(path)} field")
            key = path.removeprefix("labels.")
            namespace.labels[key] = given.labels.get(key, "")
        try:
            check_labels(namespace.labels, "namespace.Labels")
        except RpcError as error:  # upstream forgets the kind of this one error
            raise RpcError(Code.UNKNOWN, error.message) from error
        drop_empty(namespace.labels)
        if given.name:
            self._database.put(KIND, "", given.name, namespace.SerializeToString())
        elif given.labels:
            raise RpcError(Code.UNKNOWN, NAMELESS)
        event = payloads_pb2.NamespaceUpdate(name=given.name, labels=given.labels)
        self._publish(call, "/namespaces/update", event)
        return namespaces_pb2.UpdateNamespaceResponse(namespace=namespaces_pb2.Namespace())

    async def delete(self, request: Any, _call: Call) -> Any:
        """Remove a namespace that has no images, blobs, containers or snapshots; its leases go with it."""
        name = request.name
        if not name or self._database.get(KIND, "", name) is None:
            raise not_found(f"namespace {quote(name)}")
        kinds = self._database.kinds(name)
        left = [shown for kind, shown in HOLDING if kind in kinds]
        left += [
            f"snapshots on {quote(kind.removeprefix(SNAPSHOTS))} snapshotter"
            for kind in sorted(kinds)
            if kind.startswith(SNAPSHOTS)
        ]
        if left:
            shown = f"namespace {quote(name)} must be empty, but it still has {', '.join(left)}"
            raise failed_precondition(shown)
        self._database.delete_namespace(name)
        try:
            check_namespace(name, PUBLISHING)
        except RpcError as error:  # Update makes a namespace of any name, which can be told to nobody
            raise RpcError(Code.UNKNOWN, error.message) from error
        self._bus.publish(name, "/namespaces/delete", payloads_pb2.NamespaceDelete(name=name))
        return Empty()
