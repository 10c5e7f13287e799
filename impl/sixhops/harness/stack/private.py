"""A stack that we start: the programs of each role in a private machine, the taps on its hops (`taps`), its orderly
end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import signal
from typing import TYPE_CHECKING

import httpx

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.daemons import Choice, Daemons, stop_daemons
from sixhops.harness.stack.facts import engine_client, read_facts
from sixhops.harness.stack.faults import StackFaults
from sixhops.harness.stack.host import LocalHost
from sixhops.harness.stack.logs import log_marks, log_since
from sixhops.harness.stack.machine import StackMachine
from sixhops.harness.stack.sandbox import Sandbox
from sixhops.harness.stack.state import base_directory, create, read_record, sweep
from sixhops.harness.stack.taps import CONTAINERD_TAP, StackTaps
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address, Host, RegistryAccess, TargetFacts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sixhops.harness.stack.options import StackOptions

__all__ = ["PrivateStack"]


#: Where containerd keeps blobs, below its root.
CONTENT = "io.containerd.content.v1.content"


class PrivateStack:
    """A `Target` whose programs are ours to start and stop. Made by `start`."""

    #: Nobody else uses this engine: whatever appears in it or on its host is a scenario's.
    private = True
    facts: TargetFacts
    registry: RegistryAccess | None

    def __init__(self, name: str, directory: Path | None, options: StackOptions) -> None:
        """Find the programs of stack `name`; nothing runs yet. Raises UsageError."""
        self._name = name
        self._choice = Choice(name)
        self._options = options
        sweep(base_directory())
        home = create(base_directory())
        self._home = home
        self._sandbox = Sandbox.start(home, name=name, keep=options.keep_state, tree=self._choice.tree)
        self.directory = directory if directory is not None else home.path / "logs"
        self._daemons = Daemons(self._choice, self._sandbox, self.directory, options)
        self.recorder = Recorder()
        self._view = LocalHost(self._sandbox.init, self._sandbox.cgroup)
        self.host: Host | None = self._view
        self.engine = Address(f"unix://{home.path}/engine.sock", unix=home.path / "engine.sock")
        self.registry = None
        self._mirror_port = 0
        self.faults = StackFaults(
            self._sandbox,
            self._view,
            {
                # where its clients connect to, which is what they are counted by
                "containerd": home.path / (CONTAINERD_TAP if options.inner_taps else "containerd.sock"),
                "registry": home.path / "registry.sock",
                "dockerd": home.path / "engine.sock",
            },
            self._launch,
            self._daemons.expected_exits,
            {"containerd": (home.path / "containerd" / CONTENT, ("blobs/sha256", "ingest"))},
        )
        self._taps = StackTaps(self._sandbox, self._choice, self.recorder, inner=options.inner_taps)
        socket = CONTAINERD_TAP if options.inner_taps else "containerd.sock"
        self.machine = StackMachine(self._sandbox, home.path / socket)
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
        if "docker" not in self._choice.programs:
            return None
        settings = ["--config", str(self._home.path / "docker-config")]
        if self._choice.origins["docker"] == "reference":
            return [str(self._home.path / "bin" / "docker"), *settings]
        client = self._choice.programs["docker"]
        return [*(self._choice.tree.outside(client) if self._choice.tree else [str(client)]), *settings]

    def engine_tap(self) -> Address | None:
        """Return the address for clients under test; what they say to the engine is recorded on the engine
        hop.
        """
        return self._taps.engine_address(self.engine)

    def check_alive(self) -> None:
        """Raise TargetError when a program of the stack has ended, with its status and last log lines."""
        self._daemons.check_alive()

    def log_marks(self) -> dict[str, int]:
        """Return the present length of each program's log."""
        return log_marks(self._daemons.logs)

    def log_since(self, marks: dict[str, int], lines: int = 20) -> dict[str, str]:
        """Return the last `lines` lines that each program has logged since `marks`."""
        return log_since(self._daemons.logs, marks, lines)

    def close(self) -> list[str]:
        """Stop the programs in order, then the machine; return what didn't go as it should, or is left. May
        be called again.
        """
        if self._left is None:
            self._left = stop_daemons(
                self._sandbox,
                self.engine,
                self._options,
                self._daemons.logs,
                self._daemons.expected_exits,
            )
            self._left += self.abandon()
        return self._left

    def abandon(self) -> list[str]:
        """End everything at once, without asking the programs; return what is left of it."""
        self._taps.close()
        return self._sandbox.close()

    def kill(self, role: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a daemon of the stack (dockerd, containerd, registry). Raises TargetError."""
        self._sandbox.signal(role, number)

    def _start_programs(self) -> None:
        home, daemons = self._home.path, self._daemons
        daemons.prepare()
        self._taps.start_inner()
        if self._options.inner_taps:
            daemons.containerd_socket = CONTAINERD_TAP
        listener = self._sandbox.listen()
        self._mirror_port = port = listener.getsockname()[1]
        with contextlib.ExitStack() as undo:
            undo.callback(listener.close)
            registry_socket = home / "registry.sock"
            # containerd and the registry come up side by side, since neither knows of the other.
            daemons.start_containerd()
            daemons.start_registry({"net": "unix", "addr": str(registry_socket)})
            set_faults = self._taps.start_registry(listener, registry_socket)
            undo.pop_all()
        daemons.await_socket("containerd", home / "containerd.sock")
        daemons.start_dockerd(port)
        daemons.await_socket("registry", registry_socket)
        daemons.await_socket("dockerd", home / "engine.sock")
        self.registry = RegistryAccess(
            direct=Address(f"unix://{registry_socket}", unix=registry_socket),
            mirrored=True,
            prefix=f"127.0.0.1:{port}",
            set_faults=set_faults,
            storage=daemons.registry_storage,
        )
        self._read_facts()

    def _launch(self, role: str) -> None:
        """Start a daemon again that has ended; return when it answers."""
        home = self._home.path
        if role == "containerd":
            self._daemons.start_containerd()
            self._daemons.await_socket(role, home / "containerd.sock")
        elif role == "registry":
            self._daemons.start_registry({"net": "unix", "addr": str(home / "registry.sock")})
            self._daemons.await_socket(role, home / "registry.sock")
        else:
            self._daemons.start_dockerd(self._mirror_port)
            self._daemons.await_socket(role, home / "engine.sock")
            with engine_client(self.engine, self._options.start_timeout) as client:
                try:
                    client.get("/_ping")
                except httpx.HTTPError as error:
                    raise TargetError(f"dockerd does not answer after its restart: {error}") from error

    def _read_facts(self) -> None:
        programs = {
            role: origin if role in self._choice.programs else "unknown"
            for role, origin in self._choice.origins.items()
        }
        assert self.registry is not None
        # dockerd's socket accepts long before it answers: this request waits for it, or for its end, which
        # closes the socket.
        with engine_client(self.engine, self._options.start_timeout) as client:
            try:
                self.facts = read_facts(
                    client,
                    self.engine,
                    self._name,
                    programs,
                    self._taps.hops(),
                    {"registry": self.registry.prefix},
                )
            except TargetError:
                # It broke the connection because it ended, which says more than that the connection broke.
                status = self._sandbox.wait_exit("dockerd", 1.0)
                if status is not None:
                    raise self._daemons.ended("dockerd", status) from None
                raise
        record = read_record(self._home.path)
        assert record is not None
        self._home.write_record(
            dataclasses.replace(record, engine=self.engine.text, version=self.facts.engine_version)
        )

    def keep_logs(self, directory: Path) -> None:
        """Copy the programs' logs to `directory`, for a person to read after the stack has gone."""
        directory.mkdir(parents=True, exist_ok=True)
        for path in self._daemons.logs.values():
            if path.exists():
                shutil.copy(path, directory / path.name)
