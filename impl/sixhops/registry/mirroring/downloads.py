"""A blob on its way from another registry to the disk, and to every client that asks for it meanwhile.

Clients read the growing file, so each blob is fetched once however many want it, and memory holds one piece for each.
The last bytes are held back until the whole was verified: nobody ever gets all of a wrong blob.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING, Final

from sixhops.registry.mirroring.remote import RemoteError
from sixhops.registry.names import Digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from sixhops.registry.mirroring.remote import Remote
    from sixhops.registry.storage.blobs import BlobStore

PIECE: Final = 1 << 18
_HELD_BACK: Final = 1 << 16


class Download:
    """One blob that is being fetched. `size` is known once `begun` returned, None when the answer doesn't tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size: int | None = None
        self._received = 0
        self._error: RemoteError | None = None
        self._finished = False
        self._canonical = hashlib.sha256()
        self._changed = asyncio.Condition()
        self._head = asyncio.Event()

    async def run(self, remote: Remote, blobs: BlobStore, repository: str, digest: Digest) -> None:
        """Fetch, verify and store; what goes wrong is told to those who read."""
        self._error = RemoteError("the mirror is stopping")
        try:
            with self.path.open("xb", buffering=0) as file:
                await self._fetch(remote, repository, digest, file.fileno())
            await asyncio.to_thread(
                _publish, blobs, self.path, repository, digest, self._canonical.hexdigest()
            )
            self._error = None
        except RemoteError as error:
            self._error = error
        except OSError as error:
            self._error = RemoteError(f"{repository}: blob {digest}: {error}")
        finally:
            self._finished = True
            self.path.unlink(missing_ok=True)
            self._head.set()
            await self._tell()

    async def _fetch(self, remote: Remote, repository: str, digest: Digest, descriptor: int) -> None:
        asked = hashlib.new(digest.algorithm)
        async with remote.ask("GET", f"{repository}/blobs/{digest}", repository) as response:
            self.size = response.content_length
            self._head.set()
            async for piece in response.content.iter_chunked(PIECE):
                await asyncio.to_thread(_append, descriptor, piece, (self._canonical, asked))
                self._received += len(piece)
                await self._tell()
        if asked.hexdigest() != digest.hex:
            raise RemoteError(f"{repository}: the other registry's blob {digest} has other content")
        await asyncio.to_thread(os.fsync, descriptor)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def begun(self) -> None:
        """Wait for the answer's head. Raises RemoteError."""
        await self._head.wait()
        if self._finished and self._error is not None:
            raise self._error

    async def finished(self) -> None:
        """Wait until the blob is stored. Raises RemoteError."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._finished)
        if self._error is not None:
            raise self._error

    async def follow(self, descriptor: int) -> AsyncIterator[bytes]:
        """Yield all of the file, open at `descriptor`, as it grows. Raises RemoteError, before the last bytes."""
        at = 0
        while True:
            async with self._changed:
                while not self._finished and self._received - _HELD_BACK <= at:
                    await self._changed.wait()
            # Whatever comes while pieces are yielded is looked at in the next round.
            finished = self._finished
            if finished and self._error is not None:
                raise self._error
            end = self._received if finished else self._received - _HELD_BACK
            while at < end:
                piece = await asyncio.to_thread(os.pread, descriptor, min(PIECE, end - at), at)
                at += len(piece)
                yield piece
            if finished:
                return


def _append(descriptor: int, data: bytes, hashers: Sequence[hashlib._Hash]) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    for hasher in hashers:
        hasher.update(data)


def _publish(blobs: BlobStore, path: Path, repository: str, digest: Digest, name: str) -> None:
    canonical = Digest("sha256", name)
    blobs.adopt(path, canonical)
    blobs.link(repository, canonical, canonical)
    if digest != canonical:
        blobs.link(repository, digest, canonical)
