"""Starting a shim and ending one: by a fork of our loaded shim (see the package's text), or by the contract's
`containerd-shim-X-vN start` and `delete` for any other program.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from sixhops.containerd.metadata.stamps import set_now
from sixhops.containerd.tasks.bundles import HIDDEN, TASKS
from sixhops.containerd.tasks.reserve import Reserve
from sixhops.wire.proto import shim_v2_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from sixhops.containerd.settings.config import Config
    from sixhops.containerd.tasks.workers import Workers

__all__ = ["EMBEDDED", "Launcher", "Program"]

log = logging.getLogger(__name__)
SOCKETS = Path("/run/containerd/s")
OUR_RUNTIME = "io.containerd.sixhops.v1"
#: Which runtimes the loaded shim serves, by the configuration's `shim`.
EMBEDDABLE = {
    "auto": (OUR_RUNTIME,),
    "embedded": (OUR_RUNTIME, "io.containerd.runc.v1", "io.containerd.runc.v2"),
    "exec": (),
}
EMBEDDED = "embedded"  # what shim-binary-path says of a shim that has no binary
SHIM_MODULE = "sixhops.shim.server"
DELETE_MODULE = "sixhops.shim.main"
START_SECONDS = 20.0
DELETE_SECONDS = 30.0
RESOLVING = "failed to start shim: failed to resolve runtime path"


@dataclass(frozen=True, slots=True)
class Program:
    """Which shim serves a runtime: `path` of its binary, None for the loaded one."""

    path: str | None


class Launcher:
    """Starts and ends shims of either kind."""

    def __init__(self, config: Config, workers: Workers, runtime_module: str | None) -> None:
        self._config = config
        self._workers = workers
        self.reserve = Reserve(workers, runtime_module, config.state / TASKS / f"{HIDDEN}dry-run")
        self._runtime_module = runtime_module
        workers.prepare(SHIM_MODULE, "prepare_here", {})

    def resolve(self, runtime: str) -> Program:
        """Return the program for a runtime's name; RpcError UNKNOWN when its binary is neither on PATH nor beside ours."""
        if runtime.startswith("/"):
            if not Path(runtime).exists():
                text = f"invalid custom binary path: stat {runtime}: no such file or directory"
                raise RpcError(Code.UNKNOWN, f"{RESOLVING}: {text}")
            return Program(runtime)
        parts = runtime.split(".")
        if len(parts) < 2 or not parts[0]:
            text = (
                f"invalid runtime name {runtime}, correct runtime name should be either format like "
                "`io.containerd.runc.v1` or a full path to the binary"
            )
            raise RpcError(Code.UNKNOWN, f"{RESOLVING}: {text}")
        if runtime in EMBEDDABLE[self._config.shim]:
            return Program(None)
        name = f"containerd-shim-{parts[-2]}-{parts[-1]}"
        found = shutil.which(name) or _beside_us(name)
        if found is None:
            text = f'runtime "{runtime}" binary not installed "{name}": file does not exist'
            raise RpcError(Code.UNKNOWN, f"{RESOLVING}: {text}")
        return Program(found)

    def expect(self, identifier: str, bundle: Path, runtime: str, spec: bytes) -> None:
        """Be told of a container whose task may come next, so that what is to be read can be read."""
        if runtime in EMBEDDABLE[self._config.shim]:
            self.reserve.foretell(str(bundle), identifier, spec)

    async def start(
        self, namespace: str, identifier: str, bundle: Path, program: Program, options: Any
    ) -> str:
        """Start the shim of a bundle; return the address of its socket. RpcError UNKNOWN when it won't start.

        A program's is noted in the bundle, which is complete.
        """
        if program.path is None:
            return await self._fork(namespace, identifier, bundle)
        return await self._exec(namespace, identifier, bundle, program.path, options)

    def listens_at(self, namespace: str, identifier: str) -> Path:
        """Return where the loaded shim of a container listens, if it has one."""
        digest = hashlib.sha256(str(self._config.address / namespace / identifier).encode()).hexdigest()
        return SOCKETS / digest

    async def _fork(self, namespace: str, identifier: str, bundle: Path) -> str:
        """Take the shim in reserve, or fork one. Its socket listens before it exists, so that nobody has to wait for it."""
        path = self.listens_at(namespace, identifier)
        debug = self._config.level in ("debug", "trace")
        shown = ["/usr/bin/containerd-shim-sixhops-v1", "-namespace", namespace, "-id", identifier]
        shown += ["-address", str(self._config.address)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            try:
                listener.bind(str(path))
            except OSError:  # the first one here, or what is left of one before it
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
                path.unlink(missing_ok=True)
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
            if not self.reserve.take(arguments, listener.fileno()):
                await self._workers.start(SHIM_MODULE, "run_forked", arguments, [listener.fileno()])
        return f"unix://{path}"

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
            raise RpcError(Code.UNKNOWN, f"failed to start shim: start failed: {error}") from error
        if status != 0:
            text = (output + errors).decode(errors="replace").strip()
            raise RpcError(Code.UNKNOWN, f"failed to start shim: start failed: {text}: exit status {status}")
        address = output.decode().strip()
        if address.startswith("{"):  # the newer contract answers with a document
            address = str(json.loads(address).get("address", ""))
        (bundle / "address").write_text(address)
        return address

    async def delete(self, namespace: str, identifier: str, bundle: Path, program: Program) -> Any:
        """Run the shim's `delete`; return its DeleteResponse, or one that says 255 when it failed."""
        fallback = shim_v2_pb2.DeleteResponse(exit_status=255)
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


def _beside_us(name: str) -> str | None:
    """Return the program of that name in the directory of our own, None without one."""
    path = Path(sys.argv[0]).resolve().parent / name
    return str(path) if os.access(path, os.X_OK) else None


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
