"""One layer on its way in: its digest taken, decompressed, its diff id taken and unpacked, all while it comes.

The bytes go through one thread a layer (hashing and decompression leave the interpreter's lock) into the
pipe of an unpacking
worker. A download that broke off goes on into the same sink: nothing is kept twice. What was unpacked from
bytes that then
fail verification never becomes a layer; its directory is removed.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING

from sixhops.dockerd.images.layers import SPLIT
from sixhops.dockerd.images.unpacking import unpack
from sixhops.dockerd.images.unpacking.decompression import Decompression

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.linux.forkserver import ForkServer

__all__ = ["BlobSink", "UnpackError", "VerificationError"]

_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20


class VerificationError(Exception):
    """The blob is not what its digest says, or can't be unpacked."""


class UnpackError(VerificationError):
    """The tar can't be unpacked; the message is the engine's about the tar."""


class BlobSink:
    """Takes a layer's bytes; `finish` verifies, `commit` makes it a layer, `abandon` removes what is not one."""

    def __init__(self, layers: LayerStore, forks: ForkServer, digest: str) -> None:
        """`digest` is what the bytes must have, "" when nobody knows it yet."""
        self._layers = layers
        self._digest = digest
        self._blob = hashlib.sha256()
        self._tar = hashlib.sha256()
        self._plain = Decompression()
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
        self._pass_on(self._plain.feed(piece))
        if self._plain.damage:
            self._shut()

    def _pass_on(self, data: bytes) -> None:
        self._tar.update(data)
        left = memoryview(data)
        while left and self._pipe >= 0:
            try:
                left = left[os.write(self._pipe, left) :]
            except BrokenPipeError:
                self._shut()  # the worker has refused the tar; its report says why

    def _finish(self) -> int:
        with self._turn:
            self._pass_on(self._plain.finish())
            self._shut()
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
        if self._plain.damage:
            # what came of it made a whole tar, so the damage is all that is wrong
            raise UnpackError(f"Error processing tar file({self._plain.damage}): ")
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
