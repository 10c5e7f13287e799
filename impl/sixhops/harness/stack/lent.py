"""A registry of ours lent to an engine that runs already, when its configuration says where it would look for one.

An engine with `--registry-mirror http://127.0.0.1:PORT` pulls names without a host from a port of its own machine. Nobody
listens there until a run does: directly where the engine shares our network, through ssh (`-R`) where it doesn't.

    engine ── 127.0.0.1:PORT (its machine) ──[ssh]── tap ── registry.sock ── sixhops-registry
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sixhops.harness.errors import TargetError, UsageError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.programs import ROLES, find_reference
from sixhops.harness.tap.http.tap import HttpTap
from sixhops.harness.target import Address, RegistryAccess
from sixhops.linux import prctl
from sixhops.linux.inotify import DirectoryWatch
from sixhops.linux.namespaces import CLONE_NEWNET, open_namespace, set_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.harness.exchange import Json
    from sixhops.harness.tap.recorder import Recorder

__all__ = ["MIRROR_VARIABLE", "LentRegistry", "chosen_port", "listen_beside", "mirror_port"]

#: Says the port for an engine that does not tell of its mirrors (Podman keeps them in registries.conf).
MIRROR_VARIABLE = "SIXHOPS_MIRROR"

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 10.0


def chosen_port(environment: Mapping[str, str]) -> int | None:
    """Return the port that the user says, by `MIRROR_VARIABLE`; None without one. Raises UsageError: not a port."""
    text = environment.get(MIRROR_VARIABLE)
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise UsageError(f"{MIRROR_VARIABLE}={text}: not a port")
    return int(text)


def listen_beside(pid: int, port: int) -> socket.socket:
    """Return a socket that listens on `port` of the loopback that process `pid` sees. Raises OSError."""
    found: list[socket.socket | OSError] = []

    def enter() -> None:
        try:
            if not Path("/proc/thread-self/ns/net").samefile(f"/proc/{pid}/ns/net"):
                descriptor = open_namespace(f"/proc/{pid}/ns/net")
                try:
                    set_namespace(descriptor, CLONE_NEWNET)
                finally:
                    os.close(descriptor)
            found.append(socket.create_server(("127.0.0.1", port), backlog=128))
        except OSError as error:
            found.append(error)

    # A thread may be in another network than its process, and ends there.
    thread = threading.Thread(target=enter, name="listen-beside", daemon=True)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def mirror_port(info: Mapping[str, Json]) -> int | None:
    """Return the port of its loopback that an engine takes for a mirror of docker.io, by its GET /info; None for none."""
    configuration = info.get("RegistryConfig")
    mirrors = configuration.get("Mirrors") if isinstance(configuration, dict) else None
    for mirror in mirrors if isinstance(mirrors, list) else []:
        parts = urlsplit(str(mirror))
        if (
            parts.scheme == "http"
            and parts.hostname in {"127.0.0.1", "localhost"}
            and parts.path in {"", "/"}
        ):
            return parts.port or 80
    return None


class LentRegistry:
    """One registry process, with its storage and its socket in `directory`. Made by `start`; `close` ends it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._tap: HttpTap | None = None

    @classmethod
    def start(cls, directory: Path) -> LentRegistry:
        """Start it and wait until it listens. Raises TargetError: it has ended, or isn't ready in time."""
        directory.mkdir()
        registry = cls(directory)
        try:
            registry._run()
        except BaseException:
            registry.close()
            raise
        return registry

    def serve(self, listener: socket.socket, recorder: Recorder) -> None:
        """Serve what connects to `listener`, which becomes the tap's; the registry hop is recorded."""
        self._tap = HttpTap(listener, self._address, Hop.REGISTRY, recorder)
        self._tap.start()

    def access(self, port: int) -> RegistryAccess:
        """Return how steps reach it, and how the engine does: on `port` of its loopback. After `serve`."""
        assert self._tap is not None
        return RegistryAccess(
            direct=self._address,
            mirrored=True,
            prefix=f"127.0.0.1:{port}",
            set_faults=self._tap.set_faults,
            storage=self._directory / "storage",
        )

    def close(self) -> None:
        """Cut its connections and end it. May be called twice."""
        if self._tap is not None:
            self._tap.close()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def _address(self) -> Address:
        path = self._directory / "registry.sock"
        return Address(f"unix://{path}", unix=path)

    def _run(self) -> None:
        program = find_reference(ROLES["registry"])
        assert program is not None  # it is in the same package as this
        socket_path = self._directory / "registry.sock"
        configuration = self._directory / "registry.yml"
        # JSON is YAML
        configuration.write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "storage": {
                        "filesystem": {"rootdirectory": str(self._directory / "storage")},
                        "delete": {"enabled": True},
                    },
                    "http": {"net": "unix", "addr": str(socket_path)},
                    "compatibility": {"schema1": {"enabled": True}},
                }
            )
        )
        log = self._directory / "registry.log"
        command = [sys.executable, "-P", str(program), "serve", str(configuration)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # it must not outlive a killed run
                preexec_fn=lambda: prctl.die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - a system call, no lock
            )
        deadline = time.monotonic() + _START_TIMEOUT
        with DirectoryWatch(self._directory) as watch:
            while not _accepts(socket_path):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(errors="replace").strip().splitlines()
                    raise TargetError(
                        f"the registry for the engine did not start: {said[-1] if said else 'no word'}"
                    )
                # The file is there between bind(2) and listen(2), of which inotify tells nothing.
                select.select([watch.fileno()], [], [], 0.01 if socket_path.exists() else 0.2)
                watch.drain()


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
