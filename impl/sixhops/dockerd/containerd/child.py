"""A containerd of the engine's own, for when --containerd names none: started as a child, started again when it dies.

Files as dockerd lays them out: the socket and the configuration below EXEC_ROOT/containerd, data in
DATA_ROOT/containerd/daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from pathlib import Path

from sixhops.dockerd.errors import system

__all__ = ["ContainerdChild"]

_log = logging.getLogger(__name__)

_PROGRAMS = ("sixhops-containerd", "containerd")
_RESTART_DELAY = 10.0
_PATIENCE = 10.0


class ContainerdChild:
    """The child, and the task that watches it."""

    def __init__(
        self, data: Path, run: Path, log_level: str, *, program: str = "", delay: float = _RESTART_DELAY
    ) -> None:
        """`data` and `run`: directories for what survives and what does not survive a boot.

        `program` is looked for unless named; `delay` is how long after its end it is started again, in seconds.
        """
        self._data = data
        self._run = run
        self._log_level = log_level
        self._program = program
        self._delay = delay
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Return the path of its socket."""
        return str(self._run / "containerd.sock")

    async def start(self) -> None:
        """Start it. Raises EngineError 500 when there is no such program."""
        self._data.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._run.mkdir(mode=0o711, parents=True, exist_ok=True)
        quoted = {
            "root": json.dumps(str(self._data / "daemon")),
            "state": json.dumps(str(self._run / "daemon")),
            "address": json.dumps(self.address),
        }
        (self._run / "containerd.toml").write_text(
            "version = 2\n"
            f"root = {quoted['root']}\nstate = {quoted['state']}\n"
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f"[grpc]\n  address = {quoted['address']}\n"
        )
        await self._end_former()
        await self._launch()
        self._watch = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End it, and wait until it has ended."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._pidfile.unlink(missing_ok=True)

    @property
    def _pidfile(self) -> Path:
        return self._run / "containerd.pid"

    @property
    def _configuration(self) -> str:
        return str(self._run / "containerd.toml")

    async def _end_former(self) -> None:
        """End the child of an engine that was killed: it holds what the new one needs."""
        try:
            pid = int(self._pidfile.read_text())
            words = _words_of(pid)
            descriptor = os.pidfd_open(pid)
        except (OSError, ValueError):
            return
        try:
            if self._configuration.encode() not in words:
                return  # the number is another program's by now
            loop = asyncio.get_running_loop()
            ended: asyncio.Future[None] = loop.create_future()
            loop.add_reader(descriptor, _settle, ended)
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await ended
            except TimeoutError:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                loop.remove_reader(descriptor)
        finally:
            os.close(descriptor)

    async def _launch(self) -> None:
        program = self._program or _find()
        if program is None:
            raise system("failed to start containerd: there is no containerd on PATH")
        self._process = await asyncio.create_subprocess_exec(
            program,
            "--config",
            self._configuration,
            "--log-level",
            self._log_level,
            stdin=asyncio.subprocess.DEVNULL,
        )
        self._pidfile.write_text(str(self._process.pid))
        _log.info("libcontainerd: started new containerd process")

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            status = await self._process.wait()
            _log.error("containerd did not exit successfully (status %d)", status)
            await asyncio.sleep(self._delay)
            launch = asyncio.create_task(self._launch())
            try:
                with contextlib.suppress(OSError):
                    await asyncio.shield(launch)
            except asyncio.CancelledError:
                # Whoever stops us must find the process that has begun by now, or nobody would end it.
                await asyncio.wait([launch])
                raise


def _words_of(pid: int) -> list[bytes]:
    """Return a process's command line. Raises OSError when there is none."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _find() -> str | None:
    own = Path(sys.executable).parent / _PROGRAMS[0]
    if own.exists():
        return str(own)
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return found
    return None
