"""The shim v2 contract, call by call, on upstream's shim and on ours with the same assertions. Needs root, runc, busybox."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import shim_support
from shim_support import NAMESPACE, UPSTREAM, Machine, Task, make_machine, own_program

from sixhops.shim.varint import fields
from sixhops.wire.proto import (
    cgroup1_pb2,
    cgroup2_pb2,
    process_pb2,
    runc_options_pb2,
    runtime_info_pb2,
    shim_v2_pb2,
)
from sixhops.wire.proto.services import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(shim_support.missing()), reason=shim_support.missing())

NOT_FOUND = ("NOT_FOUND", "container not created: not found")
CRIU = "runc did not terminate successfully: exit status 1: "


@pytest.fixture(scope="module", params=["upstream", "ours"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if request.param == "upstream" and shutil.which(UPSTREAM) is None:
        pytest.skip(f"needs {UPSTREAM} on PATH")
    directory = tmp_path_factory.mktemp(str(request.param))
    program = [UPSTREAM] if request.param == "upstream" else own_program(directory)
    made = make_machine(directory, program, "runc")
    yield made
    made.close()


@pytest.fixture
def task(machine: Machine) -> Iterator[Task]:
    """A container that sleeps."""
    made = machine.running("sleep", "1000")
    yield made
    made.end()


def fifo(path: Path) -> tuple[str, int]:
    os.mkfifo(path)
    return str(path), os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def read_all(descriptor: int) -> bytes:
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def topics(events: list[tuple[str, object]]) -> list[str]:
    return [topic for topic, _ in events]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition: object) -> None:
    deadline = time.monotonic() + shim_support.SECONDS
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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

    task.call("Delete")

    assert gone(pid)
    assert topics(machine.receiver.wait_for(task.id, "/tasks/delete"))[-1] == "/tasks/delete"


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


@pytest.mark.skipif(shutil.which("criu") is not None, reason="CRIU is installed")
def test_checkpoint_without_criu(task: Task, tmp_path: Path) -> None:
    code, message = task.refused("Checkpoint", path=str(tmp_path))

    assert code == "UNKNOWN"
    assert message == (
        f"{CRIU}CRIU version check failed: "
        f'exec: "criu": executable file not found in $PATH path= {task.bundle}/criu-dump.log'
    )


@pytest.mark.skipif(shutil.which("criu") is not None, reason="CRIU is installed")
def test_restore_without_criu(machine: Machine, tmp_path: Path) -> None:
    task = machine.start("sleep", "1000")

    created = task.create(checkpoint=str(tmp_path))
    state = task.call("State")
    refused = task.refused("Start")

    assert (created.pid, state.status) == (0, process_pb2.CREATED)
    assert refused == (
        "UNKNOWN",
        'OCI runtime restore failed: CRIU version check failed: exec: "criu": executable file not found in $PATH',
    )
    assert _exec_refused(task) == ("UNKNOWN", "cannot exec in a created state")
    task.call("Delete")


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
    if ".v1." in stats.type_url:
        first = cgroup1_pb2.Metrics.FromString(stats.value)
        assert (first.memory.usage.limit, first.pids.current) == (64 << 20, 1)
        assert first.cpu.usage.total > 0
    else:
        second = cgroup2_pb2.Metrics.FromString(stats.value)
        assert (second.memory.usage_limit, second.pids.current) == (64 << 20, 1)


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

    until(lambda: gone(pid))
    assert not Path(task.address.removeprefix("unix://")).exists()


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


# -- streams


def test_stdin_until_close_io(machine: Machine, tmp_path: Path) -> None:
    out, reader = fifo(tmp_path / "out")
    os.mkfifo(tmp_path / "in")
    task = machine.running("cat", streams={"stdin": str(tmp_path / "in"), "stdout": out, "stderr": out})
    writer = os.open(tmp_path / "in", os.O_WRONLY)
    os.write(writer, b"typed")
    os.close(writer)

    task.call("CloseIO", stdin=True)

    assert task.wait().exit_status == 0
    task.call("Delete")
    assert read_all(reader) == b"typed"


def test_output_to_a_file(machine: Machine, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/new/log"
    script = "echo out; echo err >&2; sleep 1000"
    task = machine.running("sh", "-c", script, streams={"stdout": uri, "stderr": uri})

    # The two copies of upstream's race each other, and while the program runs: the end may drop what is on its way.
    until(lambda: sorted((tmp_path / "new" / "log").read_text().splitlines()) == ["err", "out"])
    task.end()


LOGGER = """#!/bin/sh
trap "" TERM
echo "$CONTAINER_ID $CONTAINER_NAMESPACE $*" > {0}/called
exec 5>&-
cat <&3 > {0}/out
cat <&4 > {0}/err
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_output_to_a_logging_program(machine: Machine, tmp_path: Path, terminal: bool) -> None:
    program = tmp_path / "logger"
    program.write_text(LOGGER.format(tmp_path))
    program.chmod(0o755)
    uri = f"binary://{program}?key=value"

    task = machine.running(
        "sh",
        "-c",
        "echo out; echo err >&2",
        terminal=terminal,
        streams={"stdout": uri, "stderr": "" if terminal else uri},
    )
    task.wait()
    task.call("Delete")

    assert (tmp_path / "called").read_text() == f"{task.id} {NAMESPACE} key value\n"
    if terminal:
        assert (tmp_path / "out").read_bytes() == b"out\r\nerr\r\n"
    else:
        until(lambda: (tmp_path / "err").exists() and (tmp_path / "err").read_text() == "err\n")
        assert (tmp_path / "out").read_text() == "out\n"


def test_terminal(machine: Machine, tmp_path: Path) -> None:
    out, reader = fifo(tmp_path / "out")
    os.mkfifo(tmp_path / "in")
    task = machine.start("sh", "-c", "read line; stty size; tty", terminal=True)
    task.create(terminal=True, stdin=str(tmp_path / "in"), stdout=out)
    task.call("ResizePty", width=111, height=33)
    task.call("Start")
    writer = os.open(tmp_path / "in", os.O_WRONLY)
    os.write(writer, b"x\n")

    assert task.wait().exit_status == 0
    assert task.call("State").terminal is True
    task.call("Delete")
    os.close(writer)
    assert read_all(reader) == b"x\r\n33 111\r\n/dev/pts/0\r\n"


# -- the command line


def test_start_prints_the_address(machine: Machine) -> None:
    task = machine.start("true")

    assert task.address.startswith("unix:///run/containerd/s/")
    assert (task.bundle / "address").read_text() == task.address
    pid = task.call("Connect").shim_pid
    assert Path(f"/proc/{pid}/cwd").readlink() == task.bundle
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:-1]
    socket = str(machine.directory / "c.sock")
    assert arguments == ["-namespace", NAMESPACE, "-id", task.id, "-address", socket]
    assert os.getpgid(pid) == pid
    task.end()


@pytest.mark.parametrize("annotation", ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"])
def test_containers_of_a_group_share_a_shim(machine: Machine, annotation: str) -> None:
    group = {annotation: f"pod-{os.getpid()}-{annotation[-3:]}"}
    first = machine.running("sleep", "1000", annotations=group)
    second = machine.running("sleep", "1000", annotations=group)

    pids = {each.call("Connect").shim_pid for each in (first, second)}

    assert first.address == second.address
    assert len(pids) == 1
    first.call("Kill", signal=signal.SIGKILL)
    first.wait()
    first.call("Delete")
    first.call("Shutdown")
    assert second.call("State").status == process_pb2.RUNNING
    second.end()
    until(lambda: gone(pids.pop()) if pids else True)


def test_delete_after_a_killed_shim(machine: Machine) -> None:
    task = machine.running("sleep", "1000")
    state = task.call("Connect")

    os.kill(state.shim_pid, signal.SIGKILL)
    until(lambda: gone(state.shim_pid))
    done = machine.run(task, "delete", "-bundle", str(task.bundle))

    answer = shim_v2_pb2.DeleteResponse.FromString(done.stdout)
    assert (answer.pid, answer.exit_status) == (state.task_pid, 137)
    assert abs(answer.exited_at.seconds - time.time()) < 10
    until(lambda: gone(state.task_pid))
    until(lambda: not list(Path("/sys/fs/cgroup").glob(f"*/sixhops-{task.id}")))
    assert not (machine.directory / "runc" / NAMESPACE / task.id).exists()


def test_terminated_shim_ends(machine: Machine) -> None:
    task = machine.running("sleep", "1000")
    state = task.call("Connect")

    os.kill(state.shim_pid, signal.SIGTERM)

    until(lambda: gone(state.shim_pid))
    machine.run(task, "delete", "-bundle", str(task.bundle))
    until(lambda: gone(state.task_pid))


WRONG = [
    (["-nope"], 2, "flag provided but not defined: -nope\nUsage of "),
    (["-id"], 2, "flag needs an argument: -id\nUsage of "),
]


@pytest.mark.parametrize(("flags", "status", "text"), WRONG)
def test_wrong_command_line(machine: Machine, flags: list[str], status: int, text: str) -> None:
    task = machine.bundle("true")

    done = machine.run(task, "", *flags, check=False)

    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.decode().startswith(text)


def test_start_without_a_specification(machine: Machine) -> None:
    task = machine.bundle("true")
    (task.bundle / "config.json").unlink()

    done = machine.run(task, "start", check=False)

    assert (done.returncode, done.stdout) == (1, b"")
    assert "open config.json: no such file or directory" in done.stderr.decode()


def test_version(machine: Machine) -> None:
    done = machine.run(machine.bundle("true"), "", "-v")

    assert b"\n  Version:  " in done.stdout


# -- newer than upstream's 1.6: ours alone


def only_ours(machine: Machine) -> None:
    if machine.upstream:
        pytest.skip("containerd 1.6 has not got this")


def test_start_answers_json_when_asked_the_way_of_1_7(machine: Machine) -> None:
    only_ours(machine)
    task = machine.bundle("true")

    done = machine.run(task, "start", MAX_SHIM_VERSION="2")

    answer = json.loads(done.stdout)
    task.address = answer["address"]
    task.client = task.connect()
    assert answer == {"version": 2, "address": (task.bundle / "address").read_text(), "protocol": "ttrpc"}
    assert task.call("Connect").shim_pid > 0
    task.end()


def text_field(number: int, value: str) -> bytes:
    return bytes((number << 3 | 2, len(value))) + value.encode()


def test_start_with_bootstrap_parameters(machine: Machine) -> None:
    only_ours(machine)
    task = machine.bundle("true")
    sockets = Path(tempfile.mkdtemp(prefix="s"))  # a socket's path is limited
    given = {
        1: task.id,
        2: NAMESPACE,
        5: f"{machine.directory}/c.sock.ttrpc",
        6: f"{machine.directory}/c.sock",
    }
    data = b"".join(text_field(number, value) for number, value in given.items())

    done = machine.run(task, "start", stdin=data + text_field(9, str(sockets)), MAX_SHIM_VERSION="2")

    answer = dict(fields(done.stdout))
    assert isinstance(answer[2], bytes)
    task.address = answer[2].decode()
    task.client = task.connect()
    assert (answer[1], answer[3]) == (3, b"ttrpc")
    assert task.address.startswith(f"unix://{sockets}/")
    task.create()
    task.call("Start")
    task.wait()
    machine.receiver.wait_for(task.id, "/tasks/exit")
    task.end()
    sockets.rmdir()  # empty again


def test_version_3_of_the_service_is_the_same(machine: Machine) -> None:
    only_ours(machine)
    task = machine.running("sleep", "1000")
    assert task.client is not None

    request = shim_v2_pb2.StateRequest(id=task.id).SerializeToString()
    answer = task.client.call("containerd.task.v3.Task", "State", request, timeout=shim_support.SECONDS)

    assert shim_v2_pb2.StateResponse.FromString(answer).status == process_pb2.RUNNING
    task.end()


def test_info_tells_the_runtimes_features(machine: Machine) -> None:
    only_ours(machine)
    options = machine.options().SerializeToString()
    done = machine.run(machine.bundle("true"), "", "-info", stdin=options)

    answer = runtime_info_pb2.RuntimeInfo.FromString(done.stdout)
    assert answer.name == "io.containerd.sixhops.v1"
    assert answer.options.SerializeToString() == options
    assert "ociVersionMin" in json.loads(answer.features.value)


def test_events_by_the_publish_binary(machine: Machine, tmp_path: Path) -> None:
    only_ours(machine)
    binary = tmp_path / "publish"
    binary.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\ncat > {tmp_path}/event\n')
    binary.chmod(0o755)
    task = machine.bundle("true")
    reader = os.open(task.bundle / "log", os.O_RDWR | os.O_NONBLOCK)
    done = machine.run(task, "start", "-publish-binary", str(binary), TTRPC_ADDRESS=str(tmp_path / "none"))
    task.address = done.stdout.decode()
    task.client = task.connect()

    task.create()
    task.call("Start")
    task.wait()
    task.call("Delete")
    until(lambda: (tmp_path / "called").exists() and "/tasks/delete" in (tmp_path / "called").read_text())

    lines = (tmp_path / "called").read_text().splitlines()
    address = machine.directory / "c.sock"
    assert lines[0] == f"--address {address} publish --topic /tasks/create --namespace {NAMESPACE}"
    assert [line.split()[4] for line in lines] == [
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
    ]
    task.end()
    os.close(reader)
