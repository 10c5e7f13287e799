"""A stack for a person: it stands until it is told to stop, with no tap, so that no process outside is part of it.

docker, curl ── engine.sock, or an address of the person's choice ── dockerd ── containerd ── shim ── runc
                                                                       │
                                                        registry (TCP inside, a mirror)
                                                                       │
                                    outside ── registry.sock ── forward (a program of the stack)

Started in the foreground it is tied to the process that started it, which may also let go of it (`leave`). Either
way others find it by its record, and stop it (`stop`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sixhops.harness.errors import TargetError, UsageError
from sixhops.harness.scenario.model import Hop
from sixhops.harness.stack.daemons import Choice, Daemons, stop_daemons
from sixhops.harness.stack.facts import engine_client, read_facts
from sixhops.harness.stack.remains import find_cgroups
from sixhops.harness.stack.sandbox import Sandbox
from sixhops.harness.stack.state import Living, base_directory, create, living, read_record, sweep
from sixhops.harness.target import Address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.stack.options import StackOptions
    from sixhops.harness.target import TargetFacts

__all__ = ["Door", "StandingStack", "choose", "state_of", "stop"]

#: Where the registry listens inside; the stack's network is its own, so the number is free.
REGISTRY_PORT = 5000

#: In a stack's directory when somebody else than its owner stops it.
STOPPING = "stopping"

# The longest path that bind(2) takes: sizeof(sun_path) less the final zero.
_SOCKET_PATH_LIMIT = 107
# Seconds for the kernel's tearing down of namespaces on a busy machine, and for removing the directory.
_REAPER_TIMEOUT = 30.0
_NO_TAP = "a standing stack has no taps"


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket outside of the stack that leads to its engine; `text` is its DOCKER_HOST."""

    text: str
    listener: socket.socket
    path: Path | None = None

    @classmethod
    def open(cls, address: str) -> Door:
        """Listen on `address`: unix:///PATH, or tcp://HOST:PORT on the loopback (port 0: the kernel chooses).

        Raises UsageError: not such an address, in use, not on the loopback (whoever reaches an engine without
        TLS is root).
        """
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError as error:
            raise UsageError(f"bad address {address!r}: {error}") from error
        if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
            return cls._open_unix(Path(parts.path))
        if parts.scheme == "tcp" and parts.hostname and port is not None and not parts.path.strip("/"):
            return cls._open_tcp(address, parts.hostname, port)
        raise UsageError(f"bad address {address!r}: it is unix:///PATH or tcp://127.0.0.1:PORT")

    @classmethod
    def _open_unix(cls, path: Path) -> Door:
        if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
            raise UsageError(f"{path} is too long: a socket's path has at most {_SOCKET_PATH_LIMIT} bytes")
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(path))
            path.chmod(0o660)
            listener.listen(128)
        except OSError as error:
            listener.close()
            reason = "it exists already" if path.exists() else error.strerror
            raise UsageError(f"can't listen on unix://{path}: {reason}") from error
        return cls(f"unix://{path}", listener, path)

    @classmethod
    def _open_tcp(cls, address: str, host: str, port: int) -> Door:
        try:
            loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise UsageError(
                f"{address}: only an address of the loopback, as 127.0.0.1; an engine without TLS is root"
            )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise UsageError(f"can't listen on {address}: {os.strerror(error.errno or 0)}") from error
        shown = f"[{host}]" if ":" in host else host
        return cls(f"tcp://{shown}:{listener.getsockname()[1]}", listener)

    def close(self) -> None:
        """Close this process's end; the stack may have another."""
        self.listener.close()

    def remove(self) -> None:
        """Close, and remove the socket from the file system."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class StandingStack:
    """A stack that a person started. Made by `start`; its process may `leave` it or `close` it."""

    facts: TargetFacts

    def __init__(
        self, choice: Choice, directory: Path | None, door: Door | None, options: StackOptions
    ) -> None:
        base = base_directory()
        home = create(base, directory)
        if door is not None and door.path is not None:
            home.extra += (door.path,)
        self._home = home
        self._name = choice.name
        self._options = options
        self._sandbox = Sandbox.start(home, name=choice.name, detached=True, tied=True, tree=choice.tree)
        self.id = home.id
        self.directory = home.path
        #: Where the programs' logs are.
        self.logs = home.path / "logs"
        self.engine = Address(f"unix://{home.path}/engine.sock", unix=home.path / "engine.sock")
        self.registry = Address(f"unix://{home.path}/registry.sock", unix=home.path / "registry.sock")
        #: How the engine names the registry.
        self.registry_name = f"127.0.0.1:{REGISTRY_PORT}"
        self.docker_host = door.text if door is not None else self.engine.text
        self._daemons = Daemons(choice, self._sandbox, self.logs, options)
        self._note(outside=str(door.path or "") if door is not None else "")

    @classmethod
    def start(
        cls, name: str, *, directory: Path | None = None, address: str | None = None, options: StackOptions
    ) -> StandingStack:
        """Start stack `name` and wait until its engine and its registry answer.

        `directory`: its state, instead of a directory below the base. `address`: where its engine listens,
        besides engine.sock in that directory. Raises UsageError (no root, no such stack, directory or address
        in use), TargetError (a program ended or wasn't ready in time); then nothing is left.
        """
        if os.geteuid() != 0:
            raise UsageError(
                "a stack needs root: its machine is made of namespaces, mounts and control groups"
            )
        choice = Choice(name)
        sweep(base_directory())
        door = Door.open(address) if address is not None else None
        try:
            stack = cls(choice, directory, door, options)
            try:
                stack._start_programs(door)
            except BaseException:
                stack.abandon()
                raise
        except BaseException:
            if door is not None:
                door.remove()
            raise
        if door is not None:
            door.close()
        return stack

    @property
    def init(self) -> int:
        """The pid of the stack's first process: what nsenter takes to look inside."""
        return self._sandbox.init

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there may be news, such as a program's end."""
        return self._sandbox.fileno()

    def alive(self) -> bool:
        """Return whether the stack's machine still runs."""
        return self._sandbox.alive()

    def check_alive(self) -> None:
        """Raise TargetError when a program of the stack has ended, with its status and last log lines."""
        self._daemons.check_alive()

    def being_stopped(self) -> bool:
        """Return whether somebody else stops the stack, or has done so."""
        return not self.directory.exists() or (self.directory / STOPPING).exists()

    def leave(self) -> None:
        """Let the stack stand without this process."""
        self._note(owner=0)
        self._sandbox.detach()

    def close(self) -> list[str]:
        """Stop the programs in order, then the machine; return what is left, or did not go as it should."""
        return _end(
            self._sandbox, self.engine, self._options, self._daemons.logs, self._daemons.expected_exits
        )

    def abandon(self) -> list[str]:
        """End everything at once; return what is left of it."""
        return self._sandbox.close()

    def _start_programs(self, door: Door | None) -> None:
        daemons = self._daemons
        daemons.prepare()
        daemons.start_containerd()
        daemons.start_registry({"net": "tcp", "addr": self.registry_name})
        self._start_forwarder(door)
        daemons.await_socket("containerd", self.directory / "containerd.sock")
        daemons.start_dockerd(REGISTRY_PORT)
        daemons.await_port("registry", REGISTRY_PORT)
        daemons.await_socket("forward", self.directory / "registry.sock")
        daemons.await_socket("dockerd", self.directory / "engine.sock")
        with engine_client(self.engine, self._options.start_timeout) as client:
            try:
                self.facts = read_facts(client, self.engine, self._name, {}, dict.fromkeys(Hop, _NO_TAP), {})
            except TargetError:
                # It broke the connection because it ended, which says more than that the connection broke.
                status = self._sandbox.wait_exit("dockerd", 1.0)
                if status is not None:
                    raise daemons.ended("dockerd", status) from None
                raise
        self._note(engine=self.docker_host, version=self.facts.engine_version)

    def _start_forwarder(self, door: Door | None) -> None:
        rules: list[dict[str, object]] = [
            {"listen": str(self.directory / "registry.sock"), "to": ["127.0.0.1", REGISTRY_PORT]}
        ]
        if door is not None:
            rules.append({"listen": 3, "to": str(self.directory / "engine.sock")})
        self._daemons.run(
            "forward",
            [sys.executable, "-P", "-m", "sixhops.harness.stack.forward", json.dumps(rules)],
            [door.listener.fileno()] if door is not None else [],
        )

    def _note(self, **changes: object) -> None:
        record = read_record(self.directory)
        assert record is not None
        self._home.write_record(dataclasses.replace(record, purpose="up", **changes))  # type: ignore[arg-type]


def choose(words: Sequence[str], *, everything: bool) -> list[Living]:
    """Return the standing stacks that `words` (ids, or their beginnings) mean; without words the only one there
    is; with `everything` all of them.

    Raises UsageError: no such stack, several, or one that belongs to a run of the suite.
    """
    stacks = living(base_directory())
    mine = [stack for stack in stacks if stack.record is not None and stack.record.purpose == "up"]
    if everything:
        return mine
    if not words:
        if len(mine) > 1:
            ids = ", ".join(stack.id for stack in mine)
            raise UsageError(f"{len(mine)} stacks run: {ids}; say which, or --all")
        if not mine:
            raise UsageError("no stack runs that `sixhops up` has started")
        return mine
    chosen = []
    for word in words:
        meant = [stack for stack in stacks if stack.id.startswith(word)]
        if len(meant) != 1:
            raise UsageError(
                f"no such stack: {word!r}"
                if not meant
                else f"{word!r} is the beginning of {len(meant)} stacks' ids"
            )
        if meant[0] not in mine:
            owner = meant[0].record.owner if meant[0].record is not None else 0
            raise UsageError(
                f"stack {meant[0].id} is not yours to stop: it belongs to a run, process {owner}"
            )
        if meant[0] not in chosen:
            chosen.append(meant[0])
    return chosen


def state_of(stack: Living) -> str:
    """Return a word or two for `sixhops ps`: up, starting, or which program has ended and how."""
    record = stack.record
    if record is None or not record.engine:
        return "starting"
    if record.purpose != "up":
        return "up"
    try:
        sandbox = Sandbox.attach(stack.path)
    except TargetError:
        return "stopping"
    try:
        exits = sandbox.exits()
        sandbox.detach()
    except TargetError:
        return "stopping"
    return ", ".join(f"{name} ended ({status})" for name, status in sorted(exits.items())) or "up"


def stop(stack: Living, options: StackOptions) -> list[str]:
    """Stop a standing stack, whoever has started it; return what is left, or did not go as it should."""
    engine = Address("the stack's engine", unix=stack.path / "engine.sock")
    try:
        sandbox = Sandbox.attach(stack.path)
    except TargetError:
        return _stop_reaper(stack)
    # For the process that started it, which then knows that the daemons end because they were told to.
    (stack.path / STOPPING).touch()
    logs = {path.stem: path for path in (stack.path / "logs").glob("*.log")}
    return _end(sandbox, engine, options, logs, set())


def _stop_reaper(stack: Living) -> list[str]:
    """Stop a stack whose first process does not answer, by its reaper; return what is left of it."""
    reaper = stack.record.reaper if stack.record is not None else 0
    try:
        process = os.pidfd_open(reaper)
    except (OSError, ValueError) as error:
        raise TargetError(
            f"stack {stack.id} does not answer; the next start of a stack removes it"
        ) from error
    try:
        if Path(f"/proc/{reaper}/comm").read_text() != "sixhops-reaper\n":
            raise TargetError(f"stack {stack.id} does not answer, and its reaper has gone")
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], _REAPER_TIMEOUT)[0]:
            return [f"process {reaper}: the stack's reaper"]
    finally:
        os.close(process)
    left = [f"control group {group}" for group in find_cgroups(stack.id)]
    return left + ([f"file {stack.path}"] if stack.path.exists() else [])


def _end(
    sandbox: Sandbox, engine: Address, options: StackOptions, logs: dict[str, Path], expected: set[str]
) -> list[str]:
    inside = _namespaces(sandbox.init)
    record = read_record(sandbox.directory)
    wrong = stop_daemons(sandbox, engine, options, logs, expected)
    wrong += sandbox.close()
    if record is not None and record.outside and Path(record.outside).exists():
        wrong.append(f"file {record.outside}")
    return wrong + _users(inside)


def _namespaces(pid: int) -> dict[str, str]:
    """Return the pid and network namespace of a process, by name; empty when it has gone."""
    found = {}
    for name in ("pid", "net"):
        with contextlib.suppress(OSError):
            found[name] = str(Path(f"/proc/{pid}/ns/{name}").readlink())
    return found


def _users(namespaces: dict[str, str]) -> list[str]:
    """Return a line for each process that keeps one of the stack's namespaces, and with it links and rules."""
    left = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        kept = [name for name, inode in _namespaces(int(entry.name)).items() if namespaces.get(name) == inode]
        if kept:
            with contextlib.suppress(OSError):
                comm = (entry / "comm").read_text().strip()
                left.append(f"process {entry.name} ({comm}) in the stack's {' and '.join(kept)} namespace")
    return left
