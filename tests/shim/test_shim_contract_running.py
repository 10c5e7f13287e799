"""The shim v2 contract of what runs: exec, freezing, limits, figures. As test_shim_contract."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import shim_support
from shim_support import Machine, Task, fifo, gone, read_all, topics, until

from sixhops.wire.proto import (
    cgroup1_pb2,
    cgroup2_pb2,
    process_pb2,
    runc_options_pb2,
)
from sixhops.wire.proto.services import unpack

pytestmark = pytest.mark.skipif(bool(shim_support.missing()), reason=shim_support.missing())


# -- exec


def test_exec(task: Task, tmp_path: Path) -> None:
    out, reader = fifo(tmp_path / "out")

    task.exec("e1", "sh", "-c", "echo inside; exit 3", stdout=out, stderr=out)
    added = task.call("State", exec_id="e1")
    pid = task.call("Start", exec_id="e1").pid
    waited = task.wait(exec_id="e1")
    stopped = task.call("State", exec_id="e1")
    deleted = task.call("Delete", exec_id="e1")

    assert (added.status, added.pid, added.id) == (process_pb2.CREATED, 0, "e1")
    assert (stopped.status, stopped.pid, stopped.exit_status) == (process_pb2.STOPPED, pid, 3)
    assert (waited.exit_status, deleted.exit_status, deleted.pid) == (3, 3, pid)
    assert read_all(reader) == b"inside\n"
    events = list(task.machine.receiver.wait_for(task.id, "/tasks/exit"))[2:]
    assert topics(events) == ["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"]
    assert (events[1][1].exec_id, events[1][1].pid, events[2][1].id) == ("e1", pid, "e1")
    assert not (task.bundle / "e1.pid").exists()


def test_exec_refusals(task: Task) -> None:
    task.exec("e1", "sleep", "1000")

    seen = {"twice": task.refused("Exec", exec_id="e1", spec={"type_url": "x", "value": b"{}"})}
    seen["kill created"] = task.refused("Kill", exec_id="e1", signal=9)
    task.call("Start", exec_id="e1")
    seen["start running"] = task.refused("Start", exec_id="e1")
    seen["delete running"] = task.refused("Delete", exec_id="e1")
    seen["bad signal"] = task.refused("Kill", exec_id="e1", signal=99)
    task.call("Kill", exec_id="e1", signal=signal.SIGTERM)
    status = task.wait(exec_id="e1").exit_status
    seen["kill stopped"] = task.refused("Kill", exec_id="e1", signal=9)
    seen["start stopped"] = task.refused("Start", exec_id="e1")
    seen["resize stopped"] = task.refused("ResizePty", exec_id="e1")

    assert status == 143
    assert seen == {
        "twice": ("ALREADY_EXISTS", "id e1: already exists"),
        "kill created": ("FAILED_PRECONDITION", "process not created: failed precondition"),
        "start running": ("UNKNOWN", "cannot start a running process"),
        "delete running": ("UNKNOWN", "cannot delete a running process"),
        "bad signal": ("UNKNOWN", "exec kill error: unknown error after kill: invalid argument"),
        "kill stopped": ("NOT_FOUND", "process already finished: not found"),
        "start stopped": ("UNKNOWN", "cannot start a stopped process"),
        "resize stopped": ("UNKNOWN", "cannot resize a stopped container"),
    }


def test_exec_that_can_not_start(task: Task) -> None:
    task.exec("e1", "nosuch")

    refused = task.refused("Start", exec_id="e1")

    assert refused == (
        "UNKNOWN",
        (
            "OCI runtime exec failed: exec failed: unable to start container process: "
            'exec: "nosuch": executable file not found in $PATH'
        ),
    )
    assert task.call("State", exec_id="e1").status == process_pb2.CREATED
    assert task.wait(exec_id="e1").exit_status == 0
    task.call("Delete", exec_id="e1")
    assert task.refused("State", exec_id="e1")[0] == "NOT_FOUND"


def test_exec_in_a_container_that_is_not_started(machine: Machine) -> None:
    task = machine.start("sleep", "1000")
    task.create()

    task.exec("e1", "sh", "-c", "exit 4")
    task.call("Start", exec_id="e1")

    assert task.wait(exec_id="e1").exit_status == 4
    task.end()


# -- freezing, limits, figures, processes


def test_pause_and_resume(task: Task) -> None:
    task.exec("e1", "sleep", "1000")
    task.call("Start", exec_id="e1")

    task.call("Pause")
    paused = [task.call("State").status, task.call("State", exec_id="e1").status]
    task.call("Resume")
    running = [task.call("State").status, task.call("State", exec_id="e1").status]

    assert paused == [process_pb2.PAUSED] * 2
    assert running == [process_pb2.RUNNING] * 2
    assert topics(task.machine.receiver.wait_for(task.id, "/tasks/resumed"))[-2:] == [
        "/tasks/paused",
        "/tasks/resumed",
    ]


def test_killed_while_paused(task: Task) -> None:
    task.call("Pause")

    task.call("Kill", signal=signal.SIGKILL)

    assert task.wait().exit_status == 137


def test_pids_tell_execs(task: Task) -> None:
    task.exec("e1", "sleep", "1000")
    pid = task.call("Start", exec_id="e1").pid

    found = {each.pid: each.info for each in task.call("Pids").processes}

    assert set(found) == {task.call("State").pid, pid}
    details = runc_options_pb2.ProcessDetails()
    assert unpack(found[pid], details)
    assert details.exec_id == "e1"


def test_update_and_stats(task: Task) -> None:
    limits = {"memory": {"limit": 64 << 20}}

    task.call("Update", resources={"type_url": "x", "value": json.dumps(limits).encode()})

    stats = task.call("Stats").stats
    assert stats.type_url in ("io.containerd.cgroups.v1.Metrics", "io.containerd.cgroups.v2.Metrics")
    kind = cgroup1_pb2.Metrics if ".v1." in stats.type_url else cgroup2_pb2.Metrics
    found = kind.FromString(stats.value)
    if isinstance(found, cgroup1_pb2.Metrics):
        assert found.memory.usage.limit == 64 << 20
        assert found.cpu.usage.total > 0
    else:
        assert found.memory.usage_limit == 64 << 20
    # runc's own threads are counted until it has become the program, which may be after Start.
    until(lambda: kind.FromString(task.call("Stats").stats.value).pids.current == 1)


def test_connect_tells_both_pids(task: Task) -> None:
    answer = task.call("Connect")

    assert answer.task_pid == task.call("State").pid
    status = Path(f"/proc/{answer.task_pid}/stat").read_text().rpartition(")")[2].split()
    assert int(status[1]) == answer.shim_pid
    assert Path(f"/proc/{answer.shim_pid}/comm").read_text() == "containerd-shim\n"
    assert task.call("Connect", id="other").task_pid == 0


def test_shutdown_waits_for_the_last_container(task: Task) -> None:
    pid = task.call("Connect").shim_pid

    task.call("Shutdown")
    assert task.call("State").status == process_pb2.RUNNING
    task.call("Kill", signal=signal.SIGKILL)
    task.wait()
    task.call("Delete")
    task.call("Shutdown")

    # Upstream's may go after the answer. Ours has gone by then: the container's next shim may be started at once.
    address = Path(task.address.removeprefix("unix://"))
    if task.machine.upstream:
        until(lambda: not address.exists())
    assert not address.exists()
    until(lambda: gone(pid))


def test_out_of_memory_is_told(machine: Machine) -> None:
    limits = {"memory": {"limit": 8 << 20, "swap": 8 << 20}}
    # Again and again: a shim begins to watch when the program has been started, which may be too late for the first time.
    again = "while true; do tail /dev/zero; sleep 1; done"
    task = machine.running("sh", "-c", again, linux={"resources": limits}, mounts=DEVICES)

    events = machine.receiver.wait_for(task.id, "/tasks/oom")

    assert topics(events)[:3] == ["/tasks/create", "/tasks/start", "/tasks/oom"]
    task.end()


DEVICES = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
]
