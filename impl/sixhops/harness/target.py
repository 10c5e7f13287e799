"""What a run is pointed at, as the runner and the pytest plugin see it: one seam, several kinds of target.

`stack` makes targets (a private stack that we start, or an endpoint that already runs); nobody else needs
to know which kind it is. A hop that can't be seen at a target carries the reason in `TargetFacts.hops`,
and expectations on it are skipped with that reason, never passed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sixhops.harness.exchange import Json
    from sixhops.harness.scenario.model import FaultRule, Hop
    from sixhops.harness.tap.recorder import Recorder

__all__ = [
    "Address",
    "FaultControl",
    "FileFacts",
    "Host",
    "HostLook",
    "Machine",
    "RegistryAccess",
    "Target",
    "TargetFacts",
]


@dataclass(frozen=True, slots=True)
class Address:
    """Where an HTTP server listens: a unix socket path, or host and port with optional TLS.

    `text` is how the user wrote it, for messages. ssh:// endpoints are forwarded to a unix socket first.
    """

    text: str
    unix: Path | None = None
    host: str | None = None
    port: int | None = None
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What is known of a target before the first scenario; read once, at its start.

    `name`: as given to --target. `programs`: role (docker, dockerd, registry, containerd, shim, runc) to
    "upstream", "reference" or "unknown". `hops`: for every hop, None when it can be observed, else the
    reason why not.
    `variables`: what `${target...}` names in a scenario. `experimental`: whether the engine was started with
    --experimental.
    """

    name: str
    engine_version: str
    api_minimum: tuple[int, int]
    api_maximum: tuple[int, int]
    root: bool
    cgroup_version: int
    operating_system: str
    architecture: str
    programs: dict[str, str]
    hops: dict[Hop, str | None]
    variables: dict[str, Json] = field(default_factory=dict)
    experimental: bool = False


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One path on the target's host. `type` is file, directory, link, fifo, socket, block, char, or ""
    when absent.
    """

    exists: bool
    type: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class HostLook:
    """What the leftover check looks at, as the methods of `Host` return each. `sockets`: names in the shims' directory."""

    processes: list[dict[str, Json]]
    mounts: dict[str, str]
    links: list[str]
    cgroups: list[str]
    rules: list[str]
    sockets: list[str]


class Host(Protocol):
    """The machine that the engine runs on, for `processes` and `file` steps and for the leftover check.

    The view is the engine's own: its pids, its mount table, its network interfaces.
    """

    def processes(self) -> list[dict[str, Json]]:
        """Return the process table; fields are documented in `tap.processes`."""
        ...

    def file(self, path: str, limit: int = 1 << 20) -> FileFacts:
        """Return what `path` is, following no final link, with at most `limit` bytes of content."""
        ...

    def mounts(self) -> dict[str, str]:
        """Return the mount points of the engine's mount namespace, as `tap.processes.parse_mounts` does."""
        ...

    def links(self) -> list[str]:
        """Return the names of network interfaces in the engine's network namespace."""
        ...

    def cgroups(self) -> list[str]:
        """Return the cgroup paths at and below the engine's cgroup parent, over all hierarchies."""
        ...

    def rules(self) -> list[str]:
        """Return the packet filter rules, one a line, as iptables-save prints them without counters."""
        ...


@dataclass(slots=True)
class RegistryAccess:
    """The registry behind a target.

    `direct` is where `registry:` steps and image pushes go. `mirrored` says that docker.io names reach it.
    `prefix` is the host[:port] by which the engine itself names this registry (a direct reference, without
    mirror). `set_faults` hands a scenario's fault rules, without templates, to the tap in front of the
    registry (`HttpTap.set_faults`); None where there is no such tap. `storage` is the directory of a registry of ours,
    into which images are laid without a push; None for others.
    """

    direct: Address
    mirrored: bool
    prefix: str
    set_faults: Callable[[Sequence[FaultRule]], None] | None = None
    storage: Path | None = None


class FaultControl(Protocol):
    """What does harm to the programs of a stack for `fault` steps. A target that has it offers it as `faults`.

    Victims are dockerd, containerd, registry, and shim and container, which go with a container's id. All
    methods return when it has happened, and raise TargetError when it can't be done.
    """

    def kill(self, victim: str, container: str | None, number: int, timeout: float) -> None:
        """Send a signal and wait until the victim has gone."""
        ...

    def stop(self, victim: str, container: str | None, timeout: float) -> None:
        """Halt the victim."""
        ...

    def resume(self, victim: str, container: str | None) -> None:
        """Let it go on."""
        ...

    def restart(self, role: str, timeout: float) -> None:
        """Start a daemon again and wait until it answers."""
        ...

    def fill(self, role: str) -> None:
        """Leave a daemon hardly room for what it keeps."""
        ...

    def drain(self, role: str) -> None:
        """Give it its room back."""
        ...

    def daemon_pids(self) -> frozenset[int]:
        """Return the daemons' pids as the target's host counts them."""
        ...

    def mend(self) -> None:
        """Bring back all that is dead, halted or full by these methods."""
        ...


class ShimAddress(NamedTuple):
    """Where a shim listens, and the version of the task service that it offers: `containerd.task.vVERSION.Task`."""

    address: str
    version: int = 2


class Machine(Protocol):
    """The machine that a stack of ours runs on, for steps that speak on the inner hops directly. A target that has it
    offers it as `machine`.

    Paths below `directory` are the same inside the machine and outside.
    """

    @property
    def directory(self) -> Path:
        """A directory for what scenarios put on the machine."""
        ...

    @property
    def cgroup(self) -> str:
        """The name of the stack's control group below each hierarchy's root."""
        ...

    @property
    def containerd(self) -> Path:
        """The socket that dockerd takes for containerd's."""
        ...

    def environment(self) -> dict[str, str]:
        """Return the environment of the stack's programs; its PATH finds them first."""
        ...

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` on the machine, in /. Its exit status is the program's."""
        ...

    def criu_problem(self) -> str:
        """Return why the machine's programs have no CRIU that works on its kernel; empty when they have one."""
        ...

    def shim(self, namespace: str, container: str) -> ShimAddress:
        """Return where a container's shim listens, as containerd keeps it. Raises TargetError when there is none."""
        ...

    def connect(self, address: str, timeout: float) -> socket.socket:
        """Return a connection to a unix socket of the machine: `unix://PATH`, a path, or `@NAME` and `\\0NAME` for an
        abstract one. Raises TargetError.
        """
        ...


class Target(Protocol):
    """A running target. Made by `stack.open_target`; used by one scenario at a time."""

    facts: TargetFacts
    engine: Address
    registry: RegistryAccess | None
    host: Host | None
    recorder: Recorder
    directory: Path

    def docker_argv(self) -> Sequence[str] | None:
        """Return the command that is the docker client under test, or None with no client at hand."""
        ...

    def engine_tap(self) -> Address | None:
        """Return an address that passes through a recording tap to the engine, for clients under test."""
        ...

    def check_alive(self) -> None:
        """Raise TargetError naming the program, its exit status and last log lines if one of ours has
        died.
        """
        ...

    def log_marks(self) -> dict[str, int]:
        """Return the present end of each program's log, for `log_since`."""
        ...

    def log_since(self, marks: dict[str, int], lines: int = 20) -> dict[str, str]:
        """Return the last `lines` lines that each program has logged since `marks`."""
        ...

    def close(self) -> list[str]:
        """Stop everything that we started; return what was left behind although it should not be (empty:
        clean).
        """
        ...
