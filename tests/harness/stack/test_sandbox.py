"""Private machines: what is private in them, how they are reached, and that nothing survives them, however
they end.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stack_needs import NEEDS_ROOT, await_end

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.host import LocalHost
from sixhops.harness.stack.remains import find_cgroups
from sixhops.harness.stack.sandbox import Sandbox
from sixhops.harness.stack.state import base_directory, create, read_record, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = NEEDS_ROOT

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
BOUND = 20.0


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    machine = Sandbox.start(create(base_directory()), name="test")
    yield machine
    assert machine.close() == []


def run_shell(machine: Sandbox, script: str) -> str:
    log = machine.directory / "shell.log"
    log.unlink(missing_ok=True)
    machine.run("shell", ["/bin/sh", "-c", script], ENVIRONMENT, log=log)
    assert machine.wait_exit("shell", BOUND) is not None
    return log.read_text()


def test_programs_have_the_machines_own_pids(sandbox: Sandbox) -> None:
    assert run_shell(sandbox, "echo $$ $PPID") == f"{sandbox.pid_of('shell')} 1\n"


def test_only_loopback_is_there_and_it_is_up(sandbox: Sandbox) -> None:
    assert LocalHost(sandbox.init, sandbox.cgroup).links() == ["lo"]
    assert "state UNKNOWN" in run_shell(sandbox, "ip -o link show lo")


def test_no_packet_leaves(sandbox: Sandbox) -> None:
    with pytest.raises(TargetError, match="unreachable"):
        sandbox.connect("192.0.2.1", 80)


def test_the_hosts_docker_settings_and_run_are_hidden(sandbox: Sandbox) -> None:
    text = run_shell(sandbox, "ls -A /etc/docker /etc/containerd; ls -A /run; cat /etc/resolv.conf")

    assert text == "/etc/containerd:\n\n/etc/docker:\nlock\nnameserver 192.0.2.53\n"


def test_what_is_written_to_etc_stays_inside(sandbox: Sandbox) -> None:
    name = f"sixhops-test-{sandbox.id}"

    run_shell(sandbox, f"touch /etc/{name} /etc/docker/{name}; mount -t tmpfs none /mnt")

    assert not (Path("/etc") / name).exists()
    assert not (Path("/etc/docker") / name).exists()
    assert "/mnt" in LocalHost(sandbox.init, sandbox.cgroup).mounts().values()


def test_programs_get_no_descriptor_but_their_own(sandbox: Sandbox) -> None:
    # The fourth is that of the listing itself.
    assert run_shell(sandbox, "ls /proc/self/fd").split() == ["0", "1", "2", "3"]


def test_programs_get_default_signals(sandbox: Sandbox) -> None:
    assert "0000000000000000" in run_shell(sandbox, "grep SigIgn /proc/self/status")


def test_a_listening_socket_inside_is_served_from_outside(sandbox: Sandbox) -> None:
    with sandbox.listen() as listener:
        port = listener.getsockname()[1]
        with sandbox.connect("127.0.0.1", port) as client, listener.accept()[0] as server:
            server.sendall(b"hello")
            assert client.recv(5) == b"hello"
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
            pass


def test_an_exit_status_and_a_signal_are_reported(sandbox: Sandbox) -> None:
    sandbox.run("fails", ["/bin/sh", "-c", "exit 3"], ENVIRONMENT, log=sandbox.directory / "log")
    sandbox.run("sleeps", ["/bin/sleep", "100"], ENVIRONMENT, log=sandbox.directory / "log")
    sandbox.signal("sleeps", signal.SIGTERM)

    assert sandbox.wait_exit("fails", BOUND) == 3
    assert sandbox.wait_exit("sleeps", BOUND) == -signal.SIGTERM
    assert sandbox.exits() == {"fails": 3, "sleeps": -signal.SIGTERM}


def test_waiting_for_an_exit_is_bounded(sandbox: Sandbox) -> None:
    sandbox.run("sleeps", ["/bin/sleep", "100"], ENVIRONMENT, log=sandbox.directory / "log")

    assert sandbox.wait_exit("sleeps", 0.01) is None
    with pytest.raises(TargetError, match="runs already"):
        sandbox.run("sleeps", ["/bin/sleep", "100"], ENVIRONMENT, log=sandbox.directory / "log")


@pytest.mark.parametrize("argv", [["/no/such/program"], ["/etc/hostname"], ["/"]])
def test_a_program_that_cannot_be_executed(sandbox: Sandbox, argv: list[str]) -> None:
    with pytest.raises(TargetError, match=rf"start bad: .*'{argv[0]}'"):
        sandbox.run("bad", argv, ENVIRONMENT, log=sandbox.directory / "log")


@pytest.mark.parametrize("target", ["nobody", 12345])
def test_a_signal_to_nobody_is_an_error(sandbox: Sandbox, target: str | int) -> None:
    with pytest.raises(TargetError, match="signal"):
        sandbox.signal(target, signal.SIGTERM)


def test_orphans_are_reaped(sandbox: Sandbox) -> None:
    run_shell(sandbox, "(true & exec sleep 0) & exit 0")
    table = LocalHost(sandbox.init, sandbox.cgroup).processes

    deadline = time.monotonic() + BOUND
    while [process["comm"] for process in table()] != ["sixhops-init"]:
        assert time.monotonic() < deadline, table()
        select.select([], [], [], 0.005)


def test_close_twice_gives_the_same(sandbox: Sandbox) -> None:
    assert sandbox.close() == []
    assert sandbox.close() == []
    assert not sandbox.alive()
    with pytest.raises(TargetError, match="has gone"):
        sandbox.run("late", ["/bin/true"], ENVIRONMENT, log=Path("/dev/null"))


def test_two_machines_do_not_see_each_other(sandbox: Sandbox) -> None:
    other = Sandbox.start(create(base_directory()), name="other")
    try:
        with sandbox.listen(port=4711), other.listen(port=4711):
            pids = {
                machine.run("x", ["/bin/sleep", "9"], ENVIRONMENT, log=Path("/dev/null"))
                for machine in (sandbox, other)
            }
            assert pids == {2}
    finally:
        assert other.close() == []


def test_the_first_process_killed_takes_everything_along(sandbox: Sandbox) -> None:
    record = read_record(sandbox.directory)
    assert record is not None
    sandbox.run("sleeps", ["/bin/sleep", "100"], ENVIRONMENT, log=sandbox.directory / "log")

    os.kill(sandbox.init, signal.SIGKILL)

    assert sandbox.wait_exit("sleeps", BOUND) == -signal.SIGKILL
    await_end(record.reaper)
    assert not sandbox.directory.exists()
    assert find_cgroups(sandbox.id) == []
    assert not sandbox.alive()


def test_the_reaper_killed_ends_the_machine_and_close_cleans_up(sandbox: Sandbox) -> None:
    record = read_record(sandbox.directory)
    assert record is not None

    os.kill(record.reaper, signal.SIGKILL)
    await_end(sandbox.init)

    assert sandbox.directory.exists()
    assert sandbox.close() == []
    assert not sandbox.directory.exists()
    assert find_cgroups(sandbox.id) == []


OWNER = """
import sys
from sixhops.harness.stack.sandbox import Sandbox
from sixhops.harness.stack.state import base_directory, create
machine = Sandbox.start(create(base_directory()), name="owned")
machine.run("sleeps", ["/bin/sleep", "100"], {}, log=machine.directory / "log")
print(machine.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owned() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A machine whose owner is a process that can be killed."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        yield owner, Path(owner.stdout.readline().strip())
        owner.kill()


def test_the_owner_killed_ends_the_machine_and_leaves_nothing(
    owned: tuple[subprocess.Popen[str], Path],
) -> None:
    owner, directory = owned
    record = read_record(directory)
    assert record is not None

    owner.kill()

    await_end(record.init)
    await_end(record.reaper)
    assert not directory.exists()
    assert find_cgroups(directory.name) == []


def test_owner_and_reaper_killed_leave_what_the_next_sweep_removes(
    owned: tuple[subprocess.Popen[str], Path],
) -> None:
    owner, directory = owned
    record = read_record(directory)
    assert record is not None

    os.kill(record.reaper, signal.SIGKILL)
    owner.kill()
    await_end(record.init)
    owner.wait(BOUND)

    # Another test's start may have swept already.
    sweep(base_directory())
    assert not directory.exists()
    assert find_cgroups(directory.name) == []


def test_a_machine_with_a_frozen_process_still_ends(sandbox: Sandbox) -> None:
    freezer = Path("/sys/fs/cgroup/freezer") / sandbox.cgroup
    if not freezer.exists():
        pytest.skip("needs the freezer of cgroup v1: on v2 a frozen process dies of SIGKILL anyhow")
    sandbox.run("sleeps", ["/bin/sleep", "100"], ENVIRONMENT, log=sandbox.directory / "log")
    host_pid = next(
        int(child) for child in Path(f"/proc/{sandbox.init}/task/{sandbox.init}/children").read_text().split()
    )
    (freezer / "cgroup.procs").write_text(str(host_pid))
    (freezer / "freezer.state").write_text("FROZEN")

    started = time.monotonic()
    assert sandbox.close() == []
    assert time.monotonic() - started < 5


def test_a_detached_machine_outlives_its_starter_until_it_is_told_to_stop() -> None:
    first = Sandbox.start(create(base_directory()), name="detached", detached=True)
    log = first.directory / "log"
    first.run("sleeps", ["/bin/sleep", "100"], ENVIRONMENT, log=log)
    record = read_record(first.directory)
    assert record is not None

    second = Sandbox.attach(first.directory)
    second.signal("sleeps", signal.SIGTERM)
    assert second.wait_exit("sleeps", BOUND) == -signal.SIGTERM
    second.detach()
    assert first.alive()

    assert first.close() == []
    await_end(record.init)


def test_a_tied_machine_ends_with_its_starter_unless_it_lets_go() -> None:
    tied, free = (
        Sandbox.start(create(base_directory()), name="tied", detached=True, tied=True) for _ in range(2)
    )
    other = Sandbox.attach(free.directory)

    free.detach()
    assert other.close() == []
    assert tied.close() == []


TIED = """
import os, sys
from sixhops.harness.stack.sandbox import Sandbox
from sixhops.harness.stack.state import base_directory, create
machine = Sandbox.start(create(base_directory()), name="tied", detached=True, tied=True)
print(machine.directory, flush=True)
if sys.argv[1] == "leave":
    machine.detach()
os._exit(0)
"""


@pytest.mark.parametrize("how", ["leave", "die"])
def test_a_tied_machine_after_its_starter(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TIED, how], capture_output=True, text=True, check=True, timeout=30
    )
    directory = Path(done.stdout.strip())
    if how == "leave":
        assert Sandbox.attach(directory).close() == []
    record = read_record(directory)
    if record is not None:  # else the reaper was quicker than we are
        await_end(record.reaper)

    assert not directory.exists()
    assert find_cgroups(directory.name) == []


def test_a_program_gets_the_descriptors_that_it_is_given(sandbox: Sandbox) -> None:
    given = [os.open("/dev/null", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)]
    log = sandbox.directory / "descriptors.log"
    script = "readlink /proc/self/fd/3 /proc/self/fd/4; ls /proc/self/fd | wc -l"

    sandbox.run("given", ["/bin/sh", "-c", script], ENVIRONMENT, log=log, descriptors=given)
    assert sandbox.wait_exit("given", BOUND) == 0
    for number in given:
        os.close(number)

    assert log.read_text().split() == ["/dev/null", "/dev/zero", "6"]
