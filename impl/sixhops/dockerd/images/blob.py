"""One layer on its way in: its digest taken, decompressed, its diff id taken and unpacked, all while it comes.

The bytes go through one thread a layer (hashing and decompression leave the interpreter's lock) into the
pipe of an unpacking
worker. A download that broke off goes on into the same sink: nothing is kept twice. What was unpacked from
bytes that then
fail verification never becomes a layer; its directory is removed.
"""

from __future__ import annotations

import asyncio
import bz2
import fcntl
import hashlib
import json
import lzma
import os
import threading
import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard
from isal import igzip_lib, isal_zlib

from sixhops.dockerd.images import unpack
from sixhops.dockerd.images.layers import SPLIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.linux.forkserver import ForkServer

__all__ = ["BlobSink", "UnpackError", "VerificationError", "decompressed"]

_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20
# the package's stub declares the exception as an instance of Exception instead of a class
_GzipError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
_BZIP2_MAGIC = b"BZh"
_XZ_MAGIC = b"\xfd7zXZ\0"


#: What decompressors raise.
_DAMAGED: tuple[type[Exception], ...] = (_GzipError, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError)


class VerificationError(Exception):
    """The blob is not what its digest says, or can't be unpacked."""


class UnpackError(VerificationError):
    """The tar can't be unpacked; the message is the engine's about the tar."""


class _Decompressor(Protocol):
    def decompress(self, data: bytes) -> bytes: ...


class _Plain:
    """A tar that is not compressed."""

    def decompress(self, data: bytes) -> bytes:
        return data


class _Gzip:
    """Any number of gzip members after one another, as the format allows."""

    def __init__(self) -> None:
        self._member = isal_zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def decompress(self, data: bytes) -> bytes:
        out = bytearray()
        while data:
            if self._member.eof:
                self._member = isal_zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            out += self._member.decompress(data)
            data = self._member.unused_data if self._member.eof else b""
        return bytes(out)


class _Frames:
    """Any number of bzip2 or xz streams after one another."""

    def __init__(self, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._make = make
        self._stream = make()

    def decompress(self, data: bytes) -> bytes:
        out = bytearray()
        while data:
            if self._stream.eof:
                self._stream = self._make()
            out += self._stream.decompress(data)
            data = self._stream.unused_data if self._stream.eof else b""
        return bytes(out)


def _decompressor(head: bytes) -> _Decompressor:
    if head.startswith(_GZIP_MAGIC):
        return _Gzip()
    if head.startswith(_ZSTD_MAGIC):
        return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    if head.startswith(_BZIP2_MAGIC):
        return _Frames(bz2.BZ2Decompressor)
    if head.startswith(_XZ_MAGIC):
        return _Frames(lzma.LZMADecompressor)
    return _Plain()


async def decompressed(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give a stream's plain bytes, whatever it is compressed with; what can't be decompressed is given as it is."""
    decompress: _Decompressor | None = None
    async for piece in body:
        decompress = decompress or _decompressor(piece)
        try:
            data = await asyncio.to_thread(decompress.decompress, piece)
        except _DAMAGED:
            decompress, data = _Plain(), piece
        yield data


class BlobSink:
    """Takes a layer's bytes; `finish` verifies, `commit` makes it a layer, `abandon` removes what is not one."""

    def __init__(self, layers: LayerStore, forks: ForkServer, digest: str) -> None:
        """`digest` is what the bytes must have, "" when nobody knows it yet."""
        self._layers = layers
        self._digest = digest
        self._blob = hashlib.sha256()
        self._tar = hashlib.sha256()
        self._decompress: _Decompressor | None = None
        self._directory: Path | None = layers.begin()
        # a cancelled download leaves its last write running on a worker thread; the pipe must not be closed
        # under it
        self._turn = threading.Lock()
        self.received = 0
        self.size = 0
        source, self._pipe = os.pipe2(os.O_CLOEXEC)
        self._report, report = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(self._pipe, _F_SETPIPE_SZ, _PIPE)
        try:
            root = str(self._directory / "diff")
            split = str(self._directory / SPLIT)
            arguments = {"root": root, "split": split}
            self._worker: int | None = forks.fork(unpack.__name__, "work", arguments, (source, report))
        finally:
            os.close(source)
            os.close(report)

    @property
    def diff_id(self) -> str:
        """Return the digest of the tar; right once `finish` has returned."""
        return f"sha256:{self._tar.hexdigest()}"

    async def write(self, piece: bytes) -> None:
        """Take the next bytes. VerificationError when they can't be unpacked."""
        await asyncio.to_thread(self._write, piece)
        self.received += len(piece)

    async def finish(self) -> int:
        """Verify the whole; return the bytes of the layer's files. Raises VerificationError."""
        return await asyncio.to_thread(self._finish)

    def commit(self, chain_id: str, parent: str) -> None:
        """Register the layer; the sink has nothing to abandon any more."""
        assert self._directory is not None
        directory, self._directory = self._directory, None
        self._layers.commit(directory, chain_id, parent, self.diff_id, self.size)

    def abandon(self) -> None:
        """Stop the worker and remove what it unpacked, unless the layer was committed. May be called twice."""
        self._close_pipe()
        self._reap()
        if self._directory is not None:
            directory, self._directory = self._directory, None
            self._layers.abandon(directory)

    def _write(self, piece: bytes) -> None:
        with self._turn:
            self._take(piece)

    def _take(self, piece: bytes) -> None:
        self._blob.update(piece)
        if self._decompress is None:
            self._decompress = _decompressor(piece)
        try:
            data = self._decompress.decompress(piece)
        except _DAMAGED:
            # bytes that don't decompress are wrong bytes; the digest, taken at the end, says so in the
            # engine's words
            self._decompress = _Plain()
            self._shut()
            return
        self._tar.update(data)
        left = memoryview(data)
        while left and self._pipe >= 0:
            try:
                left = left[os.write(self._pipe, left) :]
            except BrokenPipeError:
                self._shut()  # the worker has refused the tar; its report says why

    def _finish(self) -> int:
        self._close_pipe()
        report = b""
        while piece := os.read(self._report, 1 << 16):
            report += piece
        self._reap()
        if self._digest and f"sha256:{self._blob.hexdigest()}" != self._digest:
            raise VerificationError(f"filesystem layer verification failed for digest {self._digest}")
        result = json.loads(report) if report else {"error": "the unpacking process ended without a word"}
        if "error" in result:
            how = result.get("how", "exit status 1")
            raise UnpackError(f"Error processing tar file({how}): {result['error']}")
        return int(result["size"])

    def _close_pipe(self) -> None:
        with self._turn:
            self._shut()

    def _shut(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _reap(self) -> None:
        if self._worker is not None:
            os.waitpid(self._worker, 0)
            self._worker = None
            os.close(self._report)
