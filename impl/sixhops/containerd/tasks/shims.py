"""Shims: started, found again after a restart, and buried when they die.

Two ways to start one: a fork of our loaded shim (see the package's text), or the contract's `containerd-shim-X-vN start`
for any other program. After that they are the same: a ttrpc connection, a bundle, and a notice when the
connection ends. A shim that goes away before its task was deleted takes the container along: its `delete`
runs, and the end is published as status 137.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sixhops.containerd.errors import from_shim, unknown
from sixhops.containerd.tasks.bundles import Bundles, has_log
from sixhops.containerd.tasks.launcher import EMBEDDED, Launcher, Program
from sixhops.containerd.tasks.profiles import Profiles
from sixhops.containerd.tasks.reserve import AT_ONCE, PATIENCE
from sixhops.wire.proto import payloads_pb2, shim_v2_pb2
from sixhops.wire.proto.services import service
from sixhops.wire.ttrpc import aio
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from google.protobuf.message import Message

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.settings.config import Config
    from sixhops.containerd.tasks.workers import Workers

__all__ = ["Shim", "Shims"]

log = logging.getLogger(__name__)
TASK = service(shim_v2_pb2.DESCRIPTOR, "Task")
CONNECT_SECONDS = 20.0
SHUTDOWN_SECONDS = 3.0
#: The directory below a bundle's `work` for the checkpoint that a task goes on from.
IMAGE = "checkpoint"


@dataclass(slots=True, eq=False)
class Shim:
    """A shim that runs, and its task. `pid` is the container's first process."""

    namespace: str
    id: str
    bundle: Path
    program: Program
    address: str
    client: aio.Client
    pid: int = 0
    deleted: bool = False
    log: int = -1
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # nothing of it is left

    async def call(self, name: str, request: Message, seconds: float | None = None) -> Any:
        """Call a method of the task service; RpcError in containerd's words."""
        method = TASK.methods[name]
        try:
            reply = await self.client.call(TASK.name, name, request.SerializeToString(), timeout=seconds)
        except RpcError as error:
            if error.code is Code.UNAVAILABLE and self.client.closed.is_set():
                # the shim is gone; what is left of its task is cleaned up at this moment
                if name == "State":
                    raise RpcError(Code.NOT_FOUND, "not found") from error
                raise unknown("ttrpc: closed") from error
            raise from_shim(error) from error
        try:
            return method.response.FromString(reply)
        except DecodeError as error:
            raise unknown(f"shim's answer to {name}: {error}") from error


class Shims:
    """All shims by namespace and id."""

    def __init__(self, config: Config, bus: Bus, workers: Workers, runtime_module: str | None) -> None:
        self._bundles = Bundles(config)
        self._launcher = Launcher(config, workers, runtime_module)
        self._bus = bus
        self._profiles = Profiles(workers)
        self._runtime_module = runtime_module
        self._shims: dict[tuple[str, str], Shim] = {}
        self._starting: set[tuple[str, str]] = set()
        self._watches: set[asyncio.Task[None]] = set()

    def get(self, namespace: str, identifier: str) -> Shim | None:
        """Return the shim of a task, None without one."""
        return self._shims.get((namespace, identifier))

    def all(self, namespace: str) -> list[Shim]:
        """Return the shims of a namespace."""
        return [shim for shim in self._shims.values() if shim.namespace == namespace]

    def expect(self, namespace: str, identifier: str, runtime: str, spec: bytes) -> None:
        """Be told of a container that has been recorded: its task comes next, most often, and what it needs can be read."""
        self._launcher.expect(identifier, self._bundles.path(namespace, identifier), runtime, spec)
        self._bundles.expect(spec)

    async def create(
        self,
        namespace: str,
        identifier: str,
        runtime: str,
        spec: bytes,
        request: Any,
        image: Callable[[Path], Awaitable[None]] | None = None,
    ) -> Shim:
        """Make the bundle, start the shim and create the task. `request` lacks id and bundle.

        `image` fills a directory, which stays as long as the task, with the checkpoint that it is to go on from.
        RpcError ALREADY_EXISTS, or the shim's error with `failed to create shim task: ` in front; nothing is left then.
        """
        key = (namespace, identifier)
        if key in self._shims or key in self._starting:
            raise RpcError(Code.ALREADY_EXISTS, f"task {identifier}: already exists")
        program = self._launcher.resolve(runtime)
        self._starting.add(key)
        try:
            bundle = self._bundles.make(namespace, identifier, spec)
            try:
                if program.path is not None:
                    self._bundles.complete(namespace, identifier, program.path)
                if image is not None:
                    request.checkpoint = await self._lay_image(namespace, identifier, image)
                shim = await self._start(namespace, identifier, bundle, program, request.options)
            except BaseException:
                self._bundles.remove(namespace, identifier)
                raise
            request.id = identifier
            request.bundle = str(bundle)
            await self._create(shim, request)
            self._shims[key] = shim
        finally:
            self._starting.discard(key)
        self._watch(shim)
        if program.path is None:
            self._launcher.reserve.created(spec)
            if self._runtime_module:
                # its start comes first, most often
                asyncio.get_running_loop().call_later(PATIENCE, self._profiles.prepare, spec)
        return shim

    async def _create(self, shim: Shim, request: Any) -> None:
        """Have the shim create the task, and complete the bundle while it does. RpcError, and nothing is left."""
        refused: list[RpcError] = []

        def complete() -> None:
            try:
                self._bundles.complete(shim.namespace, shim.id, EMBEDDED, shim.address)
            except RpcError as error:
                refused.append(error)

        if shim.program.path is None:
            asyncio.get_running_loop().call_soon(complete)
        try:
            shim.pid = (await shim.call("Create", request)).pid
        except RpcError as error:
            refused.append(from_shim(error, "failed to create shim task"))
        if refused:
            shim.deleted = True
            await self._give_up(shim)
            raise refused[0]

    async def _lay_image(
        self, namespace: str, identifier: str, image: Callable[[Path], Awaitable[None]]
    ) -> str:
        # on the disk, as memory that a container has used is large
        place = self._bundles.work(namespace, identifier) / IMAGE
        place.mkdir(mode=0o700)
        await image(place)
        return str(place)

    async def start(self, shim: Shim, exec_id: str) -> int:
        """Start the task or a process that was added; return its pid."""
        pid: int = (await shim.call("Start", shim_v2_pb2.StartRequest(id=shim.id, exec_id=exec_id))).pid
        if not exec_id:
            shim.pid = pid  # one that goes on from a checkpoint had none yet
            self._launcher.reserve.started()
            asyncio.get_running_loop().call_later(AT_ONCE, self._bundles.refill)
        return pid

    async def _start(
        self, namespace: str, identifier: str, bundle: Path, program: Program, options: Any
    ) -> Shim:
        reader = self._open_log(bundle)
        try:
            address = await self._launcher.start(namespace, identifier, bundle, program, options)
            client = await aio.connect(address.removeprefix("unix://"))
        except BaseException:
            self._close_log(reader)
            raise
        return Shim(namespace, identifier, bundle, program, address, client, log=reader)

    # -- the shim's log

    def _open_log(self, bundle: Path) -> int:
        reader = os.open(bundle / "log", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

        def readable() -> None:
            try:
                data = os.read(reader, 1 << 16)
            except BlockingIOError:
                return
            sys.stderr.write(data.decode(errors="replace"))
            sys.stderr.flush()

        asyncio.get_running_loop().add_reader(reader, readable)
        return reader

    def _close_log(self, reader: int) -> None:
        if reader >= 0:
            asyncio.get_running_loop().remove_reader(reader)
            os.close(reader)

    # -- ending

    async def delete(self, shim: Shim) -> Any:
        """Delete the task, let the shim end and remove the bundle; return the shim's DeleteResponse."""
        try:
            response = await shim.call("Delete", shim_v2_pb2.DeleteRequest(id=shim.id))
        except RpcError as error:
            if shim.client.closed.is_set():
                raise RpcError(Code.UNKNOWN, "ttrpc: closed") from error
            if error.code is Code.NOT_FOUND:
                await self._dismiss(shim)
            raise
        shim.deleted = True
        await self._bury(shim)
        return response

    async def _give_up(self, shim: Shim) -> None:
        """After a failed Create: delete what there is, as upstream does, and let the shim end."""
        with contextlib.suppress(RpcError):
            await shim.call("Delete", shim_v2_pb2.DeleteRequest(id=shim.id), 5.0)
        await self._bury(shim)

    async def _dismiss(self, shim: Shim) -> None:
        """Let a shim end that has lost its container to somebody else; what is told is as if it had died, as upstream."""
        await self._shut_down(shim)
        try:
            await asyncio.wait_for(shim.client.closed.wait(), SHUTDOWN_SECONDS)
        except TimeoutError:
            await shim.client.close()
        await shim.gone.wait()

    async def _shut_down(self, shim: Shim) -> None:
        with contextlib.suppress(RpcError):
            await shim.call("Shutdown", shim_v2_pb2.ShutdownRequest(id=shim.id), SHUTDOWN_SECONDS)

    async def _bury(self, shim: Shim) -> None:
        await self._shut_down(shim)
        if shim.program.path is not None:
            # the contract wants `delete` after every task, not only after a crash
            await self._launcher.delete(shim.namespace, shim.id, shim.bundle, shim.program)
        self._forget(shim)

    def _forget(self, shim: Shim) -> None:
        if self._shims.get((shim.namespace, shim.id)) is shim:
            del self._shims[shim.namespace, shim.id]
        self._close_log(shim.log)
        shim.log = -1
        self._bundles.remove(shim.namespace, shim.id)
        shim.gone.set()

    def _watch(self, shim: Shim) -> None:
        task = asyncio.create_task(self._wait_for_end(shim))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def _wait_for_end(self, shim: Shim) -> None:
        await shim.client.closed.wait()
        if shim.deleted:
            return
        log.warning("shim disconnected: id=%s namespace=%s; cleaning up dead shim", shim.id, shim.namespace)
        await self._bury_dead(shim.namespace, shim.id, shim.bundle, shim.program, shim.pid)
        self._forget(shim)

    async def _bury_dead(
        self, namespace: str, identifier: str, bundle: Path, program: Program, pid: int
    ) -> None:
        response = await self._launcher.delete(namespace, identifier, bundle, program)
        response.pid = response.pid or pid
        exited = payloads_pb2.TaskExit(
            container_id=identifier, id=identifier, pid=response.pid, exit_status=response.exit_status
        )
        exited.exited_at.CopyFrom(response.exited_at)
        self._bus.publish(namespace, "/tasks/exit", exited)
        deleted = payloads_pb2.TaskDelete(
            container_id=identifier, pid=response.pid, exit_status=response.exit_status
        )
        deleted.exited_at.CopyFrom(response.exited_at)
        self._bus.publish(namespace, "/tasks/delete", deleted)

    # -- after a restart

    async def find_again(self) -> None:
        """Connect to every shim whose bundle is there; bury those that don't answer."""

        async def find(namespace: str, identifier: str, bundle: Path) -> None:
            try:
                await self._find(namespace, identifier, bundle)
            except (OSError, RpcError) as error:
                log.error("bundle %s: %s", bundle, error)

        self._bundles.sweep()
        await asyncio.gather(*(find(*found) for found in list(self._bundles.all())))

    async def _find(self, namespace: str, identifier: str, bundle: Path) -> None:
        path, address = _read(bundle / "shim-binary-path"), _read(bundle / "address")
        whole = bool(path and address)
        if not whole:
            # it need not have come as far as a shim; but a loaded one is asked before these are written
            path = path or EMBEDDED
            address = f"unix://{self._launcher.listens_at(namespace, identifier)}"
        program = Program(None if path == EMBEDDED else path)
        try:
            client = await aio.connect(address.removeprefix("unix://"))
        except OSError as error:
            if not whole:
                self._bundles.remove(namespace, identifier)
                return
            log.warning("shim of %s does not answer (%s); cleaning up", identifier, error)
            await self._bury_dead(namespace, identifier, bundle, program, 0)
            self._bundles.remove(namespace, identifier)
            return
        if not whole:
            self._bundles.complete(namespace, identifier, path, address)
        reader = self._open_log(bundle) if has_log(bundle) else -1
        shim = Shim(namespace, identifier, bundle, program, address, client, log=reader)
        request = shim_v2_pb2.ConnectRequest(id=identifier)
        self._shims[namespace, identifier] = shim
        self._watch(shim)
        try:
            shim.pid = (await shim.call("Connect", request, CONNECT_SECONDS)).task_pid
        except RpcError as error:
            # one that stands still is known all the same; one that has gone meanwhile is being buried
            log.warning("shim of %s: %s", identifier, error.message)

    async def close(self) -> None:
        """Let go of all shims; they go on."""
        self._launcher.reserve.close()
        for shim in list(self._shims.values()):
            shim.deleted = True  # not a death: it is we who leave
            await shim.client.close()
            self._close_log(shim.log)
        for task in self._watches:
            task.cancel()
        self._bundles.close()


def _read(path: Path) -> str:
    """Return a file's text, empty if there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
