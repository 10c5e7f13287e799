"""Uploads: content on its way in, which outlives connections and restarts.

The data file's length is the one truth about how far an upload has come. The hash of what is there is kept
in memory as bytes arrive; after a restart it is computed from the file again. So there is no second state
that could disagree after a kill.

Life cycle: see `TRANSITIONS`. Only one request at a time may change an upload.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sixhops.registry.names import Digest, is_upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from sixhops.registry.storage.blobs import BlobStore
    from sixhops.wire.image.layout import Layout

# state -> {event: next state}; what is not named is refused.
TRANSITIONS: Final = {
    "open": {"write": "receiving", "commit": "committing", "cancel": "gone"},
    "receiving": {"end": "open"},
    "committing": {"verified": "gone", "mismatch": "gone", "failed": "open"},
    "gone": {},
}

BATCH: Final = 1 << 20
_READ: Final = 1 << 20
_KNOWN_LIMIT: Final = 4096
SETTLE_SECONDS: Final = 0.5


class UnknownUpload(LookupError):  # noqa: N818 - the code is called BLOB_UPLOAD_UNKNOWN
    """There is no such upload (any more)."""


class BusyUpload(RuntimeError):  # noqa: N818 - the upload is busy, that is no defect
    """Another request is changing this upload."""


class Mismatch(ValueError):  # noqa: N818 - the code is called DIGEST_INVALID
    """The content does not have the digest that was promised; the upload is gone."""


@dataclass(slots=True)
class Upload:
    """One upload in this process. `size` is the number of bytes that are safely in the file's page cache."""

    repository: str
    id: str
    directory: Path
    size: int
    state: str = "open"
    told: int | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    hasher: hashlib._Hash | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        """Return the file of the content so far."""
        return self.directory / "data"

    def tell(self) -> int:
        """Return the size for a client to go on from.

        The client may ask while the remains of its broken connection are still on their way to the disk.
        What was told then holds: if that body turns out to be broken, the upload goes back to what was
        told.
        """
        if self.state == "receiving":
            self.told = self.size
        return self.size

    def fire(self, event: str) -> None:
        """Move to the next state. Raises BusyUpload or UnknownUpload when the event has no place now."""
        following = TRANSITIONS[self.state].get(event)
        if following is None:
            raise (UnknownUpload if self.state == "gone" else BusyUpload)(self.id)
        self.state = following


class UploadStore:
    """All uploads below one root. Every method must be called in the event loop's thread."""

    def __init__(self, layout: Layout, blobs: BlobStore) -> None:
        self._layout = layout
        self._blobs = blobs
        self._known: OrderedDict[tuple[str, str], Upload] = OrderedDict()
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="upload")

    def close(self) -> None:
        """Wait for writes that are under way."""
        self._pool.shutdown()

    def start(self, repository: str) -> Upload:
        """Begin an upload of nothing yet."""
        identity = str(uuid.uuid4())
        directory = self._layout.upload(repository, identity)
        directory.mkdir(parents=True)
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        (directory / "startedat").write_text(started, encoding="ascii")
        (directory / "data").touch()
        return self._remember(Upload(repository, identity, directory, 0, hasher=hashlib.sha256()))

    def open(self, repository: str, identity: str) -> Upload:
        """Return an upload that was begun, also by an earlier process. Raises UnknownUpload."""
        if not is_upload(identity):
            raise UnknownUpload(identity)
        known = self._known.get((repository, identity))
        if known is not None:
            return known
        directory = self._layout.upload(repository, identity)
        try:
            size = (directory / "data").stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UnknownUpload(identity) from error
        return self._remember(Upload(repository, identity, directory, size))

    def _remember(self, upload: Upload) -> Upload:
        self._known[(upload.repository, upload.id)] = upload
        if len(self._known) > _KNOWN_LIMIT:
            # Forgetting is harmless: the hash is computed from the file when the upload goes on.
            for key, other in self._known.items():
                if other.state == "open" and other is not upload:
                    del self._known[key]
                    break
        return upload

    def _forget(self, upload: Upload) -> None:
        self._known.pop((upload.repository, upload.id), None)

    async def write(self, upload: Upload, chunks: AsyncIterator[bytes], limit: int | None = None) -> None:
        """Append what `chunks` yields, at most `limit` bytes of it.

        Bytes that arrived before `chunks` failed are kept, so that the client can go on from `upload.size`.
        Memory: two batches of 1 MiB. Raises what `chunks` raises, OSError (disk full), BusyUpload,
        UnknownUpload.
        """
        await _settled(upload)
        upload.fire("write")
        upload.idle.clear()
        upload.told = None
        try:
            await self._receive(upload, chunks, limit)
        except BaseException:
            if upload.told is not None and upload.told < upload.size:
                os.truncate(upload.data, upload.told)
                upload.size, upload.hasher = upload.told, None
            raise
        finally:
            upload.fire("end")
            upload.idle.set()

    async def _receive(self, upload: Upload, chunks: AsyncIterator[bytes], limit: int | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.open(upload.data, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError as error:
            self._forget(upload)
            raise UnknownUpload(upload.id) from error
        pending: asyncio.Future[None] | None = None
        batch: list[bytes] = []
        length = 0
        left = limit
        try:
            try:
                async for chunk in chunks:
                    if left is not None:
                        chunk = chunk[:left]
                        left -= len(chunk)
                    batch.append(chunk)
                    length += len(chunk)
                    if length >= BATCH:
                        if pending is not None:
                            await pending
                        pending = loop.run_in_executor(self._pool, _append, upload, descriptor, batch)
                        batch, length = [], 0
            finally:
                if pending is not None:
                    await pending
                if batch:
                    await loop.run_in_executor(self._pool, _append, upload, descriptor, batch)
        finally:
            os.close(descriptor)

    async def commit(self, upload: Upload, digest: Digest) -> None:
        """Verify the content and show it in the repository under `digest`; the upload is gone afterwards.

        Raises Mismatch (the upload is gone too, as in docker-registry), OSError (the upload stays).
        """
        upload.fire("commit")
        loop = asyncio.get_running_loop()
        try:
            matched = await loop.run_in_executor(self._pool, self._verify_and_publish, upload, digest)
        except FileNotFoundError as error:
            upload.fire("mismatch")
            self._forget(upload)
            raise UnknownUpload(upload.id) from error
        except OSError:
            upload.fire("failed")
            raise
        upload.fire("verified" if matched else "mismatch")
        self._forget(upload)
        if not matched:
            raise Mismatch(str(digest))

    def _verify_and_publish(self, upload: Upload, digest: Digest) -> bool:
        hasher = upload.hasher or _hash_file(upload.data, "sha256")
        canonical = Digest("sha256", hasher.hexdigest())
        asked = canonical
        if digest.algorithm != "sha256":
            asked = Digest(digest.algorithm, _hash_file(upload.data, digest.algorithm).hexdigest())
        matched = asked == digest
        if matched:
            _sync(upload.data)
            self._blobs.adopt(upload.data, canonical)
            self._blobs.link(upload.repository, canonical, canonical)
            if digest != canonical:
                self._blobs.link(upload.repository, digest, canonical)
        shutil.rmtree(upload.directory, ignore_errors=True)
        return matched

    async def cancel(self, upload: Upload) -> None:
        """Drop an upload and its bytes. Raises BusyUpload, UnknownUpload."""
        await _settled(upload)
        upload.fire("cancel")
        self._forget(upload)
        shutil.rmtree(upload.directory, ignore_errors=True)

    async def expire(self, repository: str, identity: str) -> bool:
        """Drop an upload unless a request is changing it now; return whether it is gone."""
        upload = self._known.get((repository, identity))
        directory = self._layout.upload(repository, identity)
        if upload is not None:
            if upload.state != "open":
                return False
            upload.fire("cancel")
            self._forget(upload)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        return True

    @asynccontextmanager
    async def failing_cancels(self, upload: Upload) -> AsyncIterator[None]:
        """Drop the upload when the `with` body fails: for uploads whose id no client has seen."""
        try:
            yield
        except BaseException:
            if upload.state == "open":
                await self.cancel(upload)
            raise


async def _settled(upload: Upload) -> None:
    # A client that connects again is often faster than the news that its old connection is gone.
    if upload.state == "receiving":
        with suppress(TimeoutError):
            await asyncio.wait_for(upload.idle.wait(), SETTLE_SECONDS)


def _append(upload: Upload, descriptor: int, batch: Sequence[bytes]) -> None:
    if upload.hasher is None:
        upload.hasher = _hash_file(upload.data, "sha256")
    data = b"".join(batch)
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        # Half a batch is of no use to a hash that has seen none of it.
        os.ftruncate(descriptor, upload.size)
        raise
    upload.hasher.update(data)
    upload.size += len(data)


def _hash_file(path: Path, algorithm: str) -> hashlib._Hash:
    hasher = hashlib.new(algorithm)
    buffer = memoryview(bytearray(_READ))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["TRANSITIONS", "BusyUpload", "Mismatch", "UnknownUpload", "Upload", "UploadStore"]
