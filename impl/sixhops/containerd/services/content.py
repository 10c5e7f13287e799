"""Content: blobs and ingests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from sixhops.containerd.metadata.labels import drop_empty, update_labels
from sixhops.containerd.metadata.stamps import set_now, set_seconds, set_zero
from sixhops.containerd.metadata.validate import check_digest, check_labels, quote
from sixhops.containerd.rpc import check_namespace, namespace_checked
from sixhops.containerd.services.ingests import CONTENT, Ingests
from sixhops.containerd.services.listing import batches, label, matching
from sixhops.containerd.storage.content import missing
from sixhops.wire.proto import content_pb2, payloads_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.rpc import Call
    from sixhops.containerd.services.ingests import Session
    from sixhops.containerd.storage.content import ContentStore, Ingest

__all__ = ["ContentService"]

CHUNK = 1 << 20


def _look(info: content_pb2.Info, path: tuple[str, ...]) -> str | None:
    if path == ("digest",):
        return info.digest
    return label(info.labels, path) if path[0] == "labels" else None


def _look_status(status: content_pb2.Status, path: tuple[str, ...]) -> str | None:
    return status.ref if path == ("ref",) else None


class ContentService:
    """containerd.services.content.v1.Content."""

    def __init__(self, database: Database, store: ContentStore, bus: Bus, *, sharing: bool = True) -> None:
        self._database = database
        self._store = store
        self._bus = bus
        self._ingests = Ingests(database, store, sharing=sharing)

    def _find(self, digest: str, call: Call) -> content_pb2.Info:
        record = self._database.get(CONTENT, call.namespace, digest)
        if record is None:
            raise missing(digest)
        return content_pb2.Info.FromString(record.value)

    async def info(self, request: Any, call: Call) -> Any:
        """Return digest, size, times and labels."""
        _check(request.digest)
        return content_pb2.InfoResponse(info=self._find(request.digest, call))

    async def update(self, request: Any, call: Call) -> Any:
        """Change labels; nothing else can be changed."""
        _check(request.info.digest)
        info = self._find(request.info.digest, call)
        what = f"content info {quote(info.digest)}"
        update_labels(info.labels, request.info.labels, request.update_mask.paths, what)
        check_labels(info.labels, "info.Labels")
        drop_empty(info.labels)
        set_now(info.updated_at)
        self._database.put(CONTENT, call.namespace, info.digest, info.SerializeToString())
        return content_pb2.UpdateResponse(info=info)

    async def list(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Yield all blobs of the namespace that match. The time of the last change is left out, as upstream does."""
        records = self._database.all(CONTENT, call.namespace)
        infos = (content_pb2.Info.FromString(record.value) for record in records)
        for batch in batches(matching(infos, request.filters, _look)):
            for info in batch:
                set_zero(info.updated_at)
            yield content_pb2.ListContentResponse(info=batch)

    async def delete(self, request: Any, call: Call) -> Any:
        """Take the blob out of the namespace; the file goes with the next garbage collection."""
        if problem := check_digest(request.digest):
            raise RpcError(Code.INVALID_ARGUMENT, problem)
        if not self._database.delete(CONTENT, call.namespace, request.digest):
            raise missing(request.digest)
        if call.lease:
            self._database.unlease(call.namespace, call.lease, CONTENT, request.digest)
        self._bus.publish(
            call.namespace, "/content/delete", payloads_pb2.ContentDelete(digest=request.digest)
        )
        return Empty()

    async def read(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Yield bytes from `offset`, `size` of them (0: to the end). The offsets in the answers begin at 0."""
        if problem := check_digest(request.digest):
            raise RpcError(Code.INVALID_ARGUMENT, f"{request.digest}: {problem}")
        info = self._find(request.digest, call)
        begin = max(request.offset, 0)
        if begin > info.size:
            raise RpcError(Code.OUT_OF_RANGE, f"read past object length {info.size} bytes")
        end = info.size if request.size <= 0 else min(begin + request.size, info.size)
        descriptor = os.open(self._store.path(info.digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            position = begin
            while position < end:
                data = os.pread(descriptor, min(CHUNK, end - position), position)
                if not data:
                    raise RpcError(Code.UNKNOWN, "unexpected EOF")
                yield content_pb2.ReadContentResponse(offset=position - begin, data=data)
                position += len(data)
        finally:
            os.close(descriptor)

    @namespace_checked
    async def status(self, request: Any, call: Call) -> Any:
        """Return the state of one ingest."""
        where = f"could not get status for ref {quote(request.ref)}"
        try:
            check_namespace(call.namespace)
            record, _status = self._ingests.find(request.ref, call)
        except RpcError as error:
            raise RpcError(error.code, f"{where}: {error.message}") from error
        ingest = self._ingests.status(record)
        if ingest is None:
            text = f"{where}: ref {quote(record.backend)} does not exist: not found"
            raise RpcError(Code.NOT_FOUND, text)
        return content_pb2.StatusResponse(status=_to_message(request.ref, ingest))

    async def list_statuses(self, request: Any, call: Call) -> Any:
        """Return the states of the namespace's ingests."""
        found = []
        for record in self._ingests.all(call):
            ingest = self._ingests.status(record)
            if ingest is not None:
                found.append(_to_message(record.key, ingest))
        return content_pb2.ListStatusesResponse(statuses=matching(found, request.filters, _look_status))

    async def abort(self, request: Any, call: Call) -> Any:
        """Drop an ingest."""
        self._ingests.abort(request.ref, call)
        return Empty()

    async def write(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        """Write an ingest and commit it; see `_answer` for one message of the conversation."""
        session: Session | None = None
        total, expected = 0, ""
        response = content_pb2.WriteContentResponse()
        set_zero(response.started_at)
        set_zero(response.updated_at)
        try:
            async for request in requests:
                if session is None:
                    if not request.ref:
                        raise RpcError(Code.INVALID_ARGUMENT, "first message must have a reference")
                    session = await self._ingests.open(request.ref, request.total, request.expected, call)
                expected = request.expected or expected
                total = request.total or total
                response.action = request.action
                self._refuse_known(session, request.expected, call)
                await self._answer(session, request, response, total, expected, call)
                yield response
                if request.action == content_pb2.WriteAction.COMMIT:
                    break
            if session is None:
                raise RpcError(Code.UNKNOWN, "EOF")
            # the last answer goes out twice, as upstream sends it (observed)
            yield response
        finally:
            if session is not None:
                session.close()

    def _refuse_known(self, session: Session, expected: str, call: Call) -> None:
        """Drop the ingest of a blob that has come into the namespace in the meantime."""
        if not expected or self._database.get(CONTENT, call.namespace, expected) is None:
            return
        session.close()
        self._ingests.abort(session.ref, call)
        raise RpcError(Code.ALREADY_EXISTS, f"blob with expected digest {expected} exists")

    async def _answer(
        self, session: Session, request: Any, response: Any, total: int, expected: str, call: Call
    ) -> None:
        """Do one message's action and fill in the answer. A STAT fills in the times, which later answers repeat."""
        response.offset = session.writer.offset
        if request.action == content_pb2.WriteAction.STAT:
            started, updated = session.times
            set_seconds(response.started_at, started)
            set_seconds(response.updated_at, updated)
            response.total = total
            response.digest = session.writer.digest
            return
        if request.offset and request.offset != session.writer.offset:
            text = f"write @{request.offset} must occur at current offset {session.writer.offset}"
            raise RpcError(Code.OUT_OF_RANGE, text)
        if not request.offset and session.writer.offset:
            (await self._ingests.unshare(session, copy=False)).truncate()
        if request.data:
            writer = await self._ingests.unshare(session, copy=True)
            try:
                writer.write(request.data)
            except OSError as error:
                text = f"write {writer.directory / 'data'}: {(error.strerror or '').lower()}"
                raise RpcError(Code.UNKNOWN, text) from error
        response.offset = session.writer.offset
        if request.action == content_pb2.WriteAction.COMMIT:
            response.digest = await self._ingests.commit(session, total, expected, request.labels, call)
        else:
            response.digest = session.writer.digest


def _check(digest: str) -> None:
    if check_digest(digest):
        raise RpcError(Code.INVALID_ARGUMENT, f"{quote(digest)} failed validation")


def _to_message(ref: str, ingest: Ingest) -> content_pb2.Status:
    status = content_pb2.Status(ref=ref, offset=ingest.offset, total=ingest.total)
    set_seconds(status.started_at, ingest.started)
    set_seconds(status.updated_at, ingest.updated)
    return status
