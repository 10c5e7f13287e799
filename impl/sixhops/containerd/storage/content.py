"""Blobs on disk: an ingest is a directory with what has arrived so far; a commit renames its data to the digest.

    blobs/sha256/<hex>             finished, synced, never changed
    ingest/<sha256 of ref>/        ref, data, startedat, total

Which namespace may see a blob or an ingest is in the database; the files are shared by all. A crash or a full disk
leaves at most an ingest that can be resumed, or a blob without a record, which garbage collection removes. A file
under `blobs` is always whole: its data was synced before it got its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.containerd.errors import failed_precondition, not_found, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ContentStore", "Ingest", "Writer", "missing"]

CHUNK = 1 << 20
LOCK_SECONDS = 0.5  # a second writer waits so long for the first to end


@dataclass(frozen=True, slots=True)
class Ingest:
    """The state of an ingest: `offset` bytes are there of `total` (0: unknown); times are seconds since 1970."""

    ref: str
    offset: int
    total: int
    started: float
    updated: float


@dataclass(slots=True)
class _Lock:
    since: float
    released: asyncio.Event = field(default_factory=asyncio.Event)


class ContentStore:
    """The directory. Refs are unique over namespaces: callers prefix them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs"
        self._ingests = root / "ingest"
        self._locks: dict[str, _Lock] = {}
        self._arriving: Counter[str] = Counter()
        for path in (self._blobs / "sha256", self._ingests):
            path.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Return where the blob `digest` (checked by the caller) is or would be."""
        algorithm, _, encoded = digest.partition(":")
        return self._blobs / algorithm / encoded

    def size(self, digest: str) -> int | None:
        """Return the size of a finished blob, None when there is none."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def digests(self) -> Iterator[str]:
        """Yield the digests of all finished blobs."""
        for algorithm in self._blobs.iterdir():
            for blob in algorithm.iterdir():
                yield f"{algorithm.name}:{blob.name}"

    @contextlib.contextmanager
    def arriving(self, digest: str) -> Iterator[None]:
        """Keep a blob that has its name before its record is written: nobody may take it for one without a record."""
        self._arriving[digest] += 1
        try:
            yield
        finally:
            self._arriving[digest] -= 1
            self._arriving += Counter()  # without those that are down to nothing

    def is_arriving(self, digest: str) -> bool:
        """Tell whether a blob is about to get a record."""
        return digest in self._arriving

    def remove(self, digest: str) -> None:
        """Remove a blob; an absent one is fine."""
        self.path(digest).unlink(missing_ok=True)

    def _directory(self, ref: str) -> Path:
        return self._ingests / hashlib.sha256(ref.encode()).hexdigest()

    def status(self, ref: str) -> Ingest | None:
        """Return the state of an ingest, None when there is none."""
        return _status(self._directory(ref))

    def refs(self) -> list[str]:
        """Return the refs of all ingests that are not being written."""
        found = (_status(directory) for directory in self._ingests.iterdir())
        return [status.ref for status in found if status is not None and status.ref not in self._locks]

    def abort(self, ref: str) -> None:
        """Drop an ingest; an absent one is fine."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory(ref))

    async def writer(self, ref: str, total: int) -> Writer:
        """Begin or resume an ingest; UNAVAILABLE while another writer has it.

        One that was begun for another `total` begins anew; what had been written is there until the first write.
        """
        await self._lock(ref)
        try:
            directory = self._directory(ref)
            status = _status(directory)
            differs = status is not None and total > 0 and status.total > 0 and status.total != total
            if status is None or differs:
                directory.mkdir(exist_ok=True)
                (directory / "ref").write_text(ref)
                (directory / "startedat").write_text(repr(time.time()))
                (directory / "total").write_text(str(total))
                (directory / "data").touch()
                status = _status(directory)
                assert status is not None
            if status.offset <= CHUNK:
                return Writer(self, directory, status, fresh=differs)
            return await asyncio.to_thread(Writer, self, directory, status, fresh=differs)
        except BaseException:
            self.release(ref)
            raise

    async def _lock(self, ref: str) -> None:
        held = self._locks.get(ref)
        if held is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(held.released.wait(), LOCK_SECONDS)
            held = self._locks.get(ref)
        if held is not None:
            since = dt.datetime.fromtimestamp(held.since, dt.UTC)
            raise unavailable(f"ref {ref} locked for {time.time() - held.since:.3f}s (since {since})")
        self._locks[ref] = _Lock(time.time())

    def release(self, ref: str) -> None:
        """Let another writer have `ref`."""
        lock = self._locks.pop(ref, None)
        if lock is not None:
            lock.released.set()


def _status(directory: Path) -> Ingest | None:
    try:
        facts = (directory / "data").stat()
        return Ingest(
            ref=(directory / "ref").read_text(),
            offset=facts.st_size,
            total=int((directory / "total").read_text()),
            started=float((directory / "startedat").read_text()),
            updated=facts.st_mtime,
        )
    except (FileNotFoundError, ValueError):
        return None  # not begun, or not wholly: a crash or a full disk came between


@dataclass(slots=True)
class Writer:
    """An open ingest. The digest of what is there is kept up while writing.

    `fresh`: digest and offset begin at nothing although there are bytes, which the first write goes over.
    """

    store: ContentStore
    directory: Path
    begun: Ingest
    fresh: bool = False
    offset: int = 0
    _file: int = -1
    _hash: object = field(default_factory=hashlib.sha256)
    _digest: str = ""

    def __post_init__(self) -> None:
        self._file = os.open(self.directory / "data", os.O_RDWR | os.O_CLOEXEC)
        while not self.fresh and (data := os.read(self._file, CHUNK)):
            self._hash.update(data)  # type: ignore[attr-defined] # hashlib's objects have no public type
            self.offset += len(data)

    @property
    def digest(self) -> str:
        """The digest of the bytes so far."""
        return self._digest or f"sha256:{self._hash.hexdigest()}"  # type: ignore[attr-defined]

    def truncate(self) -> None:
        """Drop what has been written."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self.offset = 0
        self.fresh = False
        self._digest = ""
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append bytes; OSError when the disk is full (what was written stays)."""
        if self.fresh:
            self.truncate()
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self._hash.update(view[:written])  # type: ignore[attr-defined]
            self.offset += written
            view = view[written:]

    def fileno(self) -> int:
        """Return the data's descriptor, for a process that writes in this one's place; `written` must follow."""
        return self._file

    def written(self, digest: str, size: int) -> None:
        """Take note of what another process has written, from the beginning on."""
        self._digest = digest
        self.offset = size

    async def commit(self, expected: str) -> str:
        """Finish: check the digest (empty: any), sync, rename. Return the digest.

        FAILED_PRECONDITION when it differs: the ingest stays. That the blob is there already, from another namespace
        or writer, is fine. OSError when the disk can't take it.
        """
        digest = self.digest
        if self.fresh:
            self.truncate()
        await asyncio.to_thread(os.fsync, self._file)
        if expected and expected != digest:
            self.close()
            raise failed_precondition(f"unexpected commit digest {digest}, expected {expected}")
        target = self.store.path(digest)
        if not target.exists():
            os.fchmod(self._file, 0o444)
            (self.directory / "data").rename(target)
            await asyncio.to_thread(_sync_directory, target.parent)
        self.drop()
        return digest

    def close(self) -> None:
        """Stop writing; the ingest stays for another writer."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self.store.release(self.begun.ref)

    def drop(self) -> None:
        """Stop writing and forget the ingest."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory)
        self.close()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def missing(digest: str) -> Exception:
    """Return the error for a blob that isn't there."""
    return not_found(f"content digest {digest}")
