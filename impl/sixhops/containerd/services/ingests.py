"""An ingest as one namespace sees it: its record, its lease, and the writer in the store behind.

Blobs are shared: a namespace that names the digest of a blob which another namespace has brought gets a `SharedWriter`,
which has all bytes from the start and writes nothing until it is told to.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.containerd.errors import already_exists, failed_precondition, not_found
from sixhops.containerd.metadata.labels import drop_empty
from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.metadata.validate import check_digest, check_labels, quote
from sixhops.containerd.services.listing import lease_resource
from sixhops.containerd.storage.content import missing
from sixhops.wire.proto import content_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.containerd.metadata.database import Database, Record
    from sixhops.containerd.rpc import Call
    from sixhops.containerd.storage.content import ContentStore, Ingest, Writer

__all__ = ["CONTENT", "INGEST", "Ingests", "Session", "SharedWriter"]

CONTENT = "content"
INGEST = "ingest"
COPY = 1 << 20


@dataclass(slots=True)
class SharedWriter:
    """A blob that is in the store already: nothing needs to be written."""

    digest: str
    offset: int
    started: float = field(default_factory=time.time)


@dataclass(slots=True)
class Session:
    """One open ingest of one call."""

    ref: str
    backend: str
    writer: Writer | SharedWriter

    @property
    def times(self) -> tuple[float, float]:
        """When it was begun and last written, in seconds since 1970."""
        if isinstance(self.writer, SharedWriter):
            return self.writer.started, self.writer.started
        return self.writer.begun.started, self.writer.begun.updated

    def close(self) -> None:
        """Stop writing; the ingest stays."""
        if not isinstance(self.writer, SharedWriter):
            self.writer.close()


class Ingests:
    """The ingests of all namespaces. `sharing`: whether naming a digest is enough to have what another one has brought."""

    def __init__(self, database: Database, store: ContentStore, *, sharing: bool = True) -> None:
        self._sharing = sharing
        self._database = database
        self._store = store

    def find(self, ref: str, call: Call) -> tuple[Record, content_pb2.Status]:
        """Return an ingest's record; NOT_FOUND without one."""
        record = self._database.get(INGEST, call.namespace, ref)
        if record is None:
            raise not_found(f"reference {ref}")
        return record, content_pb2.Status.FromString(record.value)

    def status(self, record: Record) -> Ingest | None:
        """Return how far an ingest has come; None for one that shares a blob and has written nothing itself."""
        return self._store.status(record.backend)

    def all(self, call: Call) -> list[Record]:
        """Return the records of the namespace's ingests."""
        return self._database.all(INGEST, call.namespace)

    def abort(self, ref: str, call: Call) -> None:
        """Drop an ingest; NOT_FOUND without one."""
        record, status = self.find(ref, call)
        with self._database.transaction():
            self._forget(ref, call)
        if not status.expected:
            self._store.abort(record.backend)

    def _forget(self, ref: str, call: Call) -> None:
        self._database.delete(INGEST, call.namespace, ref)
        if call.lease:
            self._database.unlease(call.namespace, call.lease, "ingests", ref)

    async def open(self, ref: str, total: int, expected: str, call: Call) -> Session:
        """Begin or resume an ingest; ALREADY_EXISTS when the namespace has the blob, UNAVAILABLE when it is open."""
        if expected and self._database.get(CONTENT, call.namespace, expected) is not None:
            lease_resource(self._database, call, CONTENT, expected)
            raise already_exists(f"content {expected}")
        known = None
        if self._sharing and expected and check_digest(expected) is None:
            known = self._store.size(expected)
        shared = known is not None and total in (0, known)
        record = self._database.get(INGEST, call.namespace, ref)
        status = content_pb2.Status(ref=ref)
        if record is not None:
            status.ParseFromString(record.value)
        sequence = record.sequence if record else self._database.next_number(f"{INGEST}:{call.namespace}")
        with self._database.transaction():
            if not lease_resource(self._database, call, "ingests", ref):
                set_now(status.updated_at)  # a day after this, garbage collection drops it
            if shared:
                status.expected = expected
            self._database.put(INGEST, call.namespace, ref, status.SerializeToString(), sequence=sequence)
        backend = f"{call.namespace}/{sequence}/{ref}"
        if shared and known is not None:
            return Session(ref, backend, SharedWriter(expected, known))
        return Session(ref, backend, await self._store.writer(backend, total))

    async def unshare(self, session: Session, *, copy: bool) -> Writer:
        """Return the session's own writer, which it gets now if it shared a blob, with a copy of the bytes if asked."""
        if not isinstance(session.writer, SharedWriter):
            return session.writer
        source = session.writer
        writer = await self._store.writer(session.backend, source.offset if copy else 0)
        session.writer = writer
        if copy:
            with self._store.path(source.digest).open("rb") as blob:
                while data := os.read(blob.fileno(), COPY):
                    writer.write(data)
        return writer

    async def commit(
        self, session: Session, size: int, expected: str, labels: Mapping[str, str], call: Call
    ) -> str:
        """Make the ingest a blob of the namespace; return its digest.

        FAILED_PRECONDITION when size (0: any) or digest (empty: any) differ: the ingest stays, to be tried again.
        ALREADY_EXISTS when the namespace has the blob: the ingest is dropped.
        """
        info = content_pb2.Info(labels=labels)
        check_labels(info.labels, "info.Labels")
        drop_empty(info.labels)
        writer = session.writer
        info.size = writer.offset
        if size not in (0, writer.offset):
            session.close()
            text = f"{quote(session.ref)} failed size validation: {writer.offset} != {size}"
            raise failed_precondition(text)
        with self._store.arriving(writer.digest):
            if isinstance(writer, SharedWriter):
                info.digest = writer.digest
                if expected not in ("", writer.digest):
                    raise failed_precondition(f"{quote(session.ref)} unexpected digest")
                if self._store.size(writer.digest) is None:
                    raise missing(writer.digest)
            else:
                info.digest = await writer.commit(expected)
            set_now(info.created_at)
            info.updated_at.CopyFrom(info.created_at)
            with self._database.transaction():
                exists = self._database.get(CONTENT, call.namespace, info.digest) is not None
                if not exists:
                    self._database.put(CONTENT, call.namespace, info.digest, info.SerializeToString())
                self._forget(session.ref, call)
                lease_resource(self._database, call, CONTENT, info.digest)
        if exists:
            raise already_exists(f"content {info.digest}")
        return info.digest
