"""Blobs from a registry: what is tried again, when, and what is final.

As dockerd 20.10 does it (moby, distribution/pull_v2.go and xfer; distribution, registry/client/transport): a layer
that can't be opened is asked for once more at once. After that, and after one that broke off, it waits five seconds
longer each time, says so, and goes on where it was; a registry that does not go on there is asked for all of it. A
configuration is asked for five times, with pauses that double. A blob that is not there is final, and so is a refusal.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sixhops.dockerd.errors import system
from sixhops.dockerd.images.transfer.progress import Meter, status_line
from sixhops.dockerd.images.transfer.refusals import BrokenOff, RemoteError, TooLong
from sixhops.dockerd.images.unpacking.blob import BlobSink, UnpackError, VerificationError
from sixhops.wire.image import DocumentError, digest_of, parse_config, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.dockerd.images.transfer.remote import Remote
    from sixhops.wire.image import Descriptor

__all__ = ["LayerDownload", "download_config"]

_CONFIG_ATTEMPTS: Final = 5
_CONFIG_PAUSE: Final = 0.25
_REFUSALS: Final = frozenset({"UNAUTHORIZED", "UNSUPPORTED", "DENIED"})


def _is_final(error: RemoteError) -> bool:
    without_reason = 400 <= error.status < 500 and not error.code
    refused = error.code in _REFUSALS and not error.bare
    return error.status == 404 or refused or without_reason


async def download_config(remote: Remote, descriptor: Descriptor) -> bytes:
    """Return a verified configuration. Raises EngineError."""
    attempt, pause = 1, _CONFIG_PAUSE
    while True:
        try:
            data = await _whole(remote, descriptor)
            break
        except TooLong:
            data = b""  # whatever it was, it is not what the digest says
            break
        except RemoteError as error:
            last = attempt == _CONFIG_ATTEMPTS
            if last or _is_final(error):
                # the engine counts one attempt too many when it gives up
                count = attempt + 1 if last else attempt
                raise system(
                    f"error pulling image configuration: download failed after attempts={count}: {error}"
                ) from error
        await asyncio.sleep(pause)
        attempt, pause = attempt + 1, pause * 2
    if digest_of(data) != descriptor.digest:
        raise system(
            f"error pulling image configuration: image config verification failed for digest {descriptor.digest}"
        )
    try:
        parse_config(data)
    except DocumentError as error:
        raise system(f"error pulling image configuration: {error}") from error
    return data


async def _whole(remote: Remote, descriptor: Descriptor) -> bytes:
    data = b""
    async for piece in remote.read_blob(descriptor.digest):
        data += piece
        if len(data) > descriptor.size:
            break
    return data


class LayerDownload:
    """One layer's way in. `sinks` gets every sink that is made, for whoever has to abandon what was not committed."""

    def __init__(
        self,
        remote: Remote,
        layer: Descriptor,
        emit: Emit,
        make_sink: Callable[[str], BlobSink],
        sinks: list[BlobSink],
        retry_delay: float,
        attempts: int,
    ) -> None:
        """`attempts` is how often the blob is tried again once it has failed, with longer pauses each time."""
        self._remote = remote
        self._layer = layer
        self._emit = emit
        self._make_sink = make_sink
        self._sinks = sinks
        self._retry_delay = retry_delay
        self._attempts = attempts
        self._identity = short(layer.digest)

    async def run(self) -> BlobSink:
        """Bring the layer and verify it; return its sink. Raises RemoteError, EngineError."""
        sink = self._begin()
        meter = Meter(self._emit, "Downloading", self._identity, self._layer.size)
        retries = 0
        while True:
            offset = sink.received
            try:
                await self._attempt(sink, meter)
                break
            except TooLong as error:
                # whatever it was, it is not what the digest says
                text = f"filesystem layer verification failed for digest {self._layer.digest}"
                raise system(text) from error
            except RemoteError as error:
                resumed = offset > 0 and not isinstance(error, BrokenOff)
                retries += 1
                if retries > self._attempts or (_is_final(error) and not resumed):
                    raise
            if resumed:
                await asyncio.to_thread(sink.abandon)
                sink = self._begin()
                meter = Meter(self._emit, "Downloading", self._identity, self._layer.size)
            await self._pause(retries)
        return await self._finish(sink)

    def _begin(self) -> BlobSink:
        sink = self._make_sink(self._layer.digest)
        self._sinks.append(sink)
        return sink

    async def _attempt(self, sink: BlobSink, meter: Meter) -> None:
        for first in (True, False):
            try:
                async for piece in self._remote.read_blob(self._layer.digest, sink.received):
                    await sink.write(piece)
                    meter.add(len(piece))
                return
            except RemoteError as error:
                if isinstance(error, BrokenOff | TooLong) or sink.received or not first:
                    raise

    async def _finish(self, sink: BlobSink) -> BlobSink:
        self._emit(status_line("Verifying Checksum", self._identity))
        try:
            size = await sink.finish()
        except UnpackError as error:
            raise system(f"failed to register layer: {error}") from error
        except VerificationError as error:
            raise system(str(error)) from error
        self._emit(status_line("Download complete", self._identity))
        Meter(self._emit, "Extracting", self._identity, sink.received).add(sink.received)
        sink.size = size
        return sink

    async def _pause(self, retries: int) -> None:
        """Wait longer after each failure, and say so every second as the engine does."""
        for left in range(int(self._retry_delay * retries), 0, -1):
            self._emit(status_line(f"Retrying in {left} second{'s' if left > 1 else ''}", self._identity))
            await asyncio.sleep(1)
