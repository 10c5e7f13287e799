"""Raw image manifests in containerd's content store, as `images.pull` wants them kept.

Calls are those of dockerd 20.10: a lease for the pull, a Write that either ingests the manifest or says that it is there
already (then Info, Update of the source label, Read), and a lease `moby-image-<id>` for as long as the image lives.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from sixhops.dockerd.containerd.channel import ContainerdError
from sixhops.dockerd.containerd.client import temporary_labels
from sixhops.dockerd.errors import EngineError
from sixhops.wire.image import digest_of
from sixhops.wire.proto import content_pb2
from sixhops.wire.proto.services import service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.dockerd.containerd.client import Containerd

__all__ = ["ContainerdContents"]

_CONTENT = service(content_pb2.DESCRIPTOR, "Content").methods
_SOURCE_LABEL = "containerd.io/distribution.source."  # and the domain
_SERVICE_UNAVAILABLE = 503

#: The lease of the pull that the current task works for.
_lease: ContextVar[str] = ContextVar("lease", default="")


class ContainerdContents:
    """`ManifestContents` over containerd."""

    def __init__(self, containerd: Containerd) -> None:
        self._containerd = containerd

    @contextlib.asynccontextmanager
    async def pull_lease(self) -> AsyncIterator[None]:
        """Guard everything that the block writes. Raises EngineError 503 when containerd can't be reached."""
        try:
            lease = await self._containerd.create_lease(temporary_labels())
        except ContainerdError as error:
            status = _SERVICE_UNAVAILABLE if error.is_unavailable else 500
            raise EngineError(status, f"error creating temporary lease: {error}") from error
        token = _lease.set(lease)
        try:
            yield
        finally:
            _lease.reset(token)
            # the lease expires by itself; a containerd that died must not hide what the pull has to say
            with contextlib.suppress(ContainerdError):
                await self._containerd.delete_lease(lease, under=lease)

    async def read(self, digest: str, domain: str, repository: str) -> bytes | None:
        """Return the manifest when it is here, noting `domain`'s `repository` as another source of it, else None."""
        label = _SOURCE_LABEL + domain
        channel, lease = self._containerd.channel, _lease.get()
        try:
            found = await channel.unary(
                _CONTENT["Info"],
                content_pb2.InfoRequest(digest=digest),
                content_pb2.InfoResponse,
                lease=lease,
            )
        except ContainerdError as error:
            if error.is_not_found:
                return None
            raise _as_engine_error(error) from error
        known = [name for name in found.info.labels.get(label, "").split(",") if name]
        request = content_pb2.UpdateRequest(info=found.info)
        request.info.labels[label] = ",".join(sorted({*known, repository}))
        request.update_mask.paths.append(f"labels.{label}")
        try:
            await channel.unary(_CONTENT["Update"], request, content_pb2.UpdateResponse, lease=lease)
            read = content_pb2.ReadContentRequest(digest=digest, size=found.info.size)
            data = b""
            async for piece in channel.stream(
                _CONTENT["Read"], read, content_pb2.ReadContentResponse, lease=lease
            ):
                data += piece.data
        except ContainerdError as error:
            if error.is_not_found:
                # A collection has taken it meanwhile: an image that had held it was removed a moment ago.
                return None
            raise _as_engine_error(error) from error
        # what another program damaged in the store is fetched again
        return data if digest_of(data) == digest else None

    async def write(self, digest: str, media_type: str, data: bytes, domain: str, repository: str) -> None:
        """Ingest a manifest whose digest was verified; `media_type` is not kept by containerd."""
        del media_type
        channel = self._containerd.channel
        request = content_pb2.WriteContentRequest
        size = len(data)
        labels = {_SOURCE_LABEL + domain: repository}
        call = channel.duplex(_CONTENT["Write"], lease=_lease.get())
        try:
            with channel.translated():
                await call.write(request(ref=f"manifest-{digest}", total=size, expected=digest))
                await call.read()
                await call.write(request(action=content_pb2.WRITE, data=data))
                await call.read()
                await call.write(
                    request(
                        action=content_pb2.COMMIT, total=size, expected=digest, offset=size, labels=labels
                    )
                )
                await call.done_writing()
                while await call.read():
                    pass  # containerd repeats its last answer before it closes the call
        except ContainerdError as error:
            if not error.is_already_there:
                raise _as_engine_error(error) from error
        finally:
            call.cancel()

    async def hold(self, image: str, digest: str) -> None:
        """Keep the manifest while the image exists."""
        lease = _lease.get()
        try:
            name = await self._containerd.create_lease({}, _image_lease(image), under=lease)
            await self._containerd.add_to_lease(name, digest, "content", under=lease)
        except ContainerdError as error:
            raise _as_engine_error(error) from error

    async def release(self, image: str) -> None:
        """Let go of an image's manifests."""
        try:
            await self._containerd.delete_lease(_image_lease(image))
        except ContainerdError as error:
            raise _as_engine_error(error) from error

    async def abandon(self, digest: str) -> None:
        """Drop a half-written manifest; one that is not there is no error."""
        try:
            await self._containerd.channel.unary(
                _CONTENT["Abort"],
                content_pb2.AbortRequest(ref=f"manifest-{digest}"),
                Empty,
                lease=_lease.get(),
            )
        except ContainerdError as error:
            if not error.is_not_found:
                raise _as_engine_error(error) from error


def _image_lease(image: str) -> str:
    return f"moby-image-{image}"


def _as_engine_error(error: ContainerdError) -> EngineError:
    return EngineError(_SERVICE_UNAVAILABLE if error.is_unavailable else 500, str(error))
