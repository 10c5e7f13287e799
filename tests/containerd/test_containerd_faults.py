"""containerd killed and its disk full, for real: nothing is lost, and no blob is listed that isn't whole."""

import contextlib
import hashlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from containerd_support import NAMESPACE, NEEDS, SECONDS, Containerd, make, subscribe

from sixhops.wire.proto import (
    containers_pb2,
    content_pb2,
    payloads_pb2,
    process_pb2,
    tasks_pb2,
)

pytestmark = NEEDS
MANY = 20
METADATA = (("containerd-namespace", NAMESPACE),)
ROOM = "2m"
CHUNK = 64 << 10
KEPT = {"containerd.io/gc.root": "now"}  # nothing else would keep a blob from being collected


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Containerd]:
    made = make(tmp_path)
    made.start()
    yield made
    for identifier in made.made:
        made.remove(identifier)
    assert made.process is not None
    made.process.send_signal(signal.SIGTERM)
    assert made.process.wait(SECONDS) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Containerd]:
    """One whose root, with metadata and content, is a file system of two MiB."""
    made = make(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(root)], check=True)
    try:
        made.start()
        yield made
        made.kill()
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


def state(containerd: Containerd, identifier: str) -> Any:
    return containerd.call("Tasks/Get", tasks_pb2.GetRequest(container_id=identifier)).process


def listed(containerd: Containerd) -> list[str]:
    replies = containerd.method("Content/List")(
        content_pb2.ListContentRequest(), metadata=METADATA, timeout=SECONDS
    )
    return [info.digest for reply in replies for info in reply.info]


def check_blobs(containerd: Containerd) -> None:
    """Every blob that is listed has the bytes that its digest says."""
    for digest in listed(containerd):
        replies = containerd.method("Content/Read")(
            content_pb2.ReadContentRequest(digest=digest), metadata=METADATA, timeout=SECONDS
        )
        data = b"".join(reply.data for reply in replies)
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest


def write(containerd: Containerd, *requests: dict[str, Any]) -> Any:
    """Send the messages of one ingest; return the last answer, or (code, message)."""
    messages = (content_pb2.WriteContentRequest(**request) for request in requests)
    try:
        return list(containerd.method("Content/Write")(messages, metadata=METADATA, timeout=SECONDS))[-1]
    except grpc.RpcError as error:
        return (error.code().name, error.details())  # type: ignore[attr-defined]


@pytest.mark.parametrize("runtime", ["io.containerd.sixhops.v1", "io.containerd.runc.v2"])
def test_twenty_tasks_outlive_a_killed_containerd(containerd: Containerd, runtime: str) -> None:
    names = [f"c{number}" for number in range(MANY)]
    for name in names:
        assert not isinstance(containerd.create(name, runtime, "sleep", "1000"), tuple)
        containerd.start_task(name)
    pids = {name: state(containerd, name).pid for name in names}

    containerd.kill()
    # one ends while nobody looks
    os.kill(pids["c0"], signal.SIGKILL)
    containerd.start()

    found = containerd.call("Tasks/List", tasks_pb2.ListTasksRequest()).tasks
    assert {task.id: task.pid for task in found} == pids
    assert {task.id for task in found if task.status != process_pb2.Status.RUNNING} <= {"c0"}
    assert containerd.wait("c0") == 128 + signal.SIGKILL
    records = containerd.call("Containers/List", containers_pb2.ListContainersRequest()).containers
    assert {record.id for record in records} == set(names)
    exits = subscribe(containerd, 'topic=="/tasks/exit"')
    for name in names[1:]:
        containerd.call(
            "Tasks/Kill", tasks_pb2.KillRequest(container_id=name, signal=signal.SIGTERM, all=True)
        )
        containerd.call("Tasks/Kill", tasks_pb2.KillRequest(container_id=name, signal=signal.SIGKILL))
    seen = {}
    while len(seen.keys() - {"c0"}) < MANY - 1:
        event = payloads_pb2.TaskExit.FromString(exits.get(timeout=SECONDS).event.value)
        seen[event.container_id] = (event.pid, event.exit_status)
    seen.pop("c0", None)  # its end may be told late, because nobody took it at the time
    assert seen == {name: (pids[name], 128 + signal.SIGKILL) for name in names[1:]}


def test_killed_while_a_task_was_being_created(containerd: Containerd) -> None:
    containerd.create("made", "io.containerd.sixhops.v1", "sleep", "1000")
    pid = containerd.start_task("made").pid
    bundles = containerd.directory / "state" / "io.containerd.runtime.v2.task" / NAMESPACE
    bundle = bundles / "made"
    lacking = ("address", "shim-binary-path", "work")
    before = {
        name: (bundle / name).readlink() if name == "work" else (bundle / name).read_text()
        for name in lacking
    }

    containerd.kill()
    # the shim had its request before these were written; another one had no shim yet
    for name in lacking:
        (bundle / name).unlink()
    (bundles / "begun").mkdir()
    (bundles / "begun" / "config.json").write_text("{}")
    containerd.start()

    found = containerd.call("Tasks/List", tasks_pb2.ListTasksRequest()).tasks
    assert [(task.id, task.pid, task.status) for task in found] == [("made", pid, process_pb2.Status.RUNNING)]
    assert not (bundles / "begun").exists()
    after = {
        name: (bundle / name).readlink() if name == "work" else (bundle / name).read_text()
        for name in lacking
    }
    assert after == before


def test_second_one_waits_for_the_end_of_the_first(containerd: Containerd) -> None:
    other = Containerd(containerd.directory)
    command = [sys.executable, "-m", "sixhops.containerd", "--config", str(other.directory / "config.toml")]
    command += ["--address", str(other.directory / "other.sock")]
    command += ["--root", str(other.directory / "root"), "--state", str(other.directory / "state")]
    second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    watchdog = threading.Timer(SECONDS, second.kill)  # ends the reading below
    watchdog.start()
    try:
        for line in second.stderr:
            assert "serving on" not in line
            if "waiting for its end" in line:
                break
        containerd.kill()
        for line in second.stderr:
            if "serving on" in line:
                break
        else:
            pytest.fail("the second did not start")
    finally:
        watchdog.cancel()
        second.terminate()
        assert second.wait(SECONDS) == 0
        second.stderr.close()
        containerd.start()


def test_killed_during_an_ingest(containerd: Containerd) -> None:
    data = os.urandom(4 * CHUNK)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    replies = containerd.method("Content/Write")(iter(requests.get, None), metadata=METADATA)
    requests.put(content_pb2.WriteContentRequest(ref="r", total=len(data), action=content_pb2.STAT))
    next(replies)
    requests.put(content_pb2.WriteContentRequest(action=content_pb2.WRITE, data=data[:CHUNK]))
    assert next(replies).offset == CHUNK

    assert containerd.process is not None
    containerd.process.kill()
    containerd.process.wait(SECONDS)
    with pytest.raises(grpc.RpcError):
        next(replies)
    requests.put(None)
    containerd.kill()
    containerd.start()

    assert listed(containerd) == []
    status = containerd.call("Content/Status", content_pb2.StatusRequest(ref="r")).status
    assert (status.offset, status.total) == (CHUNK, len(data))
    last = write(
        containerd,
        {"ref": "r", "action": "STAT"},
        {"action": "WRITE", "data": data[CHUNK:], "offset": CHUNK},
        {"action": "COMMIT", "offset": len(data), "total": len(data), "expected": digest, "labels": KEPT},
    )
    assert last.digest == digest
    assert listed(containerd) == [digest]
    check_blobs(containerd)


def test_full_disk_during_ingests(small_disk: Containerd) -> None:
    small = b"small"
    assert write(small_disk, {"ref": "s", "action": "COMMIT", "data": small, "labels": KEPT}).offset == len(
        small
    )
    failed = None
    for number in range(64):
        data = os.urandom(2 * CHUNK)
        answer = write(small_disk, {"ref": f"r{number}", "action": "COMMIT", "data": data, "labels": KEPT})
        if isinstance(answer, tuple):
            failed = answer
            break
    assert failed is not None
    assert failed[0] == "UNKNOWN"
    assert "no space left on device" in failed[1].lower() or "disk is full" in failed[1].lower()

    kept = listed(small_disk)
    assert f"sha256:{hashlib.sha256(small).hexdigest()}" in kept
    check_blobs(small_disk)
    small_disk.kill()
    small_disk.start()
    assert set(listed(small_disk)) == set(kept)
    check_blobs(small_disk)


def fill(path: Path) -> None:
    """Write a file until there is no room left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            while os.write(descriptor, bytes(CHUNK)):
                pass
    finally:
        os.close(descriptor)
    assert shutil.disk_usage(path.parent).free == 0


def test_room_again_after_a_full_disk(small_disk: Containerd, tmp_path: Path) -> None:
    ballast = tmp_path / "root" / "ballast"
    fill(ballast)
    answer = write(small_disk, {"ref": "r", "action": "COMMIT", "data": b"x" * CHUNK, "labels": KEPT})
    assert answer[0] == "UNKNOWN"
    assert listed(small_disk) == []

    ballast.unlink()

    assert (
        write(small_disk, {"ref": "r", "action": "COMMIT", "data": b"x" * CHUNK, "labels": KEPT}).offset
        == CHUNK
    )
    check_blobs(small_disk)
    assert shutil.disk_usage(tmp_path / "root").free > 0
