"""One layer's way out: looked for at the registry, mounted from another repository, or compressed and sent.

As dockerd 20.10 does it (moby, distribution/push_v2.go and xfer/upload.go): a registry that is known to have the layer is
asked for the blob; then it may be mounted from another repository of the same registry; what is left is sent, tried five
times with pauses that grow by five seconds. A refusal is final.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from isal import isal_zlib

from sixhops.dockerd.images.transfer.progress import Meter, status_line
from sixhops.dockerd.images.transfer.refusals import NoCredentials, NotAuthorized, RemoteError
from sixhops.dockerd.images.transfer.sources import Source, attempts_for, mark_of, mountable, ranked
from sixhops.wire.image import Descriptor, media, short

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sixhops.dockerd.images.layers import Layer, LayerStore
    from sixhops.dockerd.images.transfer.authorization import Credentials
    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.dockerd.images.transfer.remote import Remote
    from sixhops.dockerd.images.transfer.sources import Sources

__all__ = ["LayerUpload", "Target"]

_ATTEMPTS: Final = 5
_PIECE: Final = 1 << 18
_FINAL: Final = frozenset({"UNAUTHORIZED", "UNSUPPORTED", "DENIED", "TOOMANYREQUESTS", "NAME_UNKNOWN"})


@dataclass(slots=True)
class Target:
    """The repository that is pushed to; `sent` fills with the layers known to be there, by diff id."""

    remote: Remote
    repository: str
    credentials: Credentials
    emit: Emit
    retry_delay: float
    sent: dict[str, Descriptor] = field(default_factory=dict)


def _is_final(error: RemoteError) -> bool:
    unreadable = isinstance(error, NoCredentials) or (400 <= error.status < 500 and not error.code)
    return unreadable or (error.code in _FINAL and not error.bare)


class LayerUpload:
    """Brings one layer to a registry. Raises RemoteError and EngineError."""

    def __init__(self, target: Target, layer: Layer, layers: LayerStore, sources: Sources) -> None:
        self._target = target
        self._layer = layer
        self._layers = layers
        self._sources = sources
        self._identity = short(layer.diff_id)
        self._asked: set[str] = set()

    async def run(self) -> Descriptor:
        """See that the registry has the layer; return how the manifest names it."""
        target, diff_id = self._target, self._layer.diff_id
        if diff_id in target.sent:
            target.emit(status_line("Layer already exists", self._identity))
            return target.sent[diff_id]
        attempt = 1
        while True:
            try:
                found = await self._attempt()
            except RemoteError as error:
                if isinstance(error, NotAuthorized) and _is_final(error.reason):
                    raise error.reason from error
                if _is_final(error):
                    # of several errors Go's client keeps the one that it decided by
                    first = str(error).removeprefix("errors:\n").partition("\n")[0]
                    raise RemoteError(first, error.status, error.code) from error
                if attempt == _ATTEMPTS:
                    raise
                await self._pause(attempt)
                attempt += 1
            else:
                target.sent[diff_id] = found
                return found

    async def _attempt(self) -> Descriptor:
        attempts = attempts_for(self._layer.size)
        known = self._sources.of(self._layer.diff_id)
        repository, login = self._target.repository, self._target.credentials
        best = ranked(known, repository, login)
        if found := await self._look(best, 1):
            return found
        for source in mountable(known, repository, login, attempts.mounts):
            if found := await self._mount(source):
                return found
        near = [source for source in best if attempts.elsewhere or source.repository == repository]
        if found := await self._look(near, attempts.checks - len(self._asked)):
            return found
        return await self._send()

    async def _look(self, sources: list[Source], most: int) -> Descriptor | None:
        """Ask for up to `most` blobs that were not asked for yet."""
        remote = self._target.remote
        digests = list(dict.fromkeys(source.digest for source in sources if source.digest not in self._asked))
        for digest in digests[: max(most, 0)]:
            self._asked.add(digest)
            try:
                size = await remote.size_of_blob(digest)
            except RemoteError:
                continue  # it may still be sent
            if size is not None:
                self._note(digest)
                self._say("Layer already exists")
                return Descriptor(_LAYER, digest, size)
            own = Source(digest, self._target.repository)
            if any((source.digest, source.repository) == (own.digest, own.repository) for source in sources):
                self._sources.remove(self._layer.diff_id, own)
        return None

    async def _mount(self, source: Source) -> Descriptor | None:
        """Have a blob mounted; an upload that a registry begins instead is given up."""
        remote = self._target.remote
        path = source.repository.partition("/")[2]
        refused = False
        try:
            location = await remote.begin_upload(source.digest, path)
        except RemoteError as error:
            location = None
            refused = error.code == "UNAUTHORIZED"
        if location == "":
            size = await remote.size_of_blob(source.digest)
            if size is not None:
                self._note(source.digest)
                self._say(f"Mounted from {path}")
                return Descriptor(_LAYER, source.digest, size)
        login = self._target.credentials
        mine = source.mark in {"", mark_of(login, source.digest, source.repository)}
        if mine and not (refused and not login.can_log_in):
            self._sources.remove(self._layer.diff_id, source)
        if location:
            await remote.cancel_upload(location)
        return None

    async def _send(self) -> Descriptor:
        remote = self._target.remote
        content = await asyncio.to_thread(self._layers.open_tar, self._layer)
        packed = _Packed(content, Meter(self._target.emit, "Pushing", self._identity, self._layer.size))
        try:
            location = await remote.begin_upload()
            location = await remote.send(location, packed.pieces())
            await remote.end_upload(location, packed.digest)
        finally:
            await asyncio.to_thread(content.close)
        self._note(packed.digest)
        self._say("Pushed")
        return Descriptor(_LAYER, packed.digest, packed.size)

    def _note(self, digest: str) -> None:
        target = self._target
        mark = mark_of(target.credentials, digest, target.repository)
        self._sources.add(self._layer.diff_id, Source(digest, target.repository, mark))

    def _say(self, text: str) -> None:
        self._target.emit(status_line(text, self._identity))

    async def _pause(self, attempt: int) -> None:
        for left in range(int(self._target.retry_delay * attempt), 0, -1):
            self._say(f"Retrying in {left} second{'s' if left > 1 else ''}")
            await asyncio.sleep(1)


_LAYER: Final = media.layer_type(oci=False, compression="gzip")


class _Packed:
    """A tar as it is sent: compressed, counted and hashed on the way."""

    def __init__(self, content: IO[bytes], meter: Meter) -> None:
        self._content = content
        self._meter = meter
        self._packer = isal_zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what was sent; right when all pieces were taken."""
        return f"sha256:{self._hash.hexdigest()}"

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the compressed bytes."""
        while True:
            taken, piece = await asyncio.to_thread(self._next)
            self._meter.add(taken)
            if piece:
                yield piece
            if not taken:
                return

    def _next(self) -> tuple[int, bytes]:
        data = self._content.read(_PIECE)
        packed = self._packer.compress(data) if data else self._packer.flush()
        self._hash.update(packed)
        self.size += len(packed)
        return len(data), packed
