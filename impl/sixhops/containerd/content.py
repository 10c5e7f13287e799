"""Blobs on disk: an ingest is a directory with what has arrived so far; a commit renames its data to the digest.

    blobs/sha256/<hex>             finished, synced, never changed
    ingest/<sha256 of ref>/        ref, data, startedat, total

Which namespace may see a blob is in the database; the file is shared by all. A crash leaves at most an ingest that can be
resumed, or a blob without a record, which garbage collection removes. A file under `blobs` is always whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.containerd.errors import already_exists, failed_precondition, not_found, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ContentStore", "Ingest", "Writer"]

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Ingest:
    """The state of an ingest: `offset` bytes are there of `total` (0: unknown); times are seconds since 1970."""

    ref: str
    offset: int
    total: int
    started: float
    updated: float


class ContentStore:
    """The directory. Refs are unique over namespaces: callers prefix them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs"
        self._ingests = root / "ingest"
        self._locked: dict[str, float] = {}
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

    def remove(self, digest: str) -> None:
        """Remove a blob; an absent one is fine."""
        self.path(digest).unlink(missing_ok=True)

    def _directory(self, ref: str) -> Path:
        return self._ingests / hashlib.sha256(ref.encode()).hexdigest()

    def status(self, ref: str) -> Ingest | None:
        """Return the state of an ingest, None when there is none."""
        return self._status(self._directory(ref))

    def statuses(self) -> list[Ingest]:
        """Return the state of every ingest."""
        found = (self._status(directory) for directory in sorted(self._ingests.iterdir()))
        return [status for status in found if status is not None]

    def _status(self, directory: Path) -> Ingest | None:
        try:
            facts = (directory / "data").stat()
            return Ingest(
                ref=(directory / "ref").read_text(),
                offset=facts.st_size,
                total=int((directory / "total").read_text() or 0),
                started=float((directory / "startedat").read_text()),
                updated=facts.st_mtime,
            )
        except FileNotFoundError:
            return None

    def abort(self, ref: str) -> bool:
        """Drop an ingest; return whether there was one."""
        directory = self._directory(ref)
        if not directory.exists():
            return False
        shutil.rmtree(directory)
        return True

    def writer(self, ref: str, total: int) -> Writer:
        """Begin or resume an ingest; UNAVAILABLE while another writer has it."""
        if ref in self._locked:
            since = time.time() - self._locked[ref]
            shown = ref.partition("/")[2]
            raise unavailable(f"ref {shown} locked for {since:.3f}s (since {self._locked[ref]:.0f})")
        directory = self._directory(ref)
        if self._status(directory) is None:
            directory.mkdir(exist_ok=True)
            (directory / "ref").write_text(ref)
            (directory / "startedat").write_text(repr(time.time()))
            (directory / "total").write_text(str(total))
            (directory / "data").touch()
        status = self._status(directory)
        assert status is not None
        self._locked[ref] = time.time()
        return Writer(self, directory, status)

    def release(self, ref: str) -> None:
        """Let another writer have `ref`."""
        self._locked.pop(ref, None)


@dataclass(slots=True)
class Writer:
    """An open ingest. The digest of what is there is kept up while writing."""

    store: ContentStore
    directory: Path
    begun: Ingest
    offset: int = 0
    _file: int = -1
    _hash: object = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self._file = os.open(self.directory / "data", os.O_RDWR | os.O_CLOEXEC)
        while data := os.read(self._file, CHUNK):
            self._hash.update(data)  # type: ignore[attr-defined] # hashlib's objects have no public type
            self.offset += len(data)

    @property
    def digest(self) -> str:
        """The digest of the bytes so far."""
        return f"sha256:{self._hash.hexdigest()}"  # type: ignore[attr-defined]

    def truncate(self) -> None:
        """Drop what has been written."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self.offset = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append bytes; OSError when the disk is full (what was written stays)."""
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self._hash.update(view[:written])  # type: ignore[attr-defined]
            self.offset += written
            view = view[written:]

    async def commit(self, size: int, expected: str) -> str:
        """Finish: check size (0: any) and digest (empty: any), sync, rename. Return the digest.

        FAILED_PRECONDITION when they differ (the ingest is dropped then), ALREADY_EXISTS when the blob is there.
        """
        digest = self.digest
        if size and size != self.offset:
            self.drop()
            raise failed_precondition(f"unexpected commit size {self.offset}, expected {size}")
        if expected and expected != digest:
            self.drop()
            raise failed_precondition(f"unexpected commit digest {digest}, expected {expected}")
        await asyncio.to_thread(os.fsync, self._file)
        target = self.store.path(digest)
        if target.exists():
            self.drop()
            raise already_exists(f"content {digest}")
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
        self.close()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def missing(digest: str) -> Exception:
    """Return the error for a blob that isn't there."""
    return not_found(f"content digest {digest}")
