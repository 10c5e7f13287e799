"""Diff: a layer's archive onto mounts, and an archive of what one set of mounts has that another doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.containerd.errors import not_implemented
from sixhops.containerd.rpc import check_namespace, namespace_checked
from sixhops.wire.proto import diff_pb2, types_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.containerd.rpc import Call
    from sixhops.containerd.services.layers import Layers

__all__ = ["DiffService"]

LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = f"{LAYER}+gzip"
PREFIXES = ("application/vnd.docker.image.rootfs.", "application/vnd.oci.image.layer.")


class DiffService:
    """containerd.services.diff.v1.Diff."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    @namespace_checked
    async def apply(self, request: Any, call: Call) -> Any:
        """Unpack the blob `diff` onto `mounts`; return the unpacked archive's descriptor."""
        check_namespace(call.namespace, "failed to get reader from content store: ")
        path = self._layers.find(request.diff.digest, call)
        kind = request.diff.media_type
        if not kind.startswith(PREFIXES):
            text = f"failed to get stream processor for {kind}: no processor for media-type"
            raise RpcError(Code.UNKNOWN, text)
        digest, size = await self._layers.unpack(path, _to_lists(request.mounts))
        applied = types_pb2.Descriptor(media_type=LAYER, digest=digest, size=size)
        return diff_pb2.ApplyResponse(applied=applied)

    async def diff(self, request: Any, call: Call) -> Any:
        """Make a layer of what `right` has that `left` doesn't, as a blob; return its descriptor."""
        kind = request.media_type or LAYER_GZIP
        if kind not in (LAYER, LAYER_GZIP):
            raise not_implemented(f"unsupported diff media type: {kind}")
        left, right = _to_lists(request.left), _to_lists(request.right)
        info = await self._layers.pack(
            left, right, call, compress=kind == LAYER_GZIP, ref=request.ref, labels=request.labels
        )
        made = types_pb2.Descriptor(media_type=kind, digest=info.digest, size=info.size)
        return diff_pb2.DiffResponse(diff=made)


def _to_lists(mounts: Sequence[Any]) -> list[list[Any]]:
    return [[item.type, item.source, list(item.options)] for item in mounts]
