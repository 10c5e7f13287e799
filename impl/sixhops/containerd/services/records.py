"""Containers, images and leases: records with labels, validation and events."""

from __future__ import annotations

import base64
import secrets
import time
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import already_exists, invalid_argument, not_found, not_implemented
from sixhops.containerd.filters import parse_all
from sixhops.containerd.stamps import set_now
from sixhops.containerd.validate import check_digest, check_identifier, check_labels, quote
from sixhops.wire.proto import containers_pb2, image_payloads_pb2, images_pb2, leases_pb2, payloads_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.database import Database
    from sixhops.containerd.gc import Collector
    from sixhops.containerd.rpc import Call

__all__ = ["ContainersService", "ImagesService", "LeasesService"]


def _label(labels: Any, path: tuple[str, ...]) -> str | None:
    value = labels.get(".".join(path[1:])) if len(path) > 1 else None
    return str(value) if value is not None else None


class ContainersService:
    """containerd.services.containers.v1.Containers."""

    KIND = "container"
    REPLACEABLE = ("labels", "spec", "extensions", "image", "snapshotkey")

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    def find(self, identifier: str, call: Call) -> containers_pb2.Container:
        """Return a container's record; NOT_FOUND names id and namespace."""
        record = self._database.get(self.KIND, call.namespace, identifier)
        if record is None:
            raise not_found(f"container {quote(identifier)} in namespace {quote(call.namespace)}")
        return containers_pb2.Container.FromString(record.value)

    async def get(self, request: Any, call: Call) -> Any:
        """Return one record."""
        return containers_pb2.GetContainerResponse(container=self.find(request.id, call))

    def _matching(self, request: Any, call: Call) -> list[containers_pb2.Container]:
        wanted = parse_all(request.filters)
        records = self._database.all(self.KIND, call.namespace)
        found = (containers_pb2.Container.FromString(record.value) for record in records)
        return [item for item in found if wanted.matches(lambda path, item=item: _look_container(item, path))]  # type: ignore[misc] # bound per turn

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
            _check_container(container)
        except RpcError as error:
            raise RpcError(error.code, f"create container failed validation: {error.message}") from error
        if self._database.get(self.KIND, call.namespace, container.id) is not None:
            raise already_exists(f"container {quote(container.id)}")
        set_now(container.created_at)
        container.updated_at.CopyFrom(container.created_at)
        self._database.put(self.KIND, call.namespace, container.id, container.SerializeToString())
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
        return containers_pb2.CreateContainerResponse(container=container)

    async def update(self, request: Any, call: Call) -> Any:
        """Replace the fields of the mask, or all that may change."""
        given = request.container
        if not given.id:
            raise RpcError(Code.INVALID_ARGUMENT, "Container.ID required")
        record = self._database.get(self.KIND, call.namespace, given.id)
        if record is None:
            raise not_found(f"container {quote(given.id)}")
        kept = containers_pb2.Container.FromString(record.value)
        paths = list(request.update_mask.paths)
        if not paths:
            if kept.snapshotter != given.snapshotter:
                raise invalid_argument("container.Snapshotter field is immutable")
            if kept.runtime.name != given.runtime.name:
                raise invalid_argument("container.Runtime.Name field is immutable")
            paths = list(self.REPLACEABLE)
        for path in paths:
            _replace(kept, given, path)
        try:
            _check_container(kept)
        except RpcError as error:
            raise RpcError(error.code, f"update failed validation: {error.message}") from error
        set_now(kept.updated_at)
        self._database.put(self.KIND, call.namespace, kept.id, kept.SerializeToString())
        event = payloads_pb2.ContainerUpdate(
            id=kept.id, image=kept.image, labels=kept.labels, snapshot_key=kept.snapshot_key
        )
        self._bus.publish(call.namespace, "/containers/update", event)
        return containers_pb2.UpdateContainerResponse(container=kept)

    async def delete(self, request: Any, call: Call) -> Any:
        """Remove a record."""
        if not self._database.delete(self.KIND, call.namespace, request.id):
            raise not_found(f"container {request.id}")
        self._bus.publish(call.namespace, "/containers/delete", payloads_pb2.ContainerDelete(id=request.id))
        return Empty()


def _look_container(container: containers_pb2.Container, path: tuple[str, ...]) -> str | None:
    if path == ("id",):
        return container.id
    if path == ("runtime", "name"):
        return container.runtime.name
    if path == ("image",):
        return container.image
    if path[0] == "labels":
        return _label(container.labels, path)
    return None


def _replace(kept: containers_pb2.Container, given: containers_pb2.Container, path: str) -> None:
    table, dot, key = path.partition(".")
    if dot and table == "labels":
        kept.labels[key] = given.labels.get(key, "")
    elif dot and table == "extensions":
        kept.extensions[key].CopyFrom(given.extensions[key])
    elif path == "labels":
        kept.labels.clear()
        kept.labels.update(given.labels)
    elif path == "spec":
        kept.spec.CopyFrom(given.spec)
    elif path == "extensions":
        kept.extensions.clear()
        for name, value in given.extensions.items():
            kept.extensions[name].CopyFrom(value)
    elif path == "image":
        kept.image = given.image
    elif path in ("snapshotkey", "snapshot_key"):
        kept.snapshot_key = given.snapshot_key
    else:
        raise invalid_argument(f"cannot update {quote(path)} field on {quote(kept.id)}")


def _check_container(container: containers_pb2.Container) -> None:
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


class ImagesService:
    """containerd.services.images.v1.Images."""

    KIND = "image"

    def __init__(self, database: Database, bus: Bus, collector: Collector) -> None:
        self._database = database
        self._bus = bus
        self._collector = collector

    def _find(self, name: str, call: Call) -> images_pb2.Image:
        record = self._database.get(self.KIND, call.namespace, name)
        if record is None:
            raise not_found(f"image {quote(name)}")
        return images_pb2.Image.FromString(record.value)

    async def get(self, request: Any, call: Call) -> Any:
        """Return one image."""
        return images_pb2.GetImageResponse(image=self._find(request.name, call))

    async def list(self, request: Any, call: Call) -> Any:
        """Return the images that match."""
        wanted = parse_all(request.filters)
        records = self._database.all(self.KIND, call.namespace)
        found = (images_pb2.Image.FromString(record.value) for record in records)
        images = [item for item in found if wanted.matches(lambda path, item=item: _look_image(item, path))]  # type: ignore[misc] # bound per turn
        return images_pb2.ListImagesResponse(images=images)

    async def create(self, request: Any, call: Call) -> Any:
        """Give a name to a descriptor."""
        image = request.image
        if not image.name:
            raise RpcError(Code.INVALID_ARGUMENT, "Image.Name required")
        _check_image(image)
        if self._database.get(self.KIND, call.namespace, image.name) is not None:
            raise already_exists(f"image {quote(image.name)}")
        set_now(image.created_at)
        image.updated_at.CopyFrom(image.created_at)
        self._database.put(self.KIND, call.namespace, image.name, image.SerializeToString())
        event = image_payloads_pb2.ImageCreate(name=image.name, labels=image.labels)
        self._bus.publish(call.namespace, "/images/create", event)
        return images_pb2.CreateImageResponse(image=image)

    async def update(self, request: Any, call: Call) -> Any:
        """Replace the fields of the mask: labels, target, annotations."""
        given = request.image
        if not given.name:
            raise RpcError(Code.INVALID_ARGUMENT, "Image.Name required")
        kept = self._find(given.name, call)
        for path in list(request.update_mask.paths) or ["labels", "target"]:
            if path == "labels":
                kept.labels.clear()
                kept.labels.update(given.labels)
            elif path.startswith("labels."):
                key = path.removeprefix("labels.")
                kept.labels[key] = given.labels.get(key, "")
            elif path == "target":
                kept.target.CopyFrom(given.target)
            elif path.startswith("annotations"):
                kept.target.annotations.clear()
                kept.target.annotations.update(given.target.annotations)
            else:
                raise invalid_argument(f"cannot update {quote(path)} field on image {quote(kept.name)}")
        _check_image(kept)
        set_now(kept.updated_at)
        self._database.put(self.KIND, call.namespace, kept.name, kept.SerializeToString())
        event = image_payloads_pb2.ImageUpdate(name=kept.name, labels=kept.labels)
        self._bus.publish(call.namespace, "/images/update", event)
        return images_pb2.UpdateImageResponse(image=kept)

    async def delete(self, request: Any, call: Call) -> Any:
        """Remove a name; with `sync` what nothing else refers to is gone when this returns."""
        image = self._find(request.name, call)
        if request.HasField("target") and request.target.digest != image.target.digest:
            text = f"image {quote(image.name)} has target {image.target.digest}, not {request.target.digest}"
            raise not_found(text)
        self._database.delete(self.KIND, call.namespace, request.name)
        self._bus.publish(call.namespace, "/images/delete", image_payloads_pb2.ImageDelete(name=request.name))
        if request.sync:
            self._collector.collect()
        return Empty()


def _look_image(image: images_pb2.Image, path: tuple[str, ...]) -> str | None:
    if path == ("name",):
        return image.name
    if path == ("target", "digest"):
        return image.target.digest
    if path == ("target", "mediatype"):
        return image.target.media_type
    if path[0] == "labels":
        return _label(image.labels, path)
    if path[0] == "annotations":
        return _label(image.target.annotations, path)
    return None


def _check_image(image: images_pb2.Image) -> None:
    if not image.name:
        raise invalid_argument("image name must not be empty")
    check_labels(image.labels, "image.Labels")
    if problem := check_digest(image.target.digest):
        raise invalid_argument(f"target.Digest {quote(image.target.digest)} invalid: {problem}")
    if image.target.size <= 0:
        raise invalid_argument("target.Size must be greater than zero")
    if not image.target.media_type:
        raise invalid_argument("target.MediaType must be set")


class LeasesService:
    """containerd.services.leases.v1.Leases."""

    KIND = "lease"

    def __init__(self, database: Database, collector: Collector) -> None:
        self._database = database
        self._collector = collector

    def _check(self, identifier: str, call: Call) -> None:
        if self._database.get(self.KIND, call.namespace, identifier) is None:
            raise not_found(f"lease {quote(identifier)}")

    async def create(self, request: Any, call: Call) -> Any:
        """Make a lease; one without an id gets a random one."""
        identifier = request.id
        if not identifier:
            word = base64.urlsafe_b64encode(secrets.token_bytes(3)).decode()
            identifier = f"{time.time_ns() % 10**9}-{word}"
        if self._database.get(self.KIND, call.namespace, identifier) is not None:
            raise already_exists(f"lease {quote(identifier)}")
        check_labels(request.labels, "lease.Labels")
        lease = leases_pb2.Lease(id=identifier, labels=request.labels)
        set_now(lease.created_at)
        self._database.put(self.KIND, call.namespace, identifier, lease.SerializeToString())
        return leases_pb2.CreateResponse(lease=lease)

    async def delete(self, request: Any, call: Call) -> Any:
        """End a lease; with `sync` what it alone held is gone when this returns."""
        self._check(request.id, call)
        with self._database.transaction():
            self._database.delete(self.KIND, call.namespace, request.id)
            self._database.unlease(call.namespace, request.id)
        if request.sync:
            self._collector.collect()
        return Empty()

    async def list(self, request: Any, call: Call) -> Any:
        """Return the leases that match."""
        wanted = parse_all(request.filters)
        response = leases_pb2.ListResponse()
        for record in self._database.all(self.KIND, call.namespace):
            lease = leases_pb2.Lease.FromString(record.value)
            if wanted.matches(lambda path, lease=lease: _look_lease(lease, path)):  # type: ignore[misc] # bound per turn
                response.leases.append(lease)
        return response

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
        return Empty()

    async def list_resources(self, request: Any, call: Call) -> Any:
        """Return what a lease holds."""
        self._check(request.id, call)
        held = self._database.leased(call.namespace, request.id)
        return leases_pb2.ListResourcesResponse(
            resources=[leases_pb2.Resource(id=identifier, type=kind) for kind, identifier in held]
        )


def _look_lease(lease: leases_pb2.Lease, path: tuple[str, ...]) -> str | None:
    if path == ("id",):
        return lease.id
    return _label(lease.labels, path) if path[0] == "labels" else None


def _check_resource(resource: leases_pb2.Resource) -> None:
    kind, slash, rest = resource.type.partition("/")
    if kind in ("content", "ingests"):
        if slash:
            raise invalid_argument(f"invalid resource type {resource.type}")
        if kind == "content" and (problem := check_digest(resource.id)):
            raise invalid_argument(f"invalid content resource id {resource.id}: {problem}")
    elif kind == "snapshots":
        if not rest:
            raise invalid_argument(f"invalid snapshot resource type {resource.type}")
    else:
        raise not_implemented(f"resource type {resource.type} not supported yet")
