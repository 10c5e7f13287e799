"""The shim v2 contract, call by call, on upstream's shim and on ours with the same assertions. Needs root, runc, busybox."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import shim_support
from shim_support import CRIU, NOT_FOUND, Machine, Task, fifo, gone, read_all, topics, until

from sixhops.wire.proto import (
    process_pb2,
    shim_v2_pb2,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(bool(shim_support.missing()), reason=shim_support.missing())


# -- the whole way, and what is told on it


def test_run_to_the_end(machine: Machine, tmp_path: Path) -> None:
    (out, reader), (err, errors) = fifo(tmp_path / "out"), fifo(tmp_path / "err")
    task = machine.start("sh", "-c", "echo out; echo err >&2; exit 7")

    created = task.create(stdout=out, stderr=err)
    started = task.call("Start")
    waited = task.wait()
    state = task.call("State")
    deleted = task.call("Delete")

    assert created.pid == started.pid == deleted.pid == state.pid
    assert (waited.exit_status, deleted.exit_status, state.exit_status) == (7, 7, 7)
    assert state.status == process_pb2.STOPPED
    assert waited.exited_at == deleted.exited_at == state.exited_at
    assert (read_all(reader), read_all(errors)) == (b"out\n", b"err\n")
    events = machine.receiver.wait_for(task.id, "/tasks/delete")
    assert topics(events) == ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]
    create, exit_event = events[0][1], events[2][1]
    assert (create.pid, create.bundle, create.io.stdout) == (created.pid, str(task.bundle), out)
    assert (exit_event.id, exit_event.pid, exit_event.exit_status) == (task.id, created.pid, 7)
    assert task.refused("State") == NOT_FOUND


def test_state_tells_streams_and_bundle(machine: Machine, tmp_path: Path) -> None:
    out, reader = fifo(tmp_path / "out")
    task = machine.start("sleep", "1000")
    task.create(stdout=out, stderr=out)

    state = task.call("State")

    assert (state.id, state.bundle, state.stdout, state.stderr) == (task.id, str(task.bundle), out, out)
    assert (state.status, state.terminal, state.exit_status) == (process_pb2.CREATED, False, 0)
    assert state.exited_at.seconds == -62135596800  # Go's zero time
    os.close(reader)
    task.end()


def test_every_waiter_gets_the_status(task: Task) -> None:
    clients = [task.connect() for _ in range(3)]
    request = shim_v2_pb2.WaitRequest(id=task.id).SerializeToString()
    calls = [(each, each.begin("containerd.task.v2.Task", "Wait", request)) for each in clients]

    task.call("Kill", signal=signal.SIGKILL)

    answers = [each.finish(stream, shim_support.SECONDS) for each, stream in calls]
    assert {shim_v2_pb2.WaitResponse.FromString(answer).exit_status for answer in answers} == {137}
    for each in clients:
        each.close()


def test_children_of_a_container_without_a_pid_namespace_end_with_it(machine: Machine) -> None:
    kinds = [{"type": kind} for kind in ("mount", "ipc", "uts", "network")]
    task = machine.running("sh", "-c", "sleep 1000 & sleep 1000", linux={"namespaces": kinds})
    until(lambda: len(task.call("Pids").processes) == 2)  # the shell has become the second
    pids = [each.pid for each in task.call("Pids").processes]

    os.kill(task.call("State").pid, signal.SIGKILL)
    machine.receiver.wait_for(task.id, "/tasks/exit")

    until(lambda: all(gone(pid) for pid in pids))
    assert task.call("Delete").exit_status == 137


def test_created_container_can_be_deleted(machine: Machine) -> None:
    task = machine.start("sleep", "1000")
    pid = task.create().pid

    answer = task.call("Delete")

    # killed by the runtime, which is told; but nothing that ran has ended, and that has no time
    assert (answer.pid, answer.exit_status, answer.exited_at.ToDatetime().year) == (pid, 0, 1)
    assert gone(pid)
    events = machine.receiver.wait_for(task.id, "/tasks/delete")
    assert topics(events) == ["/tasks/create", "/tasks/exit", "/tasks/delete"]


# -- refusals


@pytest.mark.parametrize("method", sorted(set(shim_support.TASK.methods) - {"Create", "Connect", "Shutdown"}))
def test_container_that_is_not_there(machine: Machine, method: str) -> None:
    task = machine.tasks[0] if machine.tasks and machine.tasks[0].client else machine.start("true")

    assert task.refused(method, id="nobody") == NOT_FOUND


EXEC_METHODS = ("Delete", "Kill", "ResizePty", "Start", "State", "Wait")


@pytest.mark.parametrize("method", EXEC_METHODS)
def test_process_that_is_not_there(task: Task, method: str) -> None:
    assert task.refused(method, exec_id="none") == ("NOT_FOUND", "process does not exist none: not found")


def test_refusals_by_state(machine: Machine) -> None:
    task = machine.start("sleep", "1000")
    seen = {}
    task.create()
    for method in ("Pause", "Resume", "Checkpoint"):
        seen[f"created {method}"] = task.refused(method)
    task.call("Start")
    for method in ("Start", "Resume", "Delete"):
        seen[f"running {method}"] = task.refused(method)
    task.call("Pause")
    for method in ("Pause", "Start", "Delete"):
        seen[f"paused {method}"] = task.refused(method)
    seen["paused Exec"] = _exec_refused(task)
    task.call("Resume")
    task.call("Kill", signal=signal.SIGKILL)
    task.wait()
    for method in ("Start", "Pause", "Resume", "Checkpoint", "Update"):
        seen[f"stopped {method}"] = task.refused(method)
    seen["stopped Exec"] = _exec_refused(task)
    seen["stopped Kill"] = task.refused("Kill", signal=9)
    task.call("Delete")

    assert seen == {
        "created Pause": ("UNKNOWN", "cannot pause task in created state"),
        "created Resume": ("UNKNOWN", "cannot resume task in created state"),
        "created Checkpoint": ("UNKNOWN", "cannot checkpoint a task in created state"),
        "running Start": ("UNKNOWN", "cannot start a running process"),
        "running Resume": ("UNKNOWN", "cannot resume a running process"),
        "running Delete": ("UNKNOWN", "cannot delete a running process"),
        "paused Pause": ("UNKNOWN", "cannot pause a paused container"),
        "paused Start": ("UNKNOWN", "cannot start a paused process"),
        "paused Delete": ("UNKNOWN", "cannot delete a paused process"),
        "paused Exec": ("UNKNOWN", "cannot exec in a paused state"),
        "stopped Start": ("UNKNOWN", "cannot start a stopped process"),
        "stopped Pause": ("UNKNOWN", "cannot pause a stopped container"),
        "stopped Resume": ("UNKNOWN", "cannot resume a stopped container"),
        "stopped Checkpoint": ("UNKNOWN", "cannot checkpoint a stopped container"),
        "stopped Update": ("UNKNOWN", "cannot update a stopped container"),
        "stopped Exec": ("UNKNOWN", "cannot exec in a stopped state"),
        "stopped Kill": ("NOT_FOUND", "process already finished: not found"),
    }


def _exec_refused(task: Task) -> tuple[str, str]:
    try:
        task.exec("refused", "true")
    except shim_support.RpcError as error:
        return shim_support.refusal(error)
    raise AssertionError("Exec was not refused")


CREATE_REFUSED = [
    ({"bundle": "/none"}, "NOT_FOUND", "open /none/options.json: no such file or directory"),
    (
        {"options": {"type_url": "some.other.Type", "value": b""}},
        "UNKNOWN",
        "type with url some.other.Type: not found",
    ),
    (
        {"rootfs": [{"type": "nosuchfs", "source": "x", "options": ["ro", "sync"]}]},
        "UNKNOWN",
        "failed to mount rootfs component &{nosuchfs x [ro sync]}: no such device",
    ),
    (
        {"stdout": "nats://x"},
        "UNKNOWN",
        "failed to create init process I/O: unknown STDIO scheme nats",
    ),
    (
        {"stdout": "::%%"},
        "UNKNOWN",
        'failed to create init process I/O: unable to parse stdout uri: parse "::%%": missing protocol scheme',
    ),
    (
        {"stdout": "/none/out"},
        "UNKNOWN",
        (
            'failed to start io pipe copy: unable to copy pipes: containerd-shim: opening file "/none/out" failed: '
            "open /none/out: no such file or directory"
        ),
    ),
    (
        {"stdout": "binary:///none"},
        "UNKNOWN",
        (
            "failed to create init process I/O: 1 error occurred:\n\t* failed to start binary process: "
            "fork/exec /none: no such file or directory\n\n"
        ),
    ),
]


@pytest.mark.parametrize(("changes", "code", "message"), CREATE_REFUSED)
def test_create_refused(machine: Machine, changes: dict[str, object], code: str, message: str) -> None:
    task = machine.start("sleep", "1000")
    request = {"bundle": str(task.bundle), "options": machine.options()} | changes

    assert task.refused("Create", **request) == (code, message)

    assert task.refused("State") == NOT_FOUND
    task.end()


def test_missing_command(machine: Machine) -> None:
    task = machine.start("nosuch")
    request = {"bundle": str(task.bundle), "options": machine.options()}

    assert task.refused("Create", **request) == (
        "UNKNOWN",
        (
            "OCI runtime create failed: runc create failed: unable to start container process: "
            'exec: "nosuch": executable file not found in $PATH'
        ),
    )
    task.end()


def test_missing_runtime(machine: Machine) -> None:
    task = machine.start("true")
    request = {"bundle": str(task.bundle), "options": machine.options(binary_name="nosuchrunc")}

    assert task.refused("Create", **request) == (
        "UNKNOWN",
        (
            "OCI runtime create failed: unable to retrieve OCI runtime error "
            f"(open {task.bundle}/log.json: no such file or directory): "
            'exec: "nosuchrunc": executable file not found in $PATH'
        ),
    )
    task.end()


def test_second_create_of_an_id(task: Task) -> None:
    request = {"bundle": str(task.bundle), "options": task.machine.options()}

    assert task.refused("Create", **request) == (
        "UNKNOWN",
        "OCI runtime create failed: runc create failed: container with given ID already exists",
    )
    assert task.call("State").status == process_pb2.RUNNING


def test_bad_requests(task: Task) -> None:
    limits = {"type_url": "x", "value": b'{"memory":'}

    assert task.refused("Update", resources=limits) == ("UNKNOWN", "unexpected end of JSON input")
    assert task.refused("Exec", exec_id="e", spec={"type_url": "x", "value": b""}) == (
        "UNKNOWN",
        "unexpected end of JSON input",
    )
    assert task.refused("Kill", signal=99) == (
        "UNKNOWN",
        (
            "unknown error after kill: runc did not terminate successfully: exit status 1: "
            "unable to signal init: invalid argument\n"
        ),
    )
    assert task.refused("CloseIO", exec_id="none", stdin=True) == (
        "UNKNOWN",
        "process does not exist none: not found",
    )


def test_checkpoint_that_the_runtime_refuses(task: Task, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, message = task.refused("Checkpoint", path=f"{tmp_path}/file/image")

    assert code == "UNKNOWN"
    assert message == f"{CRIU}mkdir {tmp_path}/file: not a directory path= {task.bundle}/criu-dump.log"


def test_restore_that_the_runtime_refuses(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    task = machine.start("sleep", "1000")

    created = task.create(checkpoint=f"{tmp_path}/file/image")
    state = task.call("State")
    refused = task.refused("Start")

    assert (created.pid, state.status) == (0, process_pb2.CREATED)
    assert refused == ("UNKNOWN", f"OCI runtime restore failed: mkdir {tmp_path}/file: not a directory")
    assert _exec_refused(task) == ("UNKNOWN", "cannot exec in a created state")
    task.call("Delete")
