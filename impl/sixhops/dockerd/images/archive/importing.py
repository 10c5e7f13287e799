"""The import: a tar of a whole file system, sent by the client or fetched from an address, becomes an image of one layer."""

from __future__ import annotations

import asyncio
import http
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from sixhops.dockerd import gourl
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.images.configuration import changes as change_lines
from sixhops.dockerd.images.configuration.children import imported
from sixhops.dockerd.images.transfer.progress import Meter
from sixhops.dockerd.images.transfer.refusals import go_words
from sixhops.dockerd.images.unpacking.blob import BlobSink, VerificationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sixhops.dockerd.images.store import Image, ImageStore
    from sixhops.dockerd.images.transfer.progress import Emit
    from sixhops.linux.forkserver import ForkServer

__all__ = ["ImportRequest", "import_image"]

_PIECE: Final = 1 << 18
#: How much of a refusal is repeated to the user.
_LONGEST_REFUSAL: Final = 4096
_FAULTS: Final = {401: 401, 403: 403, 404: 404, 409: 409}


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is asked: `source` is `-` for the request's body, or an address; `changes` are instructions."""

    source: str
    message: str
    changes: Sequence[str]
    architecture: str
    system: str = "linux"


async def import_image(
    request: ImportRequest, body: AsyncIterator[bytes], store: ImageStore, forks: ForkServer, emit: Emit
) -> Image:
    """Make an image; return it. Raises EngineError, and then nothing of it is left."""
    if request.system != "linux":
        raise invalid("operating system is not supported")
    config = change_lines.apply({}, request.changes)
    source = request.source
    if source != "-":
        source = source if "://" in source else f"http://{source}"
        body = _fetched(source, emit)
    sink = BlobSink(store.layers, forks, "")
    try:
        async for piece in body:
            await sink.write(piece)
        try:
            sink.size = await sink.finish()
        except VerificationError as error:
            raise system(str(error)) from error
        data = imported(
            config,
            sink.diff_id,
            architecture=request.architecture,
            system=request.system,
            message=request.message or f"Imported from {source}",
            now=time.time_ns(),
        )
        with store.layers.claims() as claim:
            claim(sink.diff_id)
            sink.commit(sink.diff_id, "")
            return store.add(data)
    finally:
        await asyncio.to_thread(sink.abandon)


async def _fetched(address: str, emit: Emit) -> AsyncIterator[bytes]:
    """Give what is at an address, saying how far it is. Raises EngineError."""
    _check(address)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    headers = {"User-Agent": "Go-http-client/1.1"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers, auto_decompress=False) as session:
        try:
            response = await session.get(address)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise system(go_words("Get", address, error)) from error
        async with response:
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise await _refused(address, response)
            emit({"status": f"Downloading from {address}"})
            meter = Meter(emit, "Importing", "", response.content_length or -1)
            try:
                async for piece in response.content.iter_chunked(_PIECE):
                    meter.add(len(piece))
                    yield piece
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise system("unexpected EOF") from error
            meter.end()
            emit({})


def _check(address: str) -> None:
    """Refuse what is no address, in Go's words. Raises EngineError 400 and 500."""
    try:
        url = gourl.parse(address)
    except gourl.GoUrlError as error:
        raise invalid(str(error)) from error
    if url.scheme not in {"http", "https"}:
        raise system(f'Get {quote(address)}: unsupported protocol scheme "{url.scheme}"')
    if not url.host:
        # Go prints the address without the slashes that nothing follows
        raise system(f'Get "{url.scheme}:{url.path}": http: no Host in request URL')


async def _refused(address: str, response: aiohttp.ClientResponse) -> EngineError:
    text = (await response.content.read(_LONGEST_REFUSAL)).decode("utf-8", "replace").rstrip("\n")
    reason = http.HTTPStatus(response.status).phrase if response.status in _PHRASES else response.reason
    message = f"failed to GET {address} with status {response.status} {reason}: {text}"
    is_fault = response.status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    return EngineError(_FAULTS.get(response.status, 400) if is_fault else 500, message)


_PHRASES: Final = frozenset(int(status) for status in http.HTTPStatus)
