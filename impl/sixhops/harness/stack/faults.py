"""Harm that a scenario asks for, done to the programs of a stack of ours; and its repair.

Rules:
1. Each act ends when it has happened: the killed process has gone, the halted one is halted, the restarted daemon
   answers. What follows in the scenario needs no pause.
2. A death that was asked for is no failure of the stack, a death during the restart is one.
3. `mend` leaves the stack as the next scenario must find it: everything runs, and has room.
"""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sixhops.harness.exchange import Json
    from sixhops.harness.stack.sandbox import Sandbox
    from sixhops.harness.target import Host

__all__ = ["DAEMONS", "StackFaults", "connected_clients"]

#: In the order in which they must come up.
DAEMONS = ("containerd", "registry", "dockerd")

#: Seconds that a daemon's clients get to connect again after its restart. dockerd 20.10 tries every three seconds
#: at the latest. A client that connects only when it needs to is not waited for any longer.
_RECONNECT = 6.0
_MEND = 60.0
_ROOM = "256k"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1


class StackFaults:
    """A `FaultControl` for a private stack.

    `sockets`: where each daemon listens. `relaunch` starts a daemon again and returns when it answers.
    `expected` holds the roles whose end is no failure; it is the stack's own and changed here. `stores`: where each
    daemon that can be filled keeps blobs, and the directories that it expects there.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        host: Host,
        sockets: Mapping[str, Path],
        relaunch: Callable[[str], None],
        expected: set[str],
        stores: Mapping[str, tuple[Path, Sequence[str]]],
    ) -> None:
        self._stores = stores
        self._full: list[str] = []
        self._sandbox = sandbox
        self._host = host
        self._sockets = sockets
        self._relaunch = relaunch
        self._expected = expected
        self._halted: set[str | int] = set()
        self._clients: dict[str, int] = {}

    def daemon_pids(self) -> frozenset[int]:
        """Return the daemons' pids, inside the stack's machine."""
        return frozenset(self._sandbox.pid_of(role) for role in DAEMONS)

    def kill(self, victim: str, container: str | None, number: int, timeout: float) -> None:
        """Send signal `number` to a victim and wait, at most `timeout` seconds, until it has gone.

        `victim`: a daemon, or shim or container of the container with the id `container`. Raises TargetError
        when there is no such process, or it does not go.
        """
        target = self._target(victim, container)
        if isinstance(target, str):
            self._note_clients(target)
            self._expected.add(target)
        self._sandbox.signal(target, number)
        self._halted.discard(target)
        if isinstance(target, str):
            gone = self._sandbox.wait_exit(target, timeout) is not None
        else:
            gone = _until(lambda: self._state(target) in {"", "Z"}, timeout)
        if not gone:
            self._expected.discard(victim)
            name = signal.Signals(number).name
            raise TargetError(f"{victim} still runs {timeout:g} s after {name}")

    def stop(self, victim: str, container: str | None, timeout: float) -> None:
        """Halt a victim with SIGSTOP. Raises TargetError."""
        target = self._target(victim, container)
        pid = self._sandbox.pid_of(target) if isinstance(target, str) else target
        self._halted.add(target)
        self._sandbox.signal(target, signal.SIGSTOP)
        if not _until(lambda: self._state(pid) == "T", timeout):
            raise TargetError(f"{victim} is not halted {timeout:g} s after SIGSTOP")

    def resume(self, victim: str, container: str | None) -> None:
        """Let a halted victim go on. Raises TargetError."""
        target = self._target(victim, container)
        self._sandbox.signal(target, signal.SIGCONT)
        self._halted.discard(target)

    def restart(self, role: str, timeout: float) -> None:
        """Start a daemon again, after SIGTERM when it still runs. Raises TargetError.

        Returns when it answers and as many clients as before are connected to it: dockerd hears of no exit
        while it has not subscribed to containerd's events again.
        """
        if role not in self._sandbox.exits():
            self.resume(role, None)
            self.kill(role, None, signal.SIGTERM, timeout)
        # From here on its end is a failure again.
        self._expected.discard(role)
        self._halted.discard(role)
        self._relaunch(role)
        wanted = self._clients.pop(role, 0)
        _until(lambda: connected_clients(self._unix_table(), self._sockets[role]) >= wanted, _RECONNECT)

    def fill(self, role: str) -> None:
        """Lay a file system of 256 KiB over where a daemon keeps blobs. Raises TargetError."""
        place, directories = self._stores[role]
        if role in self._full:
            raise TargetError(f"{role} is full already")
        # containerd 2 makes it with the first blob.
        self._inside("mkdir", "-p", str(place))
        self._inside("mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(place))
        self._full.append(role)
        self._inside("mkdir", "-p", *(str(place / name) for name in directories))

    def drain(self, role: str) -> None:
        """Take it away again. Raises TargetError."""
        if role not in self._full:
            raise TargetError(f"{role} was not filled")
        self._inside("umount", "--lazy", str(self._stores[role][0]))
        self._full.remove(role)

    def _inside(self, *command: str) -> None:
        line = ["nsenter", f"--target={self._sandbox.init}", "--pid", "--mount", "--", *command]
        done = subprocess.run(line, capture_output=True, text=True, timeout=_MEND, check=False)
        if done.returncode:
            raise TargetError(f"{' '.join(command)} in the stack's machine: {done.stderr.strip()}")

    def mend(self) -> None:
        """Bring back what is full, halted or dead. Raises TargetError when that fails."""
        for role in list(self._full):
            self.drain(role)
        for target in self._halted:
            with suppress(TargetError):  # it was killed meanwhile
                self._sandbox.signal(target, signal.SIGCONT)
        self._halted.clear()
        for role in DAEMONS:
            if role in self._expected and role in self._sandbox.exits():
                self.restart(role, _MEND)

    def _target(self, victim: str, container: str | None) -> str | int:
        if victim in DAEMONS:
            if victim in self._sandbox.exits():
                raise TargetError(f"{victim} does not run: it has ended before")
            return victim
        table = self._host.processes()
        found = [row for row in table if _is_shim(row, container) or _is_inside(row, container)]
        wanted = _is_shim if victim == "shim" else _is_inside
        chosen = sorted(_start(row) for row in found if wanted(row, container))
        if not chosen:
            raise TargetError(f"there is no {victim} process of the container {container}")
        return chosen[0][1]

    def _state(self, pid: int) -> str:
        for row in self._host.processes():
            if row["pid"] == pid:
                return str(row["state"])
        return ""

    def _note_clients(self, role: str) -> None:
        self._clients[role] = connected_clients(self._unix_table(), self._sockets[role])

    def _unix_table(self) -> str:
        return Path(f"/proc/{self._sandbox.init}/net/unix").read_text()


def connected_clients(table: str, path: Path) -> int:
    """Return how many connections the server of the unix socket at `path` has; `table` is /proc/net/unix.

    An accepted socket bears its listener's path and is in the state 3 (SS_CONNECTED; see proc(5)).
    """
    rows = (line.split(maxsplit=7) for line in table.splitlines()[1:])
    return sum(1 for row in rows if len(row) == 8 and row[5] == "03" and row[7] == str(path))


def _is_shim(row: dict[str, Json], container: str | None) -> bool:
    argv = row["argv"]
    return str(row["comm"]).startswith("containerd-shim") and isinstance(argv, list) and container in argv


def _is_inside(row: dict[str, Json], container: str | None) -> bool:
    groups = row["cgroup"]
    inside = isinstance(groups, dict) and any(
        container and container in str(path) for path in groups.values()
    )
    return inside and row["state"] != "Z" and not _is_shim(row, container)


def _start(row: dict[str, Json]) -> tuple[int, int]:
    start, pid = row["start"], row["pid"]
    assert isinstance(start, int)
    assert isinstance(pid, int)
    return start, pid


def _until(condition: Callable[[], bool], timeout: float) -> bool:
    """Look again, at growing intervals, until `condition` holds (nothing tells of it); say whether it does."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True
