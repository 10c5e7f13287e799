"""The shim v2 contract of streams and of the command line. As test_shim_contract."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
import shim_support
from shim_support import NAMESPACE, Machine, fifo, gone, read_all, until

from sixhops.shim.varint import fields
from sixhops.wire.proto import (
    process_pb2,
    runtime_info_pb2,
    shim_v2_pb2,
)

pytestmark = pytest.mark.skipif(bool(shim_support.missing()), reason=shim_support.missing())


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
        # Upstream's shim waits for a logging program only where there is no terminal.
        until(lambda: (tmp_path / "out").read_bytes() == b"out\r\nerr\r\n")
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
