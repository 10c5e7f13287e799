"""The daemons of a stack in their private machine: how each is started, awaited, watched and stopped in order.

Knows nothing of taps and of who wants the stack; `private` (a run's stack) and `standing` (a person's) do.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

import httpx

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.logs import last_lines
from sixhops.harness.stack.programs import (
    SYSTEM_PATH,
    find_criu,
    locate,
    make_bin,
    parse_stack,
    tree_word,
)
from sixhops.harness.stack.trees import find_tree
from sixhops.linux.inotify import DirectoryWatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sixhops.harness.stack.options import StackOptions
    from sixhops.harness.stack.sandbox import Sandbox
    from sixhops.harness.target import Address

__all__ = ["WRAPPED", "Choice", "Daemons", "ended", "stop_daemons"]

#: The roles whose programs are started through a tap when the inner hops are tapped.
WRAPPED = ("shim", "runc")

_LOG_LINES = 15
_AGAIN = 0.01


class Choice:
    """Which program fills each role of the stack `name`, and the tree they are in. Raises UsageError (no such stack, not
    installed).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.origins = parse_stack(name)
        word = tree_word(name)
        self.tree = find_tree(word) if word is not None else None
        self.programs = locate(self.origins, self.tree)


class Daemons:
    """The daemons of one stack, started one by one by whoever makes the stack.

    `logs` is where their logs go. All methods raise TargetError: a program can't be executed, has ended or
    isn't ready in time; the message ends with its last log lines.
    """

    def __init__(self, choice: Choice, sandbox: Sandbox, directory: Path, options: StackOptions) -> None:
        self._choice = choice
        self._sandbox = sandbox
        self._home = sandbox.directory
        self._directory = directory
        self._options = options
        #: Program to log file, for those that were started.
        self.logs: dict[str, Path] = {}
        #: Where dockerd finds containerd, below the stack's directory; a tap stands elsewhere than containerd does.
        self.containerd_socket = "containerd.sock"
        #: Programs whose end is meant.
        self.expected_exits: set[str] = set()

    def prepare(self) -> None:
        """Make the directories that the daemons share, and the directory that makes their PATH."""
        (self._home / "tmp").mkdir()
        (self._home / "docker-config").mkdir()
        self._directory.mkdir(parents=True, exist_ok=True)
        wrapped = WRAPPED if self._options.inner_taps else ()
        make_bin(self._home / "bin", self._choice.origins, self._choice.programs, wrapped)
        criu = find_criu() if self._choice.tree is None else None
        if criu is not None:
            (self._home / "bin" / "criu").symlink_to(criu)

    def start_containerd(self) -> None:
        """Start containerd on containerd.sock."""
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
            f'  path = "{home}/opt"\n' + self._own_shim()
        )
        arguments = ["--config", str(config)]
        if self._options.debug:
            arguments += ["--log-level", "debug"]
        self._run("containerd", arguments)

    def _own_shim(self) -> str:
        """Our containerd forks our shim, which is how the two are meant to be together, unless a tap is between them."""
        if self._choice.origins["containerd"] != "reference":
            return ""
        mode = "embedded" if self._choice.origins["shim"] == "reference" else "auto"
        if self._options.inner_taps:
            mode = "exec"
        return f'[plugins."io.containerd.sixhops"]\n  shim = "{mode}"\n'

    @property
    def registry_storage(self) -> Path | None:
        """Where a registry of ours keeps everything, so that images can be laid there; None for another's."""
        return self._home / "registry" if self._choice.origins["registry"] == "reference" else None

    def start_registry(self, http: Mapping[str, str]) -> None:
        """Start the registry; `http` says where it listens, as the configuration's `http` section does."""
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
                    "http": dict(http),
                    "compatibility": {"schema1": {"enabled": True}},
                },
                indent=1,
            )
        )
        self._run("registry", ["serve", str(config)])

    def start_dockerd(self, mirror_port: int) -> None:
        """Start dockerd on engine.sock; it pulls names without a host from 127.0.0.1:`mirror_port`."""
        home = self._home
        arguments = [
            *("--host", f"unix://{home}/engine.sock"),
            *("--data-root", f"{home}/docker"),
            *("--exec-root", f"{home}/docker-exec"),
            *("--pidfile", f"{home}/dockerd.pid"),
            *("--containerd", f"{home}/{self.containerd_socket}"),
            *("--registry-mirror", f"http://127.0.0.1:{mirror_port}"),
            *("--cgroup-parent", f"/{self._sandbox.cgroup}"),
            *("--storage-driver", "overlay2"),
        ]
        if self._options.debug:
            arguments.append("--debug")
        if self._options.experimental:
            arguments.append("--experimental")
        self._run("dockerd", arguments)

    def run(self, name: str, argv: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        """Start another program of the stack, with a log of its own; it gets `descriptors` as 3, 4 ..."""
        log = self._directory / f"{name}.log"
        self.logs[name] = log
        environment = {
            "HOME": "/root",
            "PATH": f"{self._home}/bin:{SYSTEM_PATH}",
            "TMPDIR": f"{self._home}/tmp",  # the shim leaves console sockets there when it is killed
        }
        self._sandbox.run(name, argv, environment, log=log, descriptors=descriptors)

    def await_socket(self, role: str, path: Path) -> None:
        """Wait until `path` accepts connections, or the program that should make it has ended."""
        deadline = time.monotonic() + self._options.start_timeout
        with DirectoryWatch(path.parent) as watch:
            while not _accepts(path):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._late(role, str(path))
                # The file is there between bind(2) and listen(2), of which inotify tells nothing: look again
                # in a moment.
                select.select(
                    [watch.fileno(), self._sandbox.fileno()], [], [], 0.002 if path.exists() else left
                )
                watch.drain()
                self.check_alive()

    def await_port(self, role: str, port: int) -> None:
        """Wait until 127.0.0.1:`port` inside accepts connections, or the program that should listen has ended."""
        deadline = time.monotonic() + self._options.start_timeout
        while True:
            with contextlib.suppress(TargetError):
                self._sandbox.connect("127.0.0.1", port).close()
                return
            self.check_alive()
            if time.monotonic() > deadline:
                raise self._late(role, f"127.0.0.1:{port}")
            # The kernel tells nobody when a port begins to listen; an exit wakes us at once.
            select.select([self._sandbox.fileno()], [], [], _AGAIN)

    def check_alive(self) -> None:
        """Raise TargetError when a program of the stack has ended, with its status and last log lines."""
        for name, status in self._sandbox.exits().items():
            if name not in self.expected_exits:
                raise self.ended(name, status)
        if not self._sandbox.alive():
            raise TargetError(
                f"stack {self._choice.name}: the private machine has gone, and every program with it"
            )

    def ended(self, name: str, status: int) -> TargetError:
        """Return the error that says how a program ended, with the end of its log."""
        return ended(self._choice.name, name, status, self.logs.get(name))

    def _late(self, role: str, where: str) -> TargetError:
        return TargetError(
            f"stack {self._choice.name}: {role} did not listen on {where} "
            f"within {self._options.start_timeout:g} s{_log_tail(self.logs.get(role))}"
        )

    def _run(self, role: str, arguments: Sequence[str]) -> None:
        program = self._choice.programs[role]
        if self._choice.origins[role] == "reference":
            upstream_name = "docker-registry" if role == "registry" else role
            program = self._home / "bin" / upstream_name
        self.run(role, [str(program), *arguments])


def stop_daemons(
    sandbox: Sandbox,
    engine: Address,
    options: StackOptions,
    logs: Mapping[str, Path],
    expected_exits: set[str],
) -> list[str]:
    """Stop the daemons of a stack in order, containers first; return a line for each that wouldn't.

    `expected_exits` gets the name of each daemon before it is told to stop.
    """
    wrong = []
    with contextlib.suppress(TargetError, httpx.HTTPError, ValueError):
        _kill_containers(sandbox, engine, options)
    for role in ("dockerd", "containerd", "registry"):
        if role not in sandbox.started() or role in sandbox.exits() or not sandbox.alive():
            continue
        expected_exits.add(role)
        with contextlib.suppress(TargetError):
            sandbox.signal(role, signal.SIGTERM)
        if sandbox.wait_exit(role, options.stop_timeout) is None:
            wrong.append(
                f"{role} did not stop within {options.stop_timeout:g} s of SIGTERM{_log_tail(logs.get(role))}"
            )
    return wrong


def _kill_containers(sandbox: Sandbox, engine: Address, options: StackOptions) -> None:
    """Kill what runs: dockerd would wait for each, up to ten seconds, and everything goes with the stack
    anyhow.
    """
    if "dockerd" not in sandbox.started() or "dockerd" in sandbox.exits() or not sandbox.alive():
        return
    with engine_client(engine, options.request_timeout) as client:
        for container in client.get("/containers/json").json():
            client.post(f"/containers/{container['Id']}/kill")


def ended(stack: str, name: str, status: int, log: Path | None) -> TargetError:
    """Return the error that says how program `name` of `stack` ended, with the end of its log."""
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return TargetError(f"stack {stack}: {name} {how}{_log_tail(log)}")


def _log_tail(log: Path | None) -> str:
    text = last_lines(log, _LOG_LINES) if log is not None else ""
    return f"; its log ends with:\n{text}" if text else "; it logged nothing"


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
