"""Shims: started, found again after a restart, and buried when they die.

Two ways to start one: a fork of our loaded shim (see the package's text), or the contract's `containerd-shim-X-vN start`
for any other program. After that they are the same: a ttrpc connection, a bundle, and a notice when the
connection ends. A shim that goes away before its task was deleted takes the container along: its `delete`
runs, and the end is published as status 137.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shutil
import socket
import stat
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sixhops.containerd.errors import from_shim, invalid_argument, unknown
from sixhops.containerd.stamps import set_now
from sixhops.wire.proto import payloads_pb2, shim_v2_pb2
from sixhops.wire.proto.services import service
from sixhops.wire.ttrpc import aio
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sixhops.containerd.bus import Bus
    from sixhops.containerd.config import Config
    from sixhops.containerd.workers import Workers

__all__ = ["Program", "Shim", "Shims"]

log = logging.getLogger(__name__)
TASK = service(shim_v2_pb2.DESCRIPTOR, "Task")
SOCKETS = Path("/run/containerd/s")
TASKS = "io.containerd.runtime.v2.task"
OUR_RUNTIME = "io.containerd.sixhops.v1"
EMBEDDED = "embedded"  # what shim-binary-path says of a shim that has no binary
SHIM_MODULE = "sixhops.shim.server"
DELETE_MODULE = "sixhops.shim.main"
PREPARE_MODULE = "sixhops.runc.api"
PROFILES = 16  # filters that the loaded runtime keeps; as many are remembered here
START_SECONDS = 20.0
DELETE_SECONDS = 30.0
SHUTDOWN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Program:
    """Which shim serves a runtime: `path` of its binary, None for the loaded one."""

    path: str | None


@dataclass(slots=True, eq=False)
class Shim:
    """A shim that runs, and its task. `pid` is the container's first process."""

    namespace: str
    id: str
    bundle: Path
    program: Program
    client: aio.Client
    pid: int = 0
    deleted: bool = False
    log: int = -1
    execs: set[str] = field(default_factory=set)

    async def call(self, name: str, request: Message, seconds: float | None = None) -> Any:
        """Call a method of the task service; RpcError in containerd's words."""
        method = TASK.methods[name]
        try:
            reply = await self.client.call(TASK.name, name, request.SerializeToString(), timeout=seconds)
        except RpcError as error:
            raise from_shim(error) from error
        try:
            return method.response.FromString(reply)
        except DecodeError as error:
            raise unknown(f"shim's answer to {name}: {error}") from error


class Shims:
    """All shims by namespace and id."""

    def __init__(self, config: Config, bus: Bus, workers: Workers, runtime_module: str | None) -> None:
        self._config = config
        self._bus = bus
        self._workers = workers
        self._runtime_module = runtime_module
        self._shims: dict[tuple[str, str], Shim] = {}
        self._starting: set[tuple[str, str]] = set()
        self._watches: set[asyncio.Task[None]] = set()
        self._prepared: deque[bytes] = deque(maxlen=PROFILES)

    def get(self, namespace: str, identifier: str) -> Shim | None:
        """Return the shim of a task, None without one."""
        return self._shims.get((namespace, identifier))

    def all(self, namespace: str) -> list[Shim]:
        """Return the shims of a namespace."""
        return [shim for shim in self._shims.values() if shim.namespace == namespace]

    # -- starting

    def resolve(self, runtime: str) -> Program:
        """Return the program for a runtime's name; RpcError UNKNOWN when its binary is not on PATH."""
        if runtime.startswith("/"):
            return Program(runtime)
        parts = runtime.split(".")
        if len(parts) < 3 or not all(parts):
            text = f"failed to start shim: failed to resolve runtime path: invalid runtime name {runtime}"
            raise invalid_argument(
                f"{text}, correct runtime name should be either format like `io.containerd.runc.v2` "
                "or a full path to the binary"
            )
        if self._config.shim == "embedded" or (self._config.shim == "auto" and runtime == OUR_RUNTIME):
            return Program(None)
        name = f"containerd-shim-{parts[-2]}-{parts[-1]}"
        found = shutil.which(name)
        if found is None:
            text = f'runtime "{runtime}" binary not installed "{name}": file does not exist'
            raise unknown(f"failed to start shim: failed to resolve runtime path: {text}")
        return Program(found)

    async def create(self, namespace: str, identifier: str, runtime: str, spec: bytes, request: Any) -> Shim:
        """Make the bundle, start the shim and create the task. `request` lacks id and bundle.

        RpcError ALREADY_EXISTS, or the shim's error with `failed to create shim task: ` in front; nothing is left then.
        """
        key = (namespace, identifier)
        if key in self._shims or key in self._starting:
            raise RpcError(Code.ALREADY_EXISTS, f"task {identifier}: already exists")
        program = self.resolve(runtime)
        self._starting.add(key)
        try:
            bundle = self._make_bundle(namespace, identifier, spec, program)
            try:
                shim = await self._start(namespace, identifier, bundle, program, request.options)
            except BaseException:
                self._remove_bundle(namespace, identifier)
                raise
            request.id = identifier
            request.bundle = str(bundle)
            try:
                shim.pid = (await shim.call("Create", request)).pid
            except RpcError as error:
                shim.deleted = True
                await self._give_up(shim)
                raise from_shim(error, "failed to create shim task") from error
            self._shims[key] = shim
        finally:
            self._starting.discard(key)
        self._watch(shim)
        if program.path is None and self._runtime_module:
            self._prepare(spec)
        return shim

    def _prepare(self, spec: bytes) -> None:
        """Have the loaded runtime compile a seccomp profile that is new to it, for the containers to come.

        That takes longer than all else that `create` does, and most containers of a machine share one profile.
        """
        document = json.loads(spec)  # which the runtime has understood, as there is a container now
        profile = {"linux": {"seccomp": (document.get("linux") or {}).get("seccomp")}}
        if not profile["linux"]["seccomp"]:
            return
        profile["ociVersion"] = document["ociVersion"]
        config = json.dumps(profile)
        digest = hashlib.sha256(config.encode()).digest()
        if digest not in self._prepared:
            self._prepared.append(digest)
            self._workers.prepare(PREPARE_MODULE, "prepare_here", {"config": config})

    def _paths(self, namespace: str, identifier: str) -> tuple[Path, Path]:
        return (
            self._config.state / TASKS / namespace / identifier,
            self._config.root / TASKS / namespace / identifier,
        )

    def _make_bundle(self, namespace: str, identifier: str, spec: bytes, program: Program) -> Path:
        bundle, work = self._paths(namespace, identifier)
        try:
            for path in (bundle, work):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
                shutil.rmtree(path, ignore_errors=True)  # what a crash left; no task of that id is known
                path.mkdir(mode=0o700)
            (bundle / "work").symlink_to(work)
            (bundle / "rootfs").mkdir(mode=0o711)
            (bundle / "config.json").write_bytes(spec)
            (bundle / "shim-binary-path").write_text(program.path or EMBEDDED)
            os.mkfifo(bundle / "log", 0o700)
        except OSError as error:
            raise RpcError(Code.UNKNOWN, str(error)) from error
        return bundle

    def _remove_bundle(self, namespace: str, identifier: str) -> None:
        for path in self._paths(namespace, identifier):
            shutil.rmtree(path, ignore_errors=True)

    async def _start(
        self, namespace: str, identifier: str, bundle: Path, program: Program, options: Any
    ) -> Shim:
        reader = self._open_log(bundle)
        try:
            if program.path is None:
                address = await self._fork(namespace, identifier, bundle)
            else:
                address = await self._exec(namespace, identifier, bundle, program.path, options)
            client = await aio.connect(address.removeprefix("unix://"))
        except BaseException:
            self._close_log(reader)
            raise
        return Shim(namespace, identifier, bundle, program, client, log=reader)

    async def _fork(self, namespace: str, identifier: str, bundle: Path) -> str:
        """Fork the loaded shim. Its socket listens before it exists, so that nobody has to wait for it."""
        digest = hashlib.sha256(str(self._config.address / namespace / identifier).encode()).hexdigest()
        path = SOCKETS / digest
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.unlink(missing_ok=True)
        address = f"unix://{path}"
        debug = self._config.level in ("debug", "trace")
        shown = ["/usr/bin/containerd-shim-sixhops-v1", "-namespace", namespace, "-id", identifier]
        shown += ["-address", str(self._config.address)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(128)
            arguments = {
                "namespace": namespace,
                "id": identifier,
                "address": str(self._config.address),
                "events": str(self._config.ttrpc),
                "arguments": [*shown, "-debug"] if debug else shown,
                "socket": str(path),
                "debug": debug,
                "default_binary": self._config.runtime,
                "module": self._runtime_module,
                "bundle": str(bundle),
            }
            self._workers.start(SHIM_MODULE, "run_forked", arguments, [listener.fileno()])
        (bundle / "address").write_text(address)
        return address

    def _command(self, namespace: str, identifier: str, program: str) -> list[str]:
        own = shutil.which("containerd") or sys.argv[0]
        command = [program, "-namespace", namespace, "-address", str(self._config.address)]
        return [*command, "-publish-binary", own, "-id", identifier]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "GOMAXPROCS": "2", "TTRPC_ADDRESS": str(self._config.ttrpc)}

    async def _exec(self, namespace: str, identifier: str, bundle: Path, path: str, options: Any) -> str:
        command = self._command(namespace, identifier, path)
        if self._config.level in ("debug", "trace"):
            command.append("-debug")
        data = options.SerializeToString() if options.type_url else b""
        try:
            status, output, errors = await _run(
                [*command, "start"], bundle, self._environment(), data, START_SECONDS
            )
        except (OSError, TimeoutError) as error:
            raise unknown(f"failed to start shim: start failed: {error}") from error
        if status != 0:
            text = (output + errors).decode(errors="replace").strip()
            raise unknown(f"failed to start shim: start failed: {text}: exit status {status}")
        address = output.decode().strip()
        if address.startswith("{"):  # the newer contract answers with a document
            address = str(json.loads(address).get("address", ""))
        (bundle / "address").write_text(address)
        return address

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
        response = await shim.call("Delete", shim_v2_pb2.DeleteRequest(id=shim.id))
        shim.deleted = True
        await self._bury(shim)
        return response

    async def _give_up(self, shim: Shim) -> None:
        """After a failed Create: delete what there is, as upstream does, and let the shim end."""
        with contextlib.suppress(RpcError):
            await shim.call("Delete", shim_v2_pb2.DeleteRequest(id=shim.id), 5.0)
        await self._bury(shim)

    async def _bury(self, shim: Shim) -> None:
        with contextlib.suppress(RpcError):
            await shim.call("Shutdown", shim_v2_pb2.ShutdownRequest(id=shim.id), SHUTDOWN_SECONDS)
        if shim.program.path is not None:
            # the contract wants `delete` after every task, not only after a crash
            await self._run_delete(shim.namespace, shim.id, shim.bundle, shim.program)
        self._forget(shim)

    def _forget(self, shim: Shim) -> None:
        if self._shims.get((shim.namespace, shim.id)) is shim:
            del self._shims[shim.namespace, shim.id]
        self._close_log(shim.log)
        shim.log = -1
        self._remove_bundle(shim.namespace, shim.id)

    async def _run_delete(self, namespace: str, identifier: str, bundle: Path, program: Program) -> Any:
        """Run the shim's `delete`; return its DeleteResponse, or one that says 137 when it failed."""
        fallback = shim_v2_pb2.DeleteResponse(exit_status=137)
        set_now(fallback.exited_at)
        if program.path is None:
            output = await self._delete_forked(namespace, identifier, bundle)
        else:
            command = self._command(namespace, identifier, program.path)
            command += ["-bundle", str(bundle), "delete"]
            try:
                status, output, errors = await _run(command, bundle, self._environment(), b"", DELETE_SECONDS)
            except (OSError, TimeoutError) as error:
                log.error("cleanup of shim %s: %s", identifier, error)
                return fallback
            if status != 0:
                log.error(
                    "cleanup of shim %s: exit status %d: %s",
                    identifier,
                    status,
                    errors.decode(errors="replace"),
                )
                return fallback
        try:
            return shim_v2_pb2.DeleteResponse.FromString(output) if output else fallback
        except DecodeError as error:
            log.error("cleanup of shim %s: %s", identifier, error)
            return fallback

    async def _delete_forked(self, namespace: str, identifier: str, bundle: Path) -> bytes:
        words = ["-namespace", namespace, "-id", identifier, "-address", str(self._config.address)]
        arguments = {"words": [*words, "-bundle", str(bundle), "delete"], "directory": str(bundle)}
        return await self._workers.run(DELETE_MODULE, "main_forked", arguments)

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
        response = await self._run_delete(namespace, identifier, bundle, program)
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
        for namespace in sorted((self._config.state / TASKS).glob("*")):
            for bundle in sorted(namespace.iterdir()):
                try:
                    await self._find(namespace.name, bundle.name, bundle)
                except (OSError, RpcError) as error:
                    log.error("bundle %s: %s", bundle, error)

    async def _find(self, namespace: str, identifier: str, bundle: Path) -> None:
        try:
            path = (bundle / "shim-binary-path").read_text()
            address = (bundle / "address").read_text()
        except FileNotFoundError:
            self._remove_bundle(namespace, identifier)  # it had not come as far as a shim
            return
        program = Program(None if path == EMBEDDED else path)
        try:
            client = await aio.connect(address.removeprefix("unix://"))
        except OSError as error:
            log.warning("shim of %s does not answer (%s); cleaning up", identifier, error)
            await self._bury_dead(namespace, identifier, bundle, program, 0)
            self._remove_bundle(namespace, identifier)
            return
        reader = self._open_log(bundle) if _is_fifo(bundle / "log") else -1
        shim = Shim(namespace, identifier, bundle, program, client, log=reader)
        request = shim_v2_pb2.ConnectRequest(id=identifier)
        shim.pid = (await shim.call("Connect", request, START_SECONDS)).task_pid
        self._shims[namespace, identifier] = shim
        self._watch(shim)

    async def close(self) -> None:
        """Let go of all shims; they go on."""
        for shim in list(self._shims.values()):
            shim.deleted = True  # not a death: it is we who leave
            await shim.client.close()
            self._close_log(shim.log)
        for task in self._watches:
            task.cancel()


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except FileNotFoundError:
        return False


async def _run(
    command: list[str], directory: Path, environment: dict[str, str], data: bytes, seconds: float
) -> tuple[int, bytes, bytes]:
    """Run a program to its end; return status, stdout and stderr. TimeoutError after `seconds`, and it is killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(data), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise TimeoutError(f"{command[0]} {command[-1]} did not end within {seconds:g} s") from None
    return process.returncode or 0, output, errors
