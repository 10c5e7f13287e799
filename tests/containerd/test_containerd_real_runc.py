"""containerd and its shim with a real runc, on this machine: needs root, runc and busybox.

One containerd for the module; each test has containers of its own. The forked shim and the shim's own command line are
two rows of the same tests.
"""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from containerd_support import NAMESPACE, NEEDS, SECONDS, Containerd, make, subscribe

from sixhops.wire.proto import (
    payloads_pb2,
    process_pb2,
    shim_v2_pb2,
    tasks_pb2,
)
from sixhops.wire.ttrpc import aio

pytestmark = NEEDS


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    directory = tmp_path_factory.mktemp("ctrd")
    made = make(directory)
    made.start()
    yield made
    for identifier in made.made:
        made.remove(identifier)
    assert made.channel is not None
    assert made.process is not None
    made.channel.close()
    made.process.terminate()
    assert made.process.wait(SECONDS) == 0


@pytest.fixture(params=["io.containerd.sixhops.v1", "io.containerd.runc.v2"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read_fifo(path: Path) -> int:
    os.mkfifo(path)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def read_all(descriptor: int) -> bytes:
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def test_run_to_the_end(containerd: Containerd, runtime: str, tmp_path: Path) -> None:
    name = f"run-{runtime[14:]}"
    out, err = read_fifo(tmp_path / "out"), read_fifo(tmp_path / "err")

    created = containerd.create(
        name,
        runtime,
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
        stdout=f"{tmp_path}/out",
        stderr=f"{tmp_path}/err",
    )
    shim = Path(f"/proc/{os_parent(created.pid)}")
    comm = (shim / "comm").read_text()
    assert containerd.start_task(name).pid == created.pid
    status = containerd.wait(name)
    deleted = containerd.call("Tasks/Delete", tasks_pb2.DeleteTaskRequest(container_id=name))

    assert (status, deleted.exit_status, comm) == (7, 7, "containerd-shim\n")
    assert (read_all(out), read_all(err)) == (b"out\n", b"err\n")
    assert not (containerd.directory / "state" / "io.containerd.runtime.v2.task" / NAMESPACE / name).exists()
    gone = containerd.call("Tasks/Get", tasks_pb2.GetRequest(container_id=name))
    assert gone == ("NOT_FOUND", f"task {name} not found")


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def os_parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_missing_command(containerd: Containerd, runtime: str) -> None:
    code, message = containerd.create(f"none-{runtime[14:]}", runtime, "nosuchcmd")

    assert code == "UNKNOWN"
    assert message.startswith("failed to create shim task: OCI runtime create failed: runc create failed: ")
    assert message.endswith('exec: "nosuchcmd": executable file not found in $PATH: unknown')


def test_exec_pause_and_figures(containerd: Containerd, runtime: str, tmp_path: Path) -> None:
    name = f"exec-{runtime[14:]}"
    containerd.create(name, runtime, "sleep", "1000")
    containerd.start_task(name)
    out = read_fifo(tmp_path / "out")
    spec = containerd.spec(name, ("sh", "-c", "echo inside; exit 3"))["process"]
    request = tasks_pb2.ExecProcessRequest(container_id=name, exec_id="e1", stdout=f"{tmp_path}/out")
    request.spec.value = json.dumps(spec).encode()

    containerd.call("Tasks/Exec", request)
    twice = containerd.call("Tasks/Exec", request)
    containerd.call("Tasks/Start", tasks_pb2.StartRequest(container_id=name, exec_id="e1"))
    waited = containerd.call("Tasks/Wait", tasks_pb2.WaitRequest(container_id=name, exec_id="e1"))
    deleted = containerd.call(
        "Tasks/DeleteProcess", tasks_pb2.DeleteProcessRequest(container_id=name, exec_id="e1")
    )
    containerd.call("Tasks/Pause", tasks_pb2.PauseTaskRequest(container_id=name))
    paused = containerd.call("Tasks/Get", tasks_pb2.GetRequest(container_id=name)).process.status
    again = containerd.call("Tasks/Pause", tasks_pb2.PauseTaskRequest(container_id=name))
    containerd.call("Tasks/Resume", tasks_pb2.ResumeTaskRequest(container_id=name))
    pids = containerd.call("Tasks/ListPids", tasks_pb2.ListPidsRequest(container_id=name)).processes
    metrics = containerd.call("Tasks/Metrics", tasks_pb2.MetricsRequest(filters=[f"id=={name}"])).metrics
    running = containerd.call("Tasks/Delete", tasks_pb2.DeleteTaskRequest(container_id=name))

    assert (waited.exit_status, deleted.exit_status, read_all(out)) == (3, 3, b"inside\n")
    assert twice == ("ALREADY_EXISTS", "id e1: already exists")
    assert paused == process_pb2.PAUSED
    assert again == ("UNKNOWN", "cannot pause a paused container: unknown")
    assert len(pids) == 1
    assert metrics[0].data.type_url.startswith("io.containerd.cgroups.v")
    assert running == ("UNKNOWN", "failed to delete task: cannot delete a running process: unknown")


def test_stdin_is_handed_through(containerd: Containerd, runtime: str, tmp_path: Path) -> None:
    name = f"cat-{runtime[14:]}"
    out = read_fifo(tmp_path / "out")
    os.mkfifo(tmp_path / "in")
    containerd.create(name, runtime, "cat", stdin=f"{tmp_path}/in", stdout=f"{tmp_path}/out")
    containerd.start_task(name)
    writer = os.open(tmp_path / "in", os.O_WRONLY)
    os.write(writer, b"typed")
    os.close(writer)

    containerd.call("Tasks/CloseIO", tasks_pb2.CloseIORequest(container_id=name, stdin=True))

    assert containerd.wait(name) == 0
    assert read_all(out) == b"typed"


def test_events_come_in_order(containerd: Containerd, runtime: str) -> None:
    name = f"events-{runtime[14:]}"
    events = subscribe(containerd, "topic~=|^/tasks/|")

    containerd.create(name, runtime, "true")
    containerd.start_task(name)
    containerd.wait(name)
    containerd.call("Tasks/Delete", tasks_pb2.DeleteTaskRequest(container_id=name))

    seen: list[str] = []
    while "/tasks/delete" not in seen:
        envelope = events.get(timeout=SECONDS)
        if name.encode() in envelope.event.value:
            seen.append(envelope.topic)
    assert seen == ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]


def test_killed_shim_takes_its_container_along(containerd: Containerd, runtime: str) -> None:
    name = f"dead-{runtime[14:]}"
    pid = containerd.create(name, runtime, "sleep", "1000").pid
    containerd.start_task(name)
    events = subscribe(containerd, 'topic=="/tasks/exit"')

    os.kill(os_parent(pid), signal.SIGKILL)

    event = payloads_pb2.TaskExit()
    while event.container_id != name:
        event = payloads_pb2.TaskExit.FromString(events.get(timeout=SECONDS).event.value)
    assert (event.exit_status, event.pid) == (137, pid)
    assert state_of(pid) in ("", "Z")  # gone, or waiting for init to reap it


def test_tasks_survive_a_killed_containerd(containerd: Containerd, runtime: str) -> None:
    name = f"kept-{runtime[14:]}"
    pid = containerd.create(name, runtime, "sleep", "1000").pid
    containerd.start_task(name)

    containerd.kill()
    containerd.start()

    answer = containerd.call("Tasks/Get", tasks_pb2.GetRequest(container_id=name))
    assert not isinstance(answer, tuple), answer
    process = answer.process
    assert (process.pid, process.status) == (pid, process_pb2.RUNNING)
    containerd.call("Tasks/Kill", tasks_pb2.KillRequest(container_id=name, signal=signal.SIGKILL))
    assert containerd.wait(name) == 137


def test_container_that_somebody_else_deleted_is_forgotten(containerd: Containerd, runtime: str) -> None:
    name = f"stolen-{runtime[14:]}"
    assert not isinstance(containerd.create(name, runtime, "sleep", "1000"), tuple)
    bundle = containerd.directory / "state" / "io.containerd.runtime.v2.task" / NAMESPACE / name
    address = (bundle / "address").read_text().removeprefix("unix://")

    async def steal() -> None:
        client = await aio.connect(address)
        await client.call(
            "containerd.task.v2.Task", "Delete", shim_v2_pb2.DeleteRequest(id=name).SerializeToString()
        )
        await client.close()

    asyncio.run(steal())
    delete = tasks_pb2.DeleteTaskRequest(container_id=name)

    assert containerd.call("Tasks/Delete", delete) == (
        "NOT_FOUND",
        "failed to delete task: container not created: not found",
    )
    assert containerd.call("Tasks/Delete", delete) == ("NOT_FOUND", f"task {name} not found")
    assert not bundle.exists()


def test_runtime_without_a_shim(containerd: Containerd) -> None:
    seen = [
        containerd.create("nothing", "io.containerd.nothing.v9", "true"),
        containerd.create("nonsense", "nonsense", "true")[0],
    ]

    text = 'runtime "io.containerd.nothing.v9" binary not installed "containerd-shim-nothing-v9": file does not exist'
    assert seen == [
        ("UNKNOWN", f"failed to start shim: failed to resolve runtime path: {text}"),
        "UNKNOWN",
    ]
