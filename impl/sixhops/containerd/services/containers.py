"""Containers: records of what is to run; a task is a container that runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import already_exists, invalid_argument, not_found
from sixhops.containerd.metadata.labels import change_map, drop_empty
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.metadata.validate import check_identifier, check_labels, quote
from sixhops.containerd.services.listing import label, matching, twice
from sixhops.wire.proto import containers_pb2, payloads_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.rpc import Call

    #: Called with namespace, id, runtime's name and specification.
    Expect = Callable[[str, str, str, bytes], None]

__all__ = ["ContainersService"]

KIND = "container"
REPLACEABLE = ("labels", "spec", "extensions", "image", "snapshotkey")


class ContainersService:
    """containerd.services.containers.v1.Containers."""

    def __init__(self, database: Database, bus: Bus, expect: Expect) -> None:
        """`expect` is told of every new container."""
        self._database = database
        self._bus = bus
        self._expect = expect

    def find(self, identifier: str, call: Call) -> containers_pb2.Container:
        """Return a container's record; NOT_FOUND names id and namespace."""
        record = self._database.get(KIND, call.namespace, identifier)
        if record is None:
            raise not_found(f"container {quote(identifier)} in namespace {quote(call.namespace)}")
        return containers_pb2.Container.FromString(record.value)

    async def get(self, request: Any, call: Call) -> Any:
        """Return one record."""
        return containers_pb2.GetContainerResponse(container=self.find(request.id, call))

    def _matching(self, request: Any, call: Call) -> list[containers_pb2.Container]:
        records = self._database.all(KIND, call.namespace)
        found = (containers_pb2.Container.FromString(record.value) for record in records)
        try:
            return matching(found, request.filters, _look)
        except RpcError as error:
            raise twice(error) from error

    async def list(self, request: Any, call: Call) -> Any:
        """Return the records that match."""
        return containers_pb2.ListContainersResponse(containers=self._matching(request, call))

    async def list_stream(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Yield the records that match."""
        for container in self._matching(request, call):
            yield containers_pb2.ListContainerMessage(container=container)

    async def create(self, request: Any, call: Call) -> Any:
        """Make a record; times are the server's."""
        container = request.container
        try:
            _check(container)
        except RpcError as error:
            raise RpcError(error.code, f"create container failed validation: {error.message}") from error
        if self._database.get(KIND, call.namespace, container.id) is not None:
            raise already_exists(f"container {quote(container.id)}")
        drop_empty(container.labels)
        set_now(container.created_at)
        container.updated_at.CopyFrom(container.created_at)
        self._database.put(KIND, call.namespace, container.id, container.SerializeToString())
        self._bus.publish(
            call.namespace,
            "/containers/create",
            payloads_pb2.ContainerCreate(
                id=container.id,
                image=container.image,
                runtime=payloads_pb2.ContainerCreate.Runtime(
                    name=container.runtime.name, options=container.runtime.options
                ),
            ),
        )
        # once this has been answered
        words = call.namespace, container.id, container.runtime.name, container.spec.value
        asyncio.get_running_loop().call_soon(self._expect, *words)
        return containers_pb2.CreateContainerResponse(container=container)

    async def update(self, request: Any, call: Call) -> Any:
        """Replace the fields of the mask, or all that may change."""
        given = request.container
        if not given.id:
            raise RpcError(Code.INVALID_ARGUMENT, "Container.ID required")
        record = self._database.get(KIND, call.namespace, given.id)
        if record is None:
            raise self._missing(given.id, call, "update", quote(given.id))
        kept = containers_pb2.Container.FromString(record.value)
        paths = list(request.update_mask.paths)
        if not paths:
            if kept.snapshotter != given.snapshotter:
                raise invalid_argument("container.Snapshotter field is immutable")
            if kept.runtime.name != given.runtime.name:
                raise invalid_argument("container.Runtime.Name field is immutable")
            paths = list(REPLACEABLE)
        for path in paths:
            _replace(kept, given, path)
        try:
            _check(kept)
        except RpcError as error:
            raise RpcError(error.code, f"update failed validation: {error.message}") from error
        drop_empty(kept.labels)
        set_now(kept.updated_at)
        stored = containers_pb2.Container()
        stored.CopyFrom(kept)
        for name, value in containers_pb2.Container.FromString(record.value).extensions.items():
            # the store adds extensions and never takes one away, whatever the answer says (observed)
            if name not in stored.extensions:
                stored.extensions[name].CopyFrom(value)
        self._database.put(KIND, call.namespace, kept.id, stored.SerializeToString())
        event = payloads_pb2.ContainerUpdate(
            id=kept.id, image=kept.image, labels=kept.labels, snapshot_key=kept.snapshot_key
        )
        self._bus.publish(call.namespace, "/containers/update", event)
        return containers_pb2.UpdateContainerResponse(container=kept)

    async def delete(self, request: Any, call: Call) -> Any:
        """Remove a record."""
        if not self._database.delete(KIND, call.namespace, request.id):
            raise self._missing(request.id, call, "delete", request.id)
        self._bus.publish(call.namespace, "/containers/delete", payloads_pb2.ContainerDelete(id=request.id))
        return Empty()

    def _missing(self, identifier: str, call: Call, verb: str, shown: str) -> RpcError:
        """Return NOT_FOUND; where there is not even the namespace, it is said in other words."""
        if self._database.get("namespace", "", call.namespace) is None:
            where = f"container {quote(identifier)} in namespace {quote(call.namespace)}"
            return not_found(f"cannot {verb} {where}")
        return not_found(f"container {shown}")


def _look(container: containers_pb2.Container, path: tuple[str, ...]) -> str | None:
    if path == ("id",):
        return container.id
    if path == ("runtime", "name"):
        return container.runtime.name
    if path == ("image",):
        return container.image or None
    if path[0] == "labels":
        return label(container.labels, path)
    return None


def _replace(kept: containers_pb2.Container, given: containers_pb2.Container, path: str) -> None:
    table, dot, key = path.partition(".")
    if change_map(kept.labels, given.labels, path, "labels"):
        return
    if dot and table == "extensions":
        kept.extensions[key].CopyFrom(given.extensions[key])
    elif path == "spec":
        kept.spec.CopyFrom(given.spec)
        if not given.HasField("spec"):
            kept.ClearField("spec")
    elif path == "extensions":
        kept.extensions.clear()
        for name, value in given.extensions.items():
            kept.extensions[name].CopyFrom(value)
    elif path == "image":
        kept.image = given.image
    elif path == "snapshotkey":
        kept.snapshot_key = given.snapshot_key
    else:
        raise invalid_argument(f"cannot update {quote(path)} field on {quote(kept.id)}")


def _check(container: containers_pb2.Container) -> None:
    check_identifier(container.id, "container.ID: ")
    if any(not key for key in container.extensions):
        raise invalid_argument("container.Extension keys must not be zero-length")
    check_labels(container.labels, "containers.Labels")
    if not container.runtime.name:
        raise invalid_argument("container.Runtime.Name must be set")
    if not container.HasField("spec"):
        raise invalid_argument("container.Spec must be set")
    if container.snapshot_key and not container.snapshotter:
        raise invalid_argument("container.Snapshotter must be set if container.SnapshotKey is set")
