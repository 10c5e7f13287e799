"""Checkpoints by way of containerd: a task's state as a blob of its content store, and as a directory of ours.

Source: libcontainerd's CreateCheckpoint and Start of moby 20.10, and the Checkpoint of containerd's own client.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tarfile
import tempfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.empty_pb2 import Empty

from sixhops.dockerd.containerd.channel import ContainerdError
from sixhops.dockerd.containerd.client import temporary_labels
from sixhops.wire.proto import content_pb2, runc_options_pb2, tasks_pb2, types_pb2
from sixhops.wire.proto.services import pack, service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import IO

    from sixhops.dockerd.containerd.client import Containerd

__all__ = ["MEDIA_TYPE", "restored_from", "save"]

MEDIA_TYPE: Final = "application/vnd.containerd.container.criu.checkpoint.criu.tar"
_TASKS: Final = service(tasks_pb2.DESCRIPTOR, "Tasks").methods
_CONTENT: Final = service(content_pb2.DESCRIPTOR, "Content").methods
_PIECE: Final = 1 << 20


class _Packed(NamedTuple):
    digest: str
    size: int


async def save(
    containerd: Containerd, identity: str, directory: Path, tell: Callable[[str], None], *, ends: bool
) -> None:
    """Write a running task's state into a directory; with `ends` it ends there.

    The task is frozen meanwhile, which `tell` is told of: `pause` and `unpause`. Raises ContainerdError and OSError.
    """
    lease = await containerd.create_lease(temporary_labels())
    try:
        request = tasks_pb2.CheckpointTaskRequest(container_id=identity)
        options = ProtoAny()
        pack(options, runc_options_pb2.CheckpointOptions(exit=ends))
        request.options.CopyFrom(options)
        await containerd.pause(identity)
        tell("pause")
        try:
            found = await containerd.channel.unary(
                _TASKS["Checkpoint"], request, tasks_pb2.CheckpointTaskResponse, lease=lease
            )
        finally:
            # with `ends` there may be nothing left to go on
            with contextlib.suppress(ContainerdError):
                await containerd.resume(identity)
                tell("unpause")
        for blob in found.descriptors:
            if blob.media_type == MEDIA_TYPE:
                with tempfile.TemporaryFile() as file:
                    await _fetch(containerd, blob.digest, blob.size, lease, file)
                    await asyncio.to_thread(_unpack, file, directory)
    finally:
        await containerd.delete_lease(lease, under=lease)


@contextlib.asynccontextmanager
async def restored_from(
    containerd: Containerd, directory: Path | None
) -> AsyncIterator[types_pb2.Descriptor | None]:
    """Give the blob that a task is to go on from, which is in the content store while the block runs; None for none.

    Raises ContainerdError and OSError.
    """
    if directory is None:
        yield None
        return
    lease = await containerd.create_lease(temporary_labels())
    try:
        with tempfile.TemporaryFile() as file:
            packed = await asyncio.to_thread(_pack, directory, file)
            await _store(containerd, packed, lease, file)
        try:
            yield types_pb2.Descriptor(media_type=MEDIA_TYPE, digest=packed.digest, size=packed.size)
        finally:
            # the lease would keep it no longer; dockerd removes it at once as well
            with contextlib.suppress(ContainerdError):
                await containerd.channel.unary(
                    _CONTENT["Delete"],
                    content_pb2.DeleteContentRequest(digest=packed.digest),
                    Empty,
                    lease=lease,
                )
    finally:
        await containerd.delete_lease(lease, under=lease)


async def _fetch(containerd: Containerd, digest: str, size: int, lease: str, file: IO[bytes]) -> None:
    request = content_pb2.ReadContentRequest(digest=digest, size=size)
    pieces = containerd.channel.stream(
        _CONTENT["Read"], request, content_pb2.ReadContentResponse, lease=lease
    )
    async for piece in pieces:
        await asyncio.to_thread(file.write, piece.data)


def _unpack(file: IO[bytes], directory: Path) -> None:
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        if hasattr(tarfile, "tar_filter"):
            archive.extractall(directory, filter="tar")
            return
        # Python 3.11 has filters since 3.11.4; until then, what is no plain file or directory below `directory` is refused.
        for member in archive:
            path = PurePosixPath(member.name)
            if not (member.isreg() or member.isdir()) or path.is_absolute() or ".." in path.parts:
                raise tarfile.TarError(f"{member.name!r} is no part of a checkpoint")
            archive.extract(member, directory)


def _pack(directory: Path, file: IO[bytes]) -> _Packed:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(directory.iterdir()):
            archive.add(path, path.name)
    size = file.tell()
    file.seek(0)
    return _Packed(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", size)  # type: ignore[arg-type] # IO has all of it


async def _store(containerd: Containerd, packed: _Packed, lease: str, file: IO[bytes]) -> None:
    request = content_pb2.WriteContentRequest
    call = containerd.channel.duplex(_CONTENT["Write"], lease=lease)
    file.seek(0)
    try:
        with containerd.channel.translated():
            await call.write(
                request(ref=f"checkpoint-{packed.digest}", total=packed.size, expected=packed.digest)
            )
            await call.read()
            offset = 0
            while piece := await asyncio.to_thread(file.read, _PIECE):
                await call.write(request(action=content_pb2.WRITE, offset=offset, data=piece))
                await call.read()
                offset += len(piece)
            await call.write(
                request(action=content_pb2.COMMIT, total=packed.size, expected=packed.digest, offset=offset)
            )
            await call.done_writing()
            while await call.read():
                pass  # containerd repeats its last answer before it closes the call
    except ContainerdError as error:
        if not error.is_already_there:
            raise
    finally:
        call.cancel()
