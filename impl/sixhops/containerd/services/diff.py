"""Diff: a layer's archive onto mounts. Making an archive from two sets of mounts is not done here."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sixhops.containerd.content import missing
from sixhops.containerd.errors import not_implemented, unknown
from sixhops.wire.proto import content_pb2, diff_pb2, types_pb2

if TYPE_CHECKING:
    from sixhops.containerd.content import ContentStore
    from sixhops.containerd.database import Database
    from sixhops.containerd.rpc import Call
    from sixhops.containerd.workers import Workers

__all__ = ["DiffService"]

LAYER = "application/vnd.oci.image.layer.v1.tar"
PREFIXES = ("application/vnd.docker.image.rootfs.", "application/vnd.oci.image.layer.")
UNPACK_MODULE = "sixhops.containerd.unpack"


class DiffService:
    """containerd.services.diff.v1.Diff."""

    def __init__(self, database: Database, store: ContentStore, workers: Workers) -> None:
        self._database = database
        self._store = store
        self._workers = workers

    async def apply(self, request: Any, call: Call) -> Any:
        """Unpack the blob `diff` onto `mounts`; return the unpacked archive's descriptor."""
        digest = request.diff.digest
        if not request.diff.media_type.startswith(PREFIXES):
            kind = request.diff.media_type
            raise not_implemented(f"failed to get stream processor for {kind}: no processor for media-type")
        record = self._database.get("content", call.namespace, digest)
        if record is None:
            raise missing(digest)
        info = content_pb2.Info.FromString(record.value)
        mounts = [[item.type, item.source, list(item.options)] for item in request.mounts]
        blob = os.open(self._store.path(info.digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = await self._workers.run(UNPACK_MODULE, "run", {"mounts": mounts}, [blob])
        finally:
            os.close(blob)
        answer: dict[str, Any] = json.loads(data) if data else {"error": "the unpacking process died"}
        if "error" in answer:
            raise unknown(f"failed to extract layer {digest}: {answer['error']}")
        applied = types_pb2.Descriptor(media_type=LAYER, digest=answer["digest"], size=answer["size"])
        return diff_pb2.ApplyResponse(applied=applied)
