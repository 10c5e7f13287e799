"""Layers: blobs unpacked onto mounts, and mounts packed into blobs, by workers of the fork server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from sixhops.containerd.services.ingests import CONTENT, Ingests
from sixhops.wire.proto import content_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sixhops.containerd.metadata.database import Database
    from sixhops.containerd.rpc import Call
    from sixhops.containerd.storage.content import ContentStore
    from sixhops.containerd.tasks.workers import Workers

__all__ = ["Layers"]

UNCOMPRESSED = "containerd.io/uncompressed"
UNPACK_MODULE = "sixhops.containerd.storage.unpack"
PACK_MODULE = "sixhops.containerd.storage.layerdiff"
DIED = {"error": "the worker process died"}


class Layers:
    """The content store together with the workers. `mounts` is where they mount; mounts are [type, source, options]."""

    def __init__(self, database: Database, store: ContentStore, workers: Workers, mounts: Path) -> None:
        self._database = database
        self._store = store
        self._workers = workers
        self._mounts = str(mounts)
        self._ingests = Ingests(database, store)

    def find(self, digest: str, call: Call) -> Path:
        """Return where a blob of the namespace is; NOT_FOUND without one."""
        if self._database.get(CONTENT, call.namespace, digest) is None:
            text = f"failed to get reader from content store: content digest {digest}: not found"
            raise RpcError(Code.NOT_FOUND, text)
        return self._store.path(digest)

    async def unpack(self, blob: Path, mounts: Sequence[Sequence[Any]]) -> tuple[str, int]:
        """Unpack an archive onto mounts; return digest and size of the archive without compression."""
        descriptor = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
        try:
            arguments = {"mounts": mounts, "below": self._mounts}
            answer = _read(await self._workers.run(UNPACK_MODULE, "run", arguments, [descriptor]))
        finally:
            os.close(descriptor)
        return answer["digest"], answer["size"]

    async def pack(
        self,
        left: Sequence[Sequence[Any]],
        right: Sequence[Sequence[Any]],
        call: Call,
        *,
        compress: bool,
        ref: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> content_pb2.Info:
        """Make a blob of what `right` has that `left` doesn't; return its record.

        An ingest under `ref` is begun anew and stays when this fails; without `ref` nothing is left. RpcError UNKNOWN
        when mounts can't be mounted or read.
        """
        word = base64.urlsafe_b64encode(secrets.token_bytes(3)).decode()
        name = ref or f"{time.time_ns()}-{word}"
        given = dict(labels or {})
        try:
            session = await self._ingests.open(name, 0, "", call)
        except RpcError as error:
            raise RpcError(error.code, f"failed to open writer: {error.message}") from error
        try:
            writer = await self._ingests.unshare(session, copy=False)
            writer.truncate()
            arguments = {"left": left, "right": right, "gzip": compress, "below": self._mounts}
            answer = _read(await self._workers.run(PACK_MODULE, "run", arguments, [writer.fileno()]))
            writer.written(answer["digest"], answer["size"])
            if compress:
                given[UNCOMPRESSED] = answer["uncompressed"]
            try:
                await self._ingests.commit(session, 0, answer["digest"], given, call)
            except RpcError as error:
                if error.code is not Code.ALREADY_EXISTS:  # the same layer may have been made before
                    raise
        except BaseException:
            session.close()
            if not ref:
                with contextlib.suppress(RpcError):
                    self._ingests.abort(name, call)
            raise
        return self._label(answer["digest"], given, call)

    async def write(self, data: bytes, call: Call) -> content_pb2.Info:
        """Make a blob of bytes; return its record. ALREADY_EXISTS when the namespace has it, which nobody is spared."""
        word = base64.urlsafe_b64encode(secrets.token_bytes(3)).decode()
        session = await self._ingests.open(f"{time.time_ns()}-{word}", 0, "", call)
        try:
            writer = await self._ingests.unshare(session, copy=False)
            writer.write(data)
            digest = await self._ingests.commit(session, 0, "", {}, call)
        finally:
            session.close()
        return self._label(digest, {}, call)

    def _label(self, digest: str, labels: Mapping[str, str], call: Call) -> content_pb2.Info:
        """Return a blob's record; one that was there before gets the label of the archive's digest now."""
        record = self._database.get(CONTENT, call.namespace, digest)
        if record is None:
            text = f"failed to get info from content store: content digest {digest}: not found"
            raise RpcError(Code.NOT_FOUND, text)
        info = content_pb2.Info.FromString(record.value)
        if UNCOMPRESSED not in info.labels and UNCOMPRESSED in labels:
            info.labels[UNCOMPRESSED] = labels[UNCOMPRESSED]
            self._database.put(CONTENT, call.namespace, digest, info.SerializeToString())
        return info


def _read(data: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(data) if data else DIED
    if "error" in answer:
        raise RpcError(Code.UNKNOWN, str(answer["error"]))
    return answer
