"""Images: names for descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.errors import already_exists, invalid_argument, not_found
from sixhops.containerd.metadata.labels import change_map, drop_empty
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.metadata.validate import check_digest, check_labels, quote
from sixhops.containerd.services.listing import label, matching, twice
from sixhops.wire.proto import image_payloads_pb2, images_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from sixhops.containerd.bus import Bus
    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.metadata.gc import Collector
    from sixhops.containerd.rpc import Call

__all__ = ["ImagesService"]

KIND = "image"


class ImagesService:
    """containerd.services.images.v1.Images."""

    def __init__(self, database: Database, bus: Bus, collector: Collector) -> None:
        self._database = database
        self._bus = bus
        self._collector = collector

    def _find(self, name: str, call: Call) -> images_pb2.Image:
        record = self._database.get(KIND, call.namespace, name)
        if record is None:
            raise not_found(f"image {quote(name)}")
        return images_pb2.Image.FromString(record.value)

    def _store(self, image: images_pb2.Image, call: Call) -> None:
        drop_empty(image.labels)
        drop_empty(image.target.annotations)
        self._database.put(KIND, call.namespace, image.name, image.SerializeToString())

    async def get(self, request: Any, call: Call) -> Any:
        """Return one image."""
        return images_pb2.GetImageResponse(image=self._find(request.name, call))

    async def list(self, request: Any, call: Call) -> Any:
        """Return the images that match."""
        records = self._database.all(KIND, call.namespace)
        found = (images_pb2.Image.FromString(record.value) for record in records)
        try:
            return images_pb2.ListImagesResponse(images=matching(found, request.filters, _look))
        except RpcError as error:
            raise twice(error) from error

    async def create(self, request: Any, call: Call) -> Any:
        """Give a name to a descriptor."""
        image = request.image
        _check_name(image)
        _check_target(image)
        if self._database.get(KIND, call.namespace, image.name) is not None:
            raise already_exists(f"image {quote(image.name)}")
        set_now(image.created_at)
        image.updated_at.CopyFrom(image.created_at)
        self._store(image, call)
        event = image_payloads_pb2.ImageCreate(name=image.name, labels=image.labels)
        self._bus.publish(call.namespace, "/images/create", event)
        return images_pb2.CreateImageResponse(image=image)

    async def update(self, request: Any, call: Call) -> Any:
        """Replace the fields of the mask (labels, target, annotations), or all without one."""
        given = request.image
        _check_name(given)
        kept = self._find(given.name, call)
        for path in list(request.update_mask.paths) or ["labels", "target"]:
            _replace(kept, given, path)
        _check_target(kept)
        set_now(kept.updated_at)
        self._store(kept, call)
        event = image_payloads_pb2.ImageUpdate(name=kept.name, labels=kept.labels)
        self._bus.publish(call.namespace, "/images/update", event)
        return images_pb2.UpdateImageResponse(image=kept)

    async def delete(self, request: Any, call: Call) -> Any:
        """Remove a name; with `sync` what nothing else refers to is gone when this returns."""
        image = self._find(request.name, call)
        if request.HasField("target") and request.target.digest != image.target.digest:
            text = f"image {quote(image.name)} has target {image.target.digest}, not {request.target.digest}"
            raise not_found(text)
        self._database.delete(KIND, call.namespace, request.name)
        self._bus.publish(call.namespace, "/images/delete", image_payloads_pb2.ImageDelete(name=request.name))
        if request.sync:
            await self._collector.sweep()
        return Empty()


def _replace(kept: images_pb2.Image, given: images_pb2.Image, path: str) -> None:
    if path == "target":
        kept.target.CopyFrom(given.target)
        return
    if change_map(kept.labels, given.labels, path, "labels"):
        return
    if not change_map(kept.target.annotations, given.target.annotations, path, "annotations"):
        raise invalid_argument(f"cannot update {quote(path)} field on image {quote(kept.name)}")


def _look(image: images_pb2.Image, path: tuple[str, ...]) -> str | None:
    if path == ("name",):
        return image.name
    if path == ("target", "digest"):
        return image.target.digest
    if path == ("target", "mediatype"):
        return image.target.media_type
    if path[0] == "labels":
        return label(image.labels, path)
    if path[0] == "annotations":
        return label(image.target.annotations, path)
    return None


def _check_name(image: images_pb2.Image) -> None:
    if not image.name:
        raise RpcError(Code.INVALID_ARGUMENT, "Image.Name required")


def _check_target(image: images_pb2.Image) -> None:
    check_labels(image.labels, "image.Labels")
    if problem := check_digest(image.target.digest):
        raise invalid_argument(f"Target.Digest {quote(image.target.digest)} invalid: {problem}")
    if image.target.size <= 0:
        raise invalid_argument("Target.Size must be greater than zero")
    if not image.target.media_type:
        raise invalid_argument("Target.MediaType must be set")
