"""One step of the OCI runtime: `create`, `start`, `kill`, `delete`, `exec`, ... run as a program of its own.

The command line is that of runc, flag for flag. There are two ways to run it, with the same arguments and
the same result: exec of the binary (any runtime), or a fork of this process that calls the loaded runtime's
`main(arguments)`. The second is taken only when the shim itself was forked from a parent that has the
runtime loaded; it spares the start of an interpreter. A step that waits for nobody spares the copy of our memory as
well (`linux.borrow`). Either way the runtime is a process that has gone when the step is done.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from sixhops.linux.borrow import can_borrow, run_borrowed
from sixhops.linux.clone import fork_plainly
from sixhops.linux.signals import DEFAULT, set_handler
from sixhops.shim.resident import DEFAULT_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.shim.loop import Loop
    from sixhops.shim.resident import Resident

__all__ = ["Runtime", "RuntimeFailedError", "RuntimeOptions"]

OUTPUT_LIMIT = 1 << 20  # bytes of what a step wrote that are read


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How the runtime is called.

    `binary`: name or path. `root`: its state directory, without the namespace. `module`: the loaded
    runtime's module for the forked way, None for exec.
    """

    binary: str
    root: str
    systemd_cgroup: bool = False
    no_pivot_root: bool = False
    no_new_keyring: bool = False
    criu_work_path: str = ""
    shim_cgroup: str = ""
    io_uid: int = 0
    io_gid: int = 0
    module: str | None = None


class RuntimeFailedError(Exception):
    """A step ended with a status other than 0. The text is what go-runc makes of it; `output` is what it
    wrote.
    """

    def __init__(self, binary: str, status: int, output: str) -> None:
        text = f"{binary} did not terminate successfully: exit status {status}"
        super().__init__(f"{text}: {output}" if output else text)
        self.status = status
        self.output = output


class Runtime:
    """The runtime of one container. `log` is the file that it writes JSON lines to; `resident` a process that waits."""

    def __init__(
        self,
        loop: Loop,
        options: RuntimeOptions,
        namespace: str,
        log: str,
        resident: Resident | None = None,
    ) -> None:
        self.options = options
        self._resident = resident
        self._loop = loop
        self._log = log
        self._globals = [
            "--root",
            f"{options.root}/{namespace}",
            "--log",
            log,
            "--log-format",
            "json",
        ]
        if options.systemd_cgroup:
            self._globals.append("--systemd-cgroup")

    async def run(
        self,
        arguments: Sequence[str],
        *,
        stdio: tuple[int, int, int] | None = None,
        stdin: bytes | None = None,
        at_once: bool = False,
    ) -> bytes:
        """Run one step to its end and return what it wrote to stdout and stderr together.

        `stdio` are descriptors that the container is to get; nothing is captured then. `stdin` is what the
        runtime itself reads. `at_once`: the step waits for nothing that we do, so we may stand still until it is done.
        RuntimeFailedError on another status than 0; OSError when the binary can't be
        started.
        """
        argv = [self.options.binary, *self._globals, *arguments]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        capture = os.memfd_create("runtime-output")
        feed = null
        try:
            if stdin is not None:
                feed = os.memfd_create("runtime-input")
                os.write(feed, stdin)
                os.lseek(feed, 0, os.SEEK_SET)
            streams = stdio or (feed, capture, capture)
            if at_once and self.options.module is not None and can_borrow():
                module = self.options.module
                status = run_borrowed(lambda: _step_at_once(module, argv, streams))
            else:
                status = await self._step(arguments[0], argv, streams)
            length = os.fstat(capture).st_size
            output = os.pread(capture, min(length, OUTPUT_LIMIT), 0) if length else b""
        finally:
            os.close(capture)
            os.close(null)
            if feed != null:
                os.close(feed)
        if status != 0:
            raise RuntimeFailedError(argv[0].rpartition("/")[2], status, output.decode(errors="replace"))
        return output

    async def _step(self, name: str, argv: list[str], stdio: tuple[int, int, int]) -> int:
        resident = self._resident
        if resident is not None and resident.takes(name):
            create = name == "create"
            status = await (
                resident.create(self._loop, argv, stdio) if create else resident.start(self._loop)
            )
            if status is not None:
                return status
        return (await self._loop.child(self._begin(argv, stdio))).status

    def _begin(self, argv: list[str], stdio: tuple[int, int, int]) -> int:
        if self.options.module is None:
            actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(stdio)]
            try:
                return os.posix_spawnp(
                    argv[0], argv, os.environ, file_actions=actions, setsigdef=DEFAULT_SIGNALS, setsigmask=()
                )
            except FileNotFoundError as error:
                if "/" in argv[0]:
                    raise OSError(f"fork/exec {argv[0]}: no such file or directory") from error
                raise OSError(f'exec: "{argv[0]}": executable file not found in $PATH') from error
            except OSError as error:
                raise OSError(f"fork/exec {argv[0]}: {(error.strerror or '').lower()}") from error
        pid = fork_plainly()
        if pid == 0:
            _step(self.options.module, argv, stdio)
        return pid

    def explain(self, prefix: str, error: Exception) -> str:
        """Return the message for a failed step: `prefix` and the last error in the runtime's log, as
        upstream does.
        """
        try:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            missing = f"open {self._log}: no such file or directory"
            return f"{prefix}: unable to retrieve OCI runtime error ({missing}): {error}"
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("level") == "error":
                return f"{prefix}: {str(entry.get('msg', '')).strip()}"
        return f"{prefix}: {error}"


def _step_at_once(module: str, argv: list[str], stdio: tuple[int, int, int]) -> int:
    """Be the runtime in a child in the shim's memory; return the exit status."""
    for number, descriptor in enumerate(stdio):
        os.dup2(descriptor, number)
    return int(importlib.import_module(module).main(argv[1:]) or 0)


def _step(module: str, argv: list[str], stdio: tuple[int, int, int]) -> NoReturn:
    """Be the runtime: in the forked child, with nothing open but 0, 1 and 2."""
    status = 1
    gc.disable()  # it would copy pages to free some that are freed in a moment anyway
    try:
        signal.set_wakeup_fd(-1)
        for ignored in DEFAULT_SIGNALS:
            set_handler(ignored, DEFAULT)
        high = [os.dup(descriptor) for descriptor in stdio]
        for number, descriptor in enumerate(high):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        status = int(importlib.import_module(module).main(argv[1:]) or 0)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process ends here either way; its output is in the error of the call
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
