"""Leases: what they hold is kept from garbage collection."""

from __future__ import annotations

import base64
import secrets
import time
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import already_exists, invalid_argument, not_found, not_implemented
from sixhops.containerd.metadata.labels import drop_empty
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.metadata.validate import check_digest, quote
from sixhops.containerd.services.listing import label, matching, twice
from sixhops.wire.proto import leases_pb2
from sixhops.wire.ttrpc.status import RpcError

if TYPE_CHECKING:
    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.metadata.gc import Collector
    from sixhops.containerd.rpc import Call

__all__ = ["LeasesService"]

KIND = "lease"


class LeasesService:
    """containerd.services.leases.v1.Leases."""

    def __init__(self, database: Database, collector: Collector) -> None:
        self._database = database
        self._collector = collector

    def _check(self, identifier: str, call: Call) -> None:
        if self._database.get(KIND, call.namespace, identifier) is None:
            raise not_found(f"lease {quote(identifier)}")

    async def create(self, request: Any, call: Call) -> Any:
        """Make a lease; one without an id gets a random one."""
        identifier = request.id
        if not identifier:
            word = base64.urlsafe_b64encode(secrets.token_bytes(3)).decode()
            identifier = f"{time.time_ns() % 10**9}-{word}"
        if self._database.get(KIND, call.namespace, identifier) is not None:
            raise already_exists(f"lease {quote(identifier)}")
        lease = leases_pb2.Lease(id=identifier, labels=request.labels)
        drop_empty(lease.labels)
        set_now(lease.created_at)
        self._database.put(KIND, call.namespace, identifier, lease.SerializeToString())
        return leases_pb2.CreateResponse(lease=lease)

    async def delete(self, request: Any, call: Call) -> Any:
        """End a lease; with `sync` what it alone held is gone when this returns."""
        self._check(request.id, call)
        with self._database.transaction():
            self._database.delete(KIND, call.namespace, request.id)
            self._database.unlease(call.namespace, request.id)
        if request.sync:
            await self._collector.sweep()
        return Empty()

    async def list(self, request: Any, call: Call) -> Any:
        """Return the leases that match."""
        records = self._database.all(KIND, call.namespace)
        found = (leases_pb2.Lease.FromString(record.value) for record in records)
        try:
            return leases_pb2.ListResponse(leases=matching(found, request.filters, _look))
        except RpcError as error:
            raise twice(error) from error

    async def add_resource(self, request: Any, call: Call) -> Any:
        """Let a lease hold something."""
        self._check(request.id, call)
        _check_resource(request.resource)
        self._database.lease(call.namespace, request.id, request.resource.type, request.resource.id)
        return Empty()

    async def delete_resource(self, request: Any, call: Call) -> Any:
        """Let a lease go of something."""
        self._check(request.id, call)
        _check_resource(request.resource)
        self._database.unlease(call.namespace, request.id, request.resource.type, request.resource.id)
        self._database.deleted()
        return Empty()

    async def list_resources(self, request: Any, call: Call) -> Any:
        """Return what a lease holds."""
        self._check(request.id, call)
        held = self._database.leased(call.namespace, request.id)
        return leases_pb2.ListResourcesResponse(
            resources=[leases_pb2.Resource(id=identifier, type=kind) for kind, identifier in held]
        )


def _look(lease: leases_pb2.Lease, path: tuple[str, ...]) -> str | None:
    if path == ("id",):
        return lease.id
    return label(lease.labels, path) if path[0] == "labels" else None


def _check_resource(resource: leases_pb2.Resource) -> None:
    kind, *more = resource.type.split("/")
    if kind in ("content", "ingests"):
        if more:
            raise invalid_argument(f"invalid resource type {resource.type}")
        if kind == "content" and (problem := check_digest(resource.id)):
            raise invalid_argument(f"invalid content resource id {resource.id}: {problem}")
    elif kind == "snapshots":
        if len(more) != 1 or not more[0]:
            raise invalid_argument(f"invalid snapshot resource type {resource.type}")
    else:
        raise not_implemented(f"resource type {resource.type} not supported yet")
