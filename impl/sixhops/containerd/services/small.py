"""Services of a few lines: version, introspection, health, events, namespaces."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import already_exists, failed_precondition, invalid_argument, not_found
from sixhops.containerd.filters import parse_all
from sixhops.containerd.validate import check_identifier, check_labels, quote
from sixhops.wire.proto import (
    health_pb2,
    introspection_pb2,
    namespaces_pb2,
    payloads_pb2,
    version_pb2,
)
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.database import Database
    from sixhops.containerd.rpc import Call

__all__ = [
    "EventsService",
    "HealthService",
    "IntrospectionService",
    "NamespacesService",
    "VersionService",
]

# the first part is the release whose API this is: clients compare it with what they know
VERSION = "1.6.20+sixhops.0.1.0"
REVISION = "sixhops"
PLUGINS = (
    ("io.containerd.content.v1", "content"),
    ("io.containerd.snapshotter.v1", "native"),
    ("io.containerd.snapshotter.v1", "overlayfs"),
    ("io.containerd.metadata.v1", "bolt"),
    ("io.containerd.differ.v1", "walking"),
    ("io.containerd.gc.v1", "scheduler"),
    ("io.containerd.runtime.v2", "task"),
    *(
        ("io.containerd.grpc.v1", name)
        for name in (
            "containers",
            "content",
            "diff",
            "events",
            "healthcheck",
            "images",
            "introspection",
            "leases",
            "namespaces",
            "snapshots",
            "tasks",
            "version",
        )
    ),
)
WITH_PLATFORM = frozenset(
    {"io.containerd.snapshotter.v1", "io.containerd.differ.v1", "io.containerd.runtime.v2"}
)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class VersionService:
    """containerd.services.version.v1.Version."""

    async def version(self, _request: Any, _call: Call) -> Any:
        """Return version and revision."""
        return version_pb2.VersionResponse(version=VERSION, revision=REVISION)


class IntrospectionService:
    """containerd.services.introspection.v1.Introspection."""

    def __init__(self, root: Path) -> None:
        self._path = root / "io.containerd.grpc.v1.introspection" / "uuid"

    async def plugins(self, request: Any, _call: Call) -> Any:
        """Return what this containerd consists of."""
        wanted = parse_all(request.filters)
        response = introspection_pb2.PluginsResponse()
        for kind, identifier in PLUGINS:
            plugin = introspection_pb2.Plugin(type=kind, id=identifier)
            if kind in WITH_PLATFORM:
                machine = os.uname().machine
                plugin.platforms.add(os="linux", architecture=ARCHITECTURES.get(machine, machine))
            fields = {("type",): kind, ("id",): identifier}
            if wanted.matches(lambda path, fields=fields: fields.get(path)):  # type: ignore[misc] # bound per turn
                response.plugins.append(plugin)
        return response

    async def server(self, _request: Any, _call: Call) -> Any:
        """Return this installation's identity, made at the first question and kept."""
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(str(uuid.uuid4()))
        return introspection_pb2.ServerResponse(
            uuid=self._path.read_text(), pid=os.getpid(), pidns=_pid_namespace()
        )


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


class HealthService:
    """grpc.health.v1.Health."""

    async def check(self, request: Any, _call: Call) -> Any:
        """Answer SERVING for the server as a whole, which is all that it knows by name."""
        if request.service:
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


class EventsService:
    """containerd.services.events.v1.Events."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, request: Any, call: Call) -> Any:
        """Publish an event in the caller's namespace."""
        if not call.namespace:
            raise RpcError(Code.FAILED_PRECONDITION, "namespace is required: failed precondition")
        _check_topic(request.topic)
        self._bus.publish_any(call.namespace, request.topic, request.event)
        return Empty()

    async def forward(self, request: Any, _call: Call) -> Any:
        """Hand on an event that another component published."""
        check_identifier(request.envelope.namespace, "event namespace: ")
        _check_topic(request.envelope.topic)
        self._bus.forward(request.envelope)
        return Empty()

    async def subscribe(self, request: Any, _call: Call) -> AsyncIterator[Any]:
        """Yield events that match one of the filters."""
        async for envelope in self._bus.subscribe(request.filters):
            yield envelope


def _check_topic(topic: str) -> None:
    if not topic:
        raise invalid_argument("must not be empty")
    if not topic.startswith("/"):
        raise invalid_argument(f"must start with '/', got {quote(topic)}")


class NamespacesService:
    """containerd.services.namespaces.v1.Namespaces. A namespace is there as soon as something is in it."""

    KIND = "namespace"

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    def _read(self, name: str) -> namespaces_pb2.Namespace:
        record = self._database.get(self.KIND, "", name)
        if record is None:
            return namespaces_pb2.Namespace(name=name)
        return namespaces_pb2.Namespace.FromString(record.value)

    def _names(self) -> set[str]:
        named = {record.key for record in self._database.all(self.KIND, "")}
        return named | (self._database.namespaces() - {""})

    async def get(self, request: Any, _call: Call) -> Any:
        """Return a namespace; one that has nothing in it yet is answered too, as upstream does."""
        return namespaces_pb2.GetNamespaceResponse(namespace=self._read(request.name))

    async def list(self, _request: Any, _call: Call) -> Any:
        """Return all namespaces by name."""
        names = sorted(self._names())
        return namespaces_pb2.ListNamespacesResponse(namespaces=[self._read(name) for name in names])

    async def create(self, request: Any, _call: Call) -> Any:
        """Make a namespace with labels."""
        namespace = request.namespace
        check_identifier(namespace.name)
        check_labels(namespace.labels, "namespace.Labels")
        if namespace.name in self._names():
            raise already_exists(f"namespace {quote(namespace.name)}")
        self._database.put(self.KIND, "", namespace.name, namespace.SerializeToString())
        event = payloads_pb2.NamespaceCreate(name=namespace.name, labels=namespace.labels)
        self._bus.publish(namespace.name, "/namespaces/create", event)
        return namespaces_pb2.CreateNamespaceResponse(namespace=namespace)

    async def update(self, request: Any, _call: Call) -> Any:
        """Change labels."""
        namespace = self._read(request.namespace.name)
        for path in list(request.update_mask.paths) or ["labels"]:
            if path == "labels":
                namespace.labels.clear()
                namespace.labels.update(request.namespace.labels)
            elif path.startswith("labels."):
                key = path.removeprefix("labels.")
                if value := request.namespace.labels.get(key):
                    namespace.labels[key] = value
                else:
                    namespace.labels.pop(key, None)
            else:
                text = f"cannot update {quote(path)} field on namespace {quote(namespace.name)}"
                raise invalid_argument(text)
        check_labels(namespace.labels, "namespace.Labels")
        self._database.put(self.KIND, "", namespace.name, namespace.SerializeToString())
        event = payloads_pb2.NamespaceUpdate(name=namespace.name, labels=namespace.labels)
        self._bus.publish(namespace.name, "/namespaces/update", event)
        return namespaces_pb2.UpdateNamespaceResponse(namespace=namespace)

    async def delete(self, request: Any, _call: Call) -> Any:
        """Remove an empty namespace."""
        name = request.name
        if name not in self._names():
            raise not_found(f"namespace {quote(name)}")
        if kinds := self._database.kinds(name):
            shown = ", ".join(sorted(kind.partition(":")[0] for kind in kinds))
            raise failed_precondition(f"namespace {quote(name)} must be empty, but it still has {shown}")
        self._database.delete(self.KIND, "", name)
        self._bus.publish(name, "/namespaces/delete", payloads_pb2.NamespaceDelete(name=name))
        return Empty()
