"""Harm to a stack's programs: what is chosen, waited for and mended; without processes, and once on real ones."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stack_needs import NEEDS_UPSTREAM

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.stack.faults import StackFaults, connected_clients
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack

if TYPE_CHECKING:
    from collections.abc import Iterator

CID = "c" * 64
PIDS = {"containerd": 5, "registry": 6, "dockerd": 7}
UNIX = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 3512 /x/containerd.sock
0000000000000000: 00000003 00000000 00000000 0001 03 3513 /x/containerd.sock
0000000000000000: 00000003 00000000 00000000 0001 03 3514 /x/containerd.sock.ttrpc
0000000000000000: 00000003 00000000 00000000 0001 03 3515
"""


def process(pid: int, comm: str, **fields: Any) -> dict[str, Any]:
    return {"pid": pid, "comm": comm, "start": pid, "state": "S", "argv": [comm], "cgroup": {}, **fields}


class Machine:
    """Stands for the sandbox and the host: signals change the table at once."""

    init = 1

    def __init__(self) -> None:
        inside = {"cgroup": {"pids": f"/sixhops/{CID}"}}
        self.table = {
            row["pid"]: row
            for row in (
                *(process(pid, role) for role, pid in PIDS.items()),
                process(20, "containerd-shim", argv=["containerd-shim", "-id", CID]),
                process(22, "exec-ed", **inside),
                process(21, "sleep", **inside),
            )
        }
        self.log: list[Any] = []
        self.obeys = True

    def exits(self) -> dict[str, int]:
        return {role: -9 for role, pid in PIDS.items() if pid not in self.table}

    def pid_of(self, role: str) -> int:
        return PIDS[role]

    def signal(self, target: str | int, number: int) -> None:
        pid = PIDS[target] if isinstance(target, str) else target
        if pid not in self.table:
            raise TargetError("no such process")
        self.log.append((pid, signal.Signals(number).name))
        if not self.obeys:
            return
        if number == signal.SIGSTOP:
            self.table[pid]["state"] = "T"
        elif number == signal.SIGCONT:
            self.table[pid]["state"] = "S"
        else:
            del self.table[pid]

    def wait_exit(self, role: str, _timeout: float) -> int | None:
        return self.exits().get(role)

    def processes(self) -> list[dict[str, Any]]:
        return list(self.table.values())

    def launch(self, role: str) -> None:
        self.log.append(role)
        self.table[PIDS[role]] = process(PIDS[role], role)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def expected() -> set[str]:
    return set()


@pytest.fixture
def faults(machine: Machine, expected: set[str], monkeypatch: pytest.MonkeyPatch) -> StackFaults:
    monkeypatch.setattr(StackFaults, "_unix_table", lambda _self: UNIX)
    sockets = {role: Path(f"/x/{role}.sock") for role in PIDS}
    return StackFaults(machine, machine, sockets, machine.launch, expected, {})  # type: ignore[arg-type]


def test_only_connections_to_this_very_socket_count() -> None:
    assert connected_clients(UNIX, Path("/x/containerd.sock")) == 1
    assert connected_clients(UNIX, Path("/x/other.sock")) == 0


@pytest.mark.parametrize(("victim", "pid"), [("shim", 20), ("container", 21), ("dockerd", 7)])
def test_each_victim_is_the_right_process(
    faults: StackFaults, machine: Machine, victim: str, pid: int
) -> None:
    faults.kill(victim, CID if victim in ("shim", "container") else None, signal.SIGKILL, 1)

    assert machine.log == [(pid, "SIGKILL")]


@pytest.mark.parametrize("victim", ["shim", "container"])
def test_a_container_that_is_not_there_is_said(faults: StackFaults, victim: str) -> None:
    with pytest.raises(TargetError, match=f"there is no {victim} process of the container d"):
        faults.kill(victim, "d" * 64, signal.SIGKILL, 1)


def test_a_killed_daemon_is_expected_dead_until_it_is_restarted(
    faults: StackFaults, machine: Machine, expected: set[str]
) -> None:
    faults.kill("containerd", None, signal.SIGKILL, 1)
    assert expected == {"containerd"}

    faults.restart("containerd", 1)

    assert expected == set()
    assert machine.log == [(5, "SIGKILL"), "containerd"]


def test_a_daemon_that_ignores_the_signal_is_said_and_not_expected_dead(
    faults: StackFaults, machine: Machine, expected: set[str]
) -> None:
    machine.obeys = False

    with pytest.raises(TargetError, match=r"dockerd still runs 0\.01 s after SIGTERM"):
        faults.kill("dockerd", None, signal.SIGTERM, 0.01)
    assert expected == set()


def test_a_running_daemon_is_told_to_end_before_its_restart(faults: StackFaults, machine: Machine) -> None:
    faults.restart("registry", 1)

    assert machine.log == [(6, "SIGCONT"), (6, "SIGTERM"), "registry"]


def test_mending_brings_back_in_order_what_is_dead_or_halted(faults: StackFaults, machine: Machine) -> None:
    faults.kill("dockerd", None, signal.SIGKILL, 1)
    faults.kill("containerd", None, signal.SIGKILL, 1)
    faults.stop("registry", None, 1)
    machine.log.clear()

    faults.mend()

    assert machine.log == [(6, "SIGCONT"), "containerd", "dockerd"]
    assert machine.exits() == {}


def test_a_dead_daemon_can_be_killed_no_more(faults: StackFaults) -> None:
    faults.kill("dockerd", None, signal.SIGKILL, 1)

    with pytest.raises(TargetError, match="dockerd does not run"):
        faults.stop("dockerd", None, 1)


@pytest.fixture
def stack() -> Iterator[PrivateStack]:
    stack = PrivateStack.start("upstream", directory=None, options=StackOptions())
    yield stack
    stack.close()


@NEEDS_UPSTREAM
def test_a_real_stack_is_whole_again_after_all_its_daemons_were_killed(stack: PrivateStack) -> None:
    for role in ("dockerd", "containerd", "registry"):
        stack.faults.kill(role, None, signal.SIGKILL, 10)
    stack.check_alive()

    stack.faults.mend()

    stack.check_alive()
    with engine_client(stack.engine, 10) as client:
        assert client.get("/_ping").text == "OK"
    stack.faults.fill("containerd")
    with pytest.raises(TargetError, match="containerd is full already"):
        stack.faults.fill("containerd")
    stack.faults.mend()
    with pytest.raises(TargetError, match="containerd was not filled"):
        stack.faults.drain("containerd")
    assert stack.close() == []
