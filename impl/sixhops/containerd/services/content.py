"""Content: blobs and ingests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.content import missing
from sixhops.containerd.errors import already_exists, invalid_argument, not_found
from sixhops.containerd.filters import parse_all
from sixhops.containerd.stamps import set_now, set_seconds
from sixhops.containerd.validate import check_digest, check_labels, quote
from sixhops.wire.proto import content_pb2, payloads_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.content import ContentStore, Ingest, Writer
    from sixhops.containerd.database import Database
    from sixhops.containerd.rpc import Call

__all__ = ["ContentService"]

KIND = "content"
CHUNK = 1 << 20
LIST_CHUNK = 100


def _look(info: content_pb2.Info, path: tuple[str, ...]) -> str | None:
    if path == ("digest",):
        return info.digest
    if path == ("size",):
        return str(info.size)
    if path[0] == "labels" and len(path) > 1:
        return info.labels.get(".".join(path[1:]))
    return None


class ContentService:
    """containerd.services.content.v1.Content."""

    def __init__(self, database: Database, store: ContentStore, bus: Bus) -> None:
        self._database = database
        self._store = store
        self._bus = bus

    def _info(self, digest: str, call: Call) -> content_pb2.Info:
        if problem := check_digest(digest):
            raise RpcError(Code.INVALID_ARGUMENT, f"{quote(digest)} failed validation: {problem}")
        record = self._database.get(KIND, call.namespace, digest)
        if record is None:
            raise missing(digest)
        return content_pb2.Info.FromString(record.value)

    async def info(self, request: Any, call: Call) -> Any:
        """Return digest, size, times and labels."""
        return content_pb2.InfoResponse(info=self._info(request.digest, call))

    async def update(self, request: Any, call: Call) -> Any:
        """Change labels; nothing else can be changed."""
        with self._database.transaction():
            info = self._info(request.info.digest, call)
            paths = list(request.update_mask.paths) or ["labels"]
            for path in paths:
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
                    text = f"cannot update {quote(path)} field on content info {quote(info.digest)}"
                    raise invalid_argument(text)
            check_labels(info.labels, "info.Labels")
            set_now(info.updated_at)
            self._database.put(KIND, call.namespace, info.digest, info.SerializeToString())
        return content_pb2.UpdateResponse(info=info)

    async def list(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Yield all blobs of the namespace that match."""
        wanted = parse_all(request.filters)
        response = content_pb2.ListContentResponse()
        for record in self._database.all(KIND, call.namespace):
            info = content_pb2.Info.FromString(record.value)
            if wanted.matches(lambda path, info=info: _look(info, path)):  # type: ignore[misc] # bound per turn
                response.info.append(info)
            if len(response.info) == LIST_CHUNK:
                yield response
                response = content_pb2.ListContentResponse()
        if response.info:
            yield response

    async def delete(self, request: Any, call: Call) -> Any:
        """Take the blob out of the namespace; the file goes with the next garbage collection."""
        if problem := check_digest(request.digest):
            raise RpcError(Code.INVALID_ARGUMENT, problem)
        if not self._database.delete(KIND, call.namespace, request.digest):
            raise missing(request.digest)
        self._bus.publish(
            call.namespace, "/content/delete", payloads_pb2.ContentDelete(digest=request.digest)
        )
        return Empty()

    async def read(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Yield bytes from `offset`, `size` of them (0: to the end)."""
        if problem := check_digest(request.digest):
            raise RpcError(Code.INVALID_ARGUMENT, f"{request.digest}: {problem}")
        info = self._info(request.digest, call)
        offset, size = request.offset, request.size or info.size - request.offset
        if offset < 0:
            offset = 0
        if offset + size > info.size:
            raise RpcError(Code.OUT_OF_RANGE, f"read past object length {info.size} bytes")
        descriptor = os.open(self._store.path(info.digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            while size > 0:
                data = os.pread(descriptor, min(CHUNK, size), offset)
                yield content_pb2.ReadContentResponse(offset=offset, data=data)
                offset += len(data)
                size -= len(data)
        finally:
            os.close(descriptor)

    async def status(self, request: Any, call: Call) -> Any:
        """Return the state of one ingest."""
        ingest = self._store.status(f"{call.namespace}/{request.ref}")
        if ingest is None:
            text = f"could not get status for ref {quote(request.ref)}: reference {request.ref}"
            raise not_found(text)
        return content_pb2.StatusResponse(status=_status(ingest))

    async def list_statuses(self, request: Any, call: Call) -> Any:
        """Return the states of the namespace's ingests."""
        wanted = parse_all(request.filters)
        response = content_pb2.ListStatusesResponse()
        for ingest in self._store.statuses():
            namespace, _, ref = ingest.ref.partition("/")
            if namespace == call.namespace and wanted.matches(
                lambda path, ref=ref: ref if path == ("ref",) else None  # type: ignore[misc] # bound per turn
            ):
                response.statuses.append(_status(ingest))
        return response

    async def abort(self, request: Any, call: Call) -> Any:
        """Drop an ingest."""
        if not self._store.abort(f"{call.namespace}/{request.ref}"):
            raise not_found(f"reference {request.ref}")
        return Empty()

    async def write(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        """Write an ingest and commit it; see `_apply` for one message of the conversation."""
        writer: Writer | None = None
        total, expected = 0, ""
        response = content_pb2.WriteContentResponse()
        try:
            async for request in requests:
                total = request.total or total
                if writer is None:
                    expected = request.expected
                    writer = self._begin(request, call)
                elif request.expected:
                    expected = request.expected
                    if self._database.get(KIND, call.namespace, expected) is not None:
                        writer.drop()
                        raise RpcError(
                            Code.ALREADY_EXISTS, f"blob with expected digest {request.expected} exists"
                        )
                response = await self._apply(writer, request, response, total, expected, call)
                yield response
                if request.action == content_pb2.WriteAction.COMMIT:
                    break
            # the last answer goes out twice, as upstream sends it (observed)
            yield response
        finally:
            if writer is not None:
                writer.close()

    def _begin(self, request: Any, call: Call) -> Writer:
        if not request.ref:
            raise RpcError(Code.INVALID_ARGUMENT, "first message must have a reference")
        if request.expected and self._database.get(KIND, call.namespace, request.expected) is not None:
            self._lease(call, request.expected)
            raise already_exists(f"content {request.expected}")
        return self._store.writer(f"{call.namespace}/{request.ref}", request.total)

    async def _apply(
        self, writer: Writer, request: Any, last: Any, total: int, expected: str, call: Call
    ) -> content_pb2.WriteContentResponse:
        """Do one message's action. A STAT fills in the times, which later answers repeat."""
        response = content_pb2.WriteContentResponse()
        response.CopyFrom(last)
        response.action = request.action
        response.offset = writer.offset
        if request.action == content_pb2.WriteAction.STAT:
            set_seconds(response.started_at, writer.begun.started)
            set_seconds(response.updated_at, writer.begun.updated)
            response.total = total
        else:
            if request.offset and request.offset != writer.offset:
                text = f"write @{request.offset} must occur at current offset {writer.offset}"
                raise RpcError(Code.OUT_OF_RANGE, text)
            if not request.offset and writer.offset:
                writer.truncate()
            try:
                writer.write(request.data)
            except OSError as error:
                raise RpcError(
                    Code.UNKNOWN, f"write {writer.directory / 'data'}: {error.strerror}"
                ) from error
            response.offset = writer.offset
            if request.action == content_pb2.WriteAction.COMMIT:
                response.digest = await self._commit(writer, request, total, expected, call)
                return response
        response.digest = writer.digest
        return response

    async def _commit(self, writer: Writer, request: Any, total: int, expected: str, call: Call) -> str:
        check_labels(request.labels, "info.Labels")
        size = writer.offset
        known = self._store.size(writer.digest)
        digest = writer.digest
        if known is not None and self._database.get(KIND, call.namespace, digest) is None:
            # another namespace brought the same bytes: nothing to move, only to record
            if (total and total != size) or (expected and expected != digest):
                await writer.commit(total, expected)
            writer.drop()
        else:
            await writer.commit(total, expected)
        info = content_pb2.Info(digest=digest, size=size, labels=request.labels)
        set_now(info.created_at)
        info.updated_at.CopyFrom(info.created_at)
        with self._database.transaction():
            self._database.put(KIND, call.namespace, digest, info.SerializeToString())
            self._lease(call, digest)
        return digest

    def _lease(self, call: Call, digest: str) -> None:
        if not call.lease:
            return
        if self._database.get("lease", call.namespace, call.lease) is None:
            raise not_found("unable to lease content: lease does not exist")
        self._database.lease(call.namespace, call.lease, "content", digest)


def _status(ingest: Ingest) -> content_pb2.Status:
    status = content_pb2.Status(ref=ingest.ref.partition("/")[2], offset=ingest.offset, total=ingest.total)
    set_seconds(status.started_at, ingest.started)
    set_seconds(status.updated_at, ingest.updated)
    return status
