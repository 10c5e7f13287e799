"""A container's files from outside: export, changes, and the archives of `docker cp`. Forked processes do the work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd import metrics
from sixhops.dockerd.containers.rootfs import treework
from sixhops.dockerd.containers.specification import user
from sixhops.dockerd.errors import EngineError, not_found, system
from sixhops.linux.libc import LinuxError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.linux.forkserver import ForkServer

__all__ = ["Trees"]

_PIECE = 1 << 18
_MISSING = 404
_LONGEST_REPORT = 64 << 20


class _Worker:
    """A forked process and the engine's end of its socket.

    What it is fed goes by a descriptor of its own (`input`): on the transport's, a write that fails would take with it
    what the worker has said before it ended.
    """

    def __init__(
        self, pid: int, feed: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._pid = pid
        self.input = feed
        self._reader = reader
        self._writer = writer

    def close(self) -> None:
        """Close the engine's end."""
        self._writer.close()
        self.input.close()

    async def report(self) -> dict[str, Any]:
        """Return what it says first. Raises EngineError 500 when it died before."""
        line = await self._reader.readline()
        if not line:
            raise system("the process that looks at the container's files ended without a word")
        document: dict[str, Any] = json.loads(line)
        return document

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what follows the report. Raises EngineError 500 at its end when the worker failed."""
        while piece := await self._reader.read(_PIECE):
            yield piece
        if await self.end():
            raise system("the process that reads the container's files failed")

    async def end(self, *, kill: bool = False) -> int:
        """Reap it, once; return its status."""
        pid, self._pid = self._pid, 0
        if not pid:
            return 0
        if kill:
            os.kill(pid, signal.SIGKILL)  # ours and not reaped yet: the number can't be another's
        _pid, status = await asyncio.to_thread(os.waitpid, pid, 0)
        return os.waitstatus_to_exitcode(status)


class Trees:
    """The files of one engine's containers."""

    def __init__(
        self, find: Callable[[str], Held], layers: LayerStore, helpers: ForkServer, events: Events
    ) -> None:
        """`find` gives a container by id, name or beginning of an id, or raises EngineError 404."""
        self._find = find
        self._layers = layers
        self._helpers = helpers
        self._events = events

    @contextlib.asynccontextmanager
    async def export(self, text: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give a container's whole root as a tar, in pieces. Raises EngineError."""
        held = self._find(text)
        async with self._working("export", held, {}) as worker:
            await worker.report()
            self._tell(held, "export")
            yield worker.pieces()

    @contextlib.asynccontextmanager
    async def layer(self, held: Held) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give what a container has changed as the tar of an image's layer, in pieces. Raises EngineError."""
        layer = self._layers.writable(held.container.layer)
        async with self._working("layer", held, {"upper": layer.upper}) as worker:
            await worker.report()
            yield worker.pieces()

    async def changes(self, text: str) -> list[dict[str, Any]] | None:
        """Return where a container's root differs from its image, None for nowhere. Raises EngineError."""
        held = self._find(text)
        layer = self._layers.writable(held.container.layer)
        arguments = {"upper": layer.upper, "layers": str(Path(layer.upper).parents[1])}
        timed = metrics.CONTAINER_ACTIONS.timed("changes")
        async with self._working("changes", held, arguments) as worker:
            with timed:
                found: list[dict[str, Any]] = (await worker.report())["changes"]
        return found or None

    async def stat(self, text: str, path: str) -> str:
        """Return the path-stat header of a path. Raises EngineError 404 and 500."""
        held = self._find(text)
        async with self._working("stat_path", held, self._view(held) | {"path": path}) as worker:
            return str(_checked(await worker.report(), text, path)["stat"])

    @contextlib.asynccontextmanager
    async def read(self, text: str, path: str) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Give the path-stat header of a path, and the path as a tar, in pieces. Raises EngineError 404 and 500."""
        held = self._find(text)
        async with self._working("get", held, self._view(held) | {"path": path}) as worker:
            header = str(_checked(await worker.report(), text, path)["stat"])
            self._tell(held, "archive-path")
            yield header, worker.pieces()

    @contextlib.asynccontextmanager
    async def copy(self, text: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give what a path leads to as a tar, in pieces: how clients before API 1.20 copy. Raises EngineError 404, 500."""
        held = self._find(text)
        async with self._working("copy", held, self._view(held) | {"path": path}) as worker:
            _checked(await worker.report(), text, path)
            self._tell(held, "copy")
            yield worker.pieces()

    async def write(
        self, text: str, path: str, body: AsyncIterator[bytes], *, keep_kind: bool, own: bool
    ) -> None:
        """Unpack a tar into a directory; `own`: as the container's user. Raises EngineError 404 and 500."""
        held = self._find(text)
        arguments = self._view(held) | {
            "path": path,
            "keep_kind": keep_kind,
            "owner": None,
            "readonly": held.container.host_config["ReadonlyRootfs"],
            "volumes": [(point.destination, point.writable) for point in _shown(held)],
        }
        async with self._working("put", held, arguments, own=own) as worker:
            report = asyncio.ensure_future(worker.report())
            feeding = asyncio.ensure_future(_feed(body, worker.input))
            try:
                # a report before the end of the body is a refusal: the rest is not worth reading
                await asyncio.wait({report, feeding}, return_when=asyncio.FIRST_COMPLETED)
                if feeding.done() and not feeding.cancelled() and feeding.exception() is not None:
                    await feeding
                _checked(await report, text, path)
            finally:
                for task in (feeding, report):
                    task.cancel()
                await asyncio.gather(feeding, report, return_exceptions=True)
        self._tell(held, "extract-to-dir")

    @contextlib.asynccontextmanager
    async def _working(
        self, function: str, held: Held, arguments: dict[str, Any], *, own: bool = False
    ) -> AsyncIterator[_Worker]:
        """Mount the root and run a worker on it; whatever happens, it ends and the root is given back."""
        layer = held.container.layer
        try:
            merged = await asyncio.to_thread(self._layers.hold, layer)
        except (LinuxError, OSError) as error:
            raise system(f"the root of container {held.container.id} can't be mounted: {error}") from error
        try:
            if own:
                name = held.container.config["User"]
                identity = await asyncio.to_thread(user.resolve, merged, name, ())
                arguments = arguments | {"owner": (identity.uid, identity.gid)}
            worker = await self._fork(function, arguments | {"merged": merged})
            try:
                yield worker
            finally:
                worker.close()
                await asyncio.shield(worker.end(kill=True))
        finally:
            await asyncio.shield(asyncio.to_thread(self._layers.release, layer))

    async def _fork(self, function: str, arguments: dict[str, Any]) -> _Worker:
        ours, theirs = socket.socketpair()
        try:
            pid = self._helpers.fork(treework.__name__, function, arguments, (theirs.fileno(),))
        finally:
            theirs.close()
        feed = ours.dup()
        feed.setblocking(False)
        return _Worker(pid, feed, *await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_REPORT))

    def _view(self, held: Held) -> dict[str, Any]:
        """Return the mounts that a container sees, outermost first."""
        found = [(point.source, point.destination) for point in _shown(held)]
        files = held.files
        taken = {destination for _source, destination in found}
        for path, destination in (
            (files.hostname, "/etc/hostname"),
            (files.hosts, "/etc/hosts"),
            (files.resolv_conf, "/etc/resolv.conf"),
        ):
            if path.exists() and destination not in taken:
                found.append((str(path), destination))
        return {"mounts": sorted(found, key=lambda pair: pair[1].count("/"))}

    def _tell(self, held: Held, action: str) -> None:
        self._events.emit("container", action, held.container.id, held.container.attributes)


def _shown(held: Held) -> list[Any]:
    points = [point for point in held.container.mounts if point.source and Path(point.source).exists()]
    return sorted(points, key=lambda point: -point.destination.count("/"))


def _checked(report: dict[str, Any], text: str, path: str) -> dict[str, Any]:
    if "error" not in report:
        return report
    if report["status"] == _MISSING:
        raise not_found(f"Could not find the file {path} in container {text}")
    raise EngineError(report["status"], report["error"])


async def _feed(body: AsyncIterator[bytes], feed: socket.socket) -> None:
    """Pass a request's body on. A worker that wants no more of it has said why."""
    loop = asyncio.get_running_loop()
    async for piece in body:
        try:
            await loop.sock_sendall(feed, piece)
        except (BrokenPipeError, ConnectionResetError):
            return
    with contextlib.suppress(OSError):
        feed.shutdown(socket.SHUT_WR)
