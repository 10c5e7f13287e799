"""A stack's machine as steps use it that speak on the inner hops directly: programs run in its namespaces, and its unix
sockets, which nobody outside can name.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.programs import SYSTEM_PATH
from sixhops.harness.target import ShimAddress
from sixhops.linux.libc import LinuxError
from sixhops.linux.namespaces import CLONE_NEWNET, open_namespace, set_namespace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sixhops.harness.stack.sandbox import Sandbox

__all__ = ["StackMachine"]

_BUNDLES = "containerd-state/io.containerd.runtime.v2.task"
_SOCKET_PATH_LIMIT = 107
_CRIU_SECONDS = 20.0


class StackMachine:
    """What `target.Machine` says, for a stack in a sandbox; `containerd` is the socket that dockerd was given."""

    def __init__(self, sandbox: Sandbox, containerd: Path) -> None:
        self._sandbox = sandbox
        self.containerd = containerd
        self.cgroup = sandbox.cgroup
        self.directory = sandbox.directory / "steps"
        self._criu: str | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment of the stack's programs."""
        home = self._sandbox.directory
        return {"HOME": "/root", "PATH": f"{home}/bin:{SYSTEM_PATH}", "TMPDIR": f"{home}/tmp"}

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` on the machine."""
        return ["nsenter", f"--target={self._sandbox.init}", "--pid", "--mount", "--net", "--", *argv]

    def criu_problem(self) -> str:
        """Ask `criu check`, once; what it complains of differs from machine to machine, and is not in the answer."""
        if self._criu is None:
            self._criu = self._check_criu()
        return self._criu

    def _check_criu(self) -> str:
        try:
            done = subprocess.run(
                self.command(["criu", "check"]),
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=_CRIU_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"`criu check` did not end within {_CRIU_SECONDS:g} s"
        if done.returncode == 0:
            return ""
        if "failed to execute criu" in done.stderr:
            return "there is none on PATH"
        return "the one on PATH does not work on this kernel (see `criu check`)"

    def shim(self, namespace: str, container: str) -> ShimAddress:
        """Return what containerd's bundle says of the container's shim: `bootstrap.json` (containerd 2), or `address`."""
        state = self._sandbox.root / (self._sandbox.directory / _BUNDLES).relative_to("/")
        bundle = state / namespace / container
        try:
            if (bundle / "bootstrap.json").exists():
                found = json.loads((bundle / "bootstrap.json").read_text())
                if found.get("protocol") != "ttrpc":
                    raise TargetError(f"the shim of {container} speaks {found.get('protocol')}, not ttrpc")
                return ShimAddress(str(found["address"]), int(found["version"]))
            return ShimAddress((bundle / "address").read_text().strip())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TargetError(
                f"container {container} has no shim in the namespace {namespace}: {error}"
            ) from error

    def connect(self, address: str, timeout: float) -> socket.socket:
        """Return a connection to a unix socket of the machine."""
        name = address.removeprefix("unix://").removeprefix("unix:")
        try:
            if name.startswith(("@", "\0")):
                return self._connect_abstract("\0" + name[1:], timeout)
            return self._connect_path(name, timeout)
        except (OSError, LinuxError) as error:
            raise TargetError(f"can't connect to {address}: {error.strerror or error}") from error

    def _connect_path(self, name: str, timeout: float) -> socket.socket:
        # By the directory's descriptor: the path seen from outside may be longer than an address can be.
        place = self._sandbox.root / name.lstrip("/")
        above = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _connected(f"/proc/self/fd/{above}/{place.name}", timeout)
        finally:
            os.close(above)

    def _connect_abstract(self, name: str, timeout: float) -> socket.socket:
        """Connect from a thread that goes into the machine's network, to which abstract names belong."""
        found: list[socket.socket | OSError] = []

        def enter() -> None:
            try:
                descriptor = open_namespace(f"/proc/{self._sandbox.init}/ns/net")
                try:
                    set_namespace(descriptor, CLONE_NEWNET)
                finally:
                    os.close(descriptor)
                found.append(_connected(name, timeout))
            except OSError as error:
                found.append(error)

        thread = threading.Thread(target=enter, name="abstract-socket", daemon=True)
        thread.start()
        thread.join()
        if isinstance(found[0], OSError):
            raise found[0]
        return found[0]


def _connected(name: str, timeout: float) -> socket.socket:
    if len(os.fsencode(name)) > _SOCKET_PATH_LIMIT:
        raise OSError(None, f"the address is longer than {_SOCKET_PATH_LIMIT} bytes")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(timeout)
        connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection
