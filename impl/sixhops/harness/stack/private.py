"""A stack that we start: the programs of each role in a private machine, the taps on its hops, its orderly
end.

engine tap (unix, for clients under test) ─┐
harness ── engine.sock ── dockerd ── containerd.sock ── containerd ── shim ── runc
                            │
            registry tap (TCP in the machine's network, socket handed out to the harness)
                            │
                      registry.sock ── registry
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import signal
import socket
import time
from typing import TYPE_CHECKING

import httpx

from sixhops.harness.errors import TargetError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.facts import engine_client, read_facts
from sixhops.harness.stack.host import LocalHost
from sixhops.harness.stack.logs import last_lines, log_marks, log_since
from sixhops.harness.stack.programs import SYSTEM_PATH, locate, make_bin, parse_stack
from sixhops.harness.stack.sandbox import Sandbox
from sixhops.harness.stack.state import base_directory, create, sweep
from sixhops.harness.tap.http import HttpTap
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address, Host, RegistryAccess, TargetFacts
from sixhops.linux.inotify import DirectoryWatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sixhops.harness.stack.options import StackOptions

__all__ = ["PrivateStack"]

_LOG_LINES = 15
_NO_TAP = "sixhops has no tap for this hop yet"


class PrivateStack:
    """A `Target` whose programs are ours to start and stop. Made by `start`."""

    #: Nobody else uses this engine: whatever appears in it or on its host is a scenario's.
    private = True
    facts: TargetFacts
    registry: RegistryAccess | None

    def __init__(self, name: str, directory: Path | None, options: StackOptions) -> None:
        """Find the programs of stack `name`; nothing runs yet. Raises UsageError."""
        self._name = name
        self._origins = parse_stack(name)
        self._programs = locate(self._origins)
        self._options = options
        sweep(base_directory())
        home = create(base_directory())
        self._home = home.path
        self._sandbox = Sandbox.start(home, name=name, keep=options.keep_state)
        self.directory = directory if directory is not None else home.path / "logs"
        self.recorder = Recorder()
        self.host: Host | None = LocalHost(self._sandbox.init, self._sandbox.cgroup)
        self.engine = Address(f"unix://{home.path}/engine.sock", unix=home.path / "engine.sock")
        self.registry = None
        self._logs: dict[str, Path] = {}
        self._expected_exits: set[str] = set()
        self._registry_tap: HttpTap | None = None
        self._engine_tap: HttpTap | None = None
        self._left: list[str] | None = None

    @classmethod
    def start(cls, name: str, *, directory: Path | None, options: StackOptions) -> PrivateStack:
        """Start stack `name` and wait until its engine answers.

        Raises UsageError (no such stack, program missing), TargetError (a program ended or wasn't ready in
        time).
        """
        stack = cls(name, directory, options)
        try:
            stack._start_programs()
        except BaseException:
            stack.abandon()
            raise
        return stack

    @property
    def sandbox(self) -> Sandbox:
        """The private machine that the stack runs in."""
        return self._sandbox

    def docker_argv(self) -> Sequence[str] | None:
        """Return the docker client of the stack, with an empty configuration of its own; None when not
        installed.
        """
        if "docker" not in self._programs:
            return None
        bin_directory = self._home / "bin"
        client = (
            bin_directory / "docker" if self._origins["docker"] == "reference" else self._programs["docker"]
        )
        return [str(client), "--config", str(self._home / "docker-config")]

    def engine_tap(self) -> Address | None:
        """Return the address for clients under test; what they say to the engine is recorded on the engine
        hop.
        """
        path = self._home / "tap.sock"
        address = Address(f"unix://{path}", unix=path)
        if self._engine_tap is None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(128)
            self._engine_tap = HttpTap(listener, self.engine, Hop.ENGINE, self.recorder)
            self._engine_tap.start()
        return address

    def check_alive(self) -> None:
        """Raise TargetError when a program of the stack has ended, with its status and last log lines."""
        for name, status in self._sandbox.exits().items():
            if name not in self._expected_exits:
                raise self._ended(name, status)
        if not self._sandbox.alive():
            raise TargetError(f"stack {self._name}: the private machine has gone, and every program with it")

    def log_marks(self) -> dict[str, int]:
        """Return the present length of each program's log."""
        return log_marks(self._logs)

    def log_since(self, marks: dict[str, int], lines: int = 20) -> dict[str, str]:
        """Return the last `lines` lines that each program has logged since `marks`."""
        return log_since(self._logs, marks, lines)

    def close(self) -> list[str]:
        """Stop the programs in order, then the machine; return what didn't go as it should, or is left. May
        be called again.
        """
        if self._left is None:
            self._left = self._stop_programs()
            self._left += self.abandon()
        return self._left

    def abandon(self) -> list[str]:
        """End everything at once, without asking the programs; return what is left of it."""
        for tap in (self._registry_tap, self._engine_tap):
            if tap is not None:
                tap.close()
        return self._sandbox.close()

    def kill(self, role: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a daemon of the stack (dockerd, containerd, registry). Raises TargetError."""
        self._sandbox.signal(role, number)

    def _start_programs(self) -> None:
        home = self._home
        (home / "tmp").mkdir()
        (home / "docker-config").mkdir()
        self.directory.mkdir(parents=True, exist_ok=True)
        make_bin(home / "bin", self._origins, self._programs)
        listener = self._sandbox.listen()
        port = listener.getsockname()[1]
        with contextlib.ExitStack() as undo:
            undo.callback(listener.close)
            # containerd and the registry come up side by side, since neither knows of the other.
            self._start_containerd()
            self._start_registry()
            registry_socket = home / "registry.sock"
            self._registry_tap = HttpTap(
                listener,
                Address(f"unix://{registry_socket}", unix=registry_socket),
                Hop.REGISTRY,
                self.recorder,
            )
            self._registry_tap.start()
            undo.pop_all()
        self._await_socket("containerd", home / "containerd.sock")
        self._start_dockerd(port)
        self._await_socket("registry", registry_socket)
        self._await_socket("dockerd", home / "engine.sock")
        self.registry = RegistryAccess(
            direct=Address(f"unix://{registry_socket}", unix=registry_socket),
            mirrored=True,
            prefix=f"127.0.0.1:{port}",
            set_faults=self._registry_tap.set_faults,
        )
        self._read_facts()

    def _start_containerd(self) -> None:
        home = self._home
        config = home / "containerd.toml"
        config.write_text(
            "version = 2\n"
            f'root = "{home}/containerd"\n'
            f'state = "{home}/containerd-state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            "[grpc]\n"
            f'  address = "{home}/containerd.sock"\n'
            # else containerd makes /opt/containerd on the host
            '[plugins."io.containerd.internal.v1.opt"]\n'
            f'  path = "{home}/opt"\n'
        )
        arguments = ["--config", str(config)]
        if self._options.debug:
            arguments += ["--log-level", "debug"]
        self._run("containerd", arguments)

    def _start_registry(self) -> None:
        home = self._home
        config = home / "registry.yml"
        # JSON is YAML. Schema 1 manifests are refused by default since distribution 2.7, yet the walkthrough
        # pulls one.
        config.write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "info"},
                    "storage": {
                        "filesystem": {"rootdirectory": str(home / "registry")},
                        "delete": {"enabled": True},
                    },
                    "http": {"net": "unix", "addr": str(home / "registry.sock")},
                    "compatibility": {"schema1": {"enabled": True}},
                },
                indent=1,
            )
        )
        self._run("registry", ["serve", str(config)])

    def _start_dockerd(self, mirror_port: int) -> None:
        home = self._home
        arguments = [
            *("--host", f"unix://{home}/engine.sock"),
            *("--data-root", f"{home}/docker"),
            *("--exec-root", f"{home}/docker-exec"),
            *("--pidfile", f"{home}/dockerd.pid"),
            *("--containerd", f"{home}/containerd.sock"),
            *("--registry-mirror", f"http://127.0.0.1:{mirror_port}"),
            *("--cgroup-parent", f"/{self._sandbox.cgroup}"),
            *("--storage-driver", "overlay2"),
        ]
        if self._options.debug:
            arguments.append("--debug")
        self._run("dockerd", arguments)

    def _run(self, role: str, arguments: Sequence[str]) -> None:
        program = self._programs[role]
        if self._origins[role] == "reference":
            upstream_name = "docker-registry" if role == "registry" else role
            program = self._home / "bin" / upstream_name
        log = self.directory / f"{role}.log"
        self._logs[role] = log
        environment = {
            "HOME": "/root",
            "PATH": f"{self._home}/bin:{SYSTEM_PATH}",
            "TMPDIR": f"{self._home}/tmp",  # the shim leaves console sockets there when it is killed
        }
        self._sandbox.run(role, [str(program), *arguments], environment, log=log)

    def _await_socket(self, role: str, path: Path) -> None:
        """Wait until `path` accepts connections, or the program that should make it has ended."""
        deadline = time.monotonic() + self._options.start_timeout
        with DirectoryWatch(path.parent) as watch:
            while not _accepts(path):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TargetError(
                        f"stack {self._name}: {role} did not listen on {path} "
                        f"within {self._options.start_timeout:g} s"
                        f"{self._log_tail(role)}"
                    )
                # The file is there between bind(2) and listen(2), of which inotify tells nothing: look again
                # in a moment.
                select.select(
                    [watch.fileno(), self._sandbox.fileno()], [], [], 0.002 if path.exists() else left
                )
                watch.drain()
                self.check_alive()

    def _read_facts(self) -> None:
        hops: dict[Hop, str | None] = {
            Hop.ENGINE: None,
            Hop.REGISTRY: None,
            Hop.CONTAINERD: _NO_TAP,
            Hop.SHIM: _NO_TAP,
            Hop.RUNTIME: _NO_TAP,
            Hop.PROCESS: None,
        }
        programs = {
            role: self._origins[role] if role in self._programs else "unknown" for role in self._origins
        }
        assert self.registry is not None
        # dockerd's socket accepts long before it answers: this request waits for it, or for its end, which
        # closes the socket.
        with engine_client(self.engine, self._options.start_timeout) as client:
            try:
                self.facts = read_facts(
                    client, self.engine, self._name, programs, hops, {"registry": self.registry.prefix}
                )
            except TargetError:
                # It broke the connection because it ended, which says more than that the connection broke.
                status = self._sandbox.wait_exit("dockerd", 1.0)
                if status is not None:
                    raise self._ended("dockerd", status) from None
                raise

    def _stop_programs(self) -> list[str]:
        wrong = []
        with contextlib.suppress(TargetError, httpx.HTTPError, ValueError):
            self._kill_containers()
        for role in ("dockerd", "containerd", "registry"):
            if role in self._sandbox.exits() or not self._sandbox.alive():
                continue
            self._expected_exits.add(role)
            with contextlib.suppress(TargetError):
                self._sandbox.signal(role, signal.SIGTERM)
            if self._sandbox.wait_exit(role, self._options.stop_timeout) is None:
                wrong.append(
                    f"{role} did not stop within {self._options.stop_timeout:g} s of SIGTERM"
                    f"{self._log_tail(role)}"
                )
        return wrong

    def _kill_containers(self) -> None:
        """Kill what runs: dockerd would wait for each, up to ten seconds, and everything goes with the stack
        anyhow.
        """
        if "dockerd" in self._sandbox.exits() or not self._sandbox.alive():
            return
        with engine_client(self.engine, self._options.request_timeout) as client:
            for container in client.get("/containers/json").json():
                client.post(f"/containers/{container['Id']}/kill")

    def _ended(self, role: str, status: int) -> TargetError:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return TargetError(f"stack {self._name}: {role} {how}{self._log_tail(role)}")

    def _log_tail(self, role: str) -> str:
        text = last_lines(self._logs[role], _LOG_LINES) if role in self._logs else ""
        return f"; its log ends with:\n{text}" if text else "; it logged nothing"

    def keep_logs(self, directory: Path) -> None:
        """Copy the programs' logs to `directory`, for a person to read after the stack has gone."""
        directory.mkdir(parents=True, exist_ok=True)
        for path in self._logs.values():
            if path.exists():
                shutil.copy(path, directory / path.name)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
