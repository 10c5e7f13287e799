import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sixhops.linux import forkserver
from sixhops.linux.forkserver import ForkError, ForkServer

WORKER = """
import os, sys

before = list(sys.modules)

def work(arguments, descriptors):
    os.write(descriptors[0], f"{arguments['word']} {os.getppid()}".encode())
    return 7

known = "unknown"

def wait_for(arguments):
    with open(arguments["path"], "rb", buffering=0) as file:
        file.read(1)

def learn(arguments):
    global known
    known = arguments["word"]
    if known == "wrong":
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        raise ValueError("no")

def tell(arguments, descriptors):
    os.write(descriptors[0], known.encode())
    return 0

def look(arguments, descriptors):
    return int(arguments["module"] not in before)

def fail(arguments, descriptors):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    raise ValueError("no")
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    (tmp_path / "forkserver_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # spawned, because the process that runs tests may have threads, and `start` must not be called then
    made = forkserver.spawn(["forkserver_worker"], "test-fork", libraries=("colorsys", "sched"))
    yield made
    made.close()


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_worker_is_our_child_and_gets_arguments_and_descriptors(server: ForkServer) -> None:
    reader, writer = os.pipe()

    pid = server.fork("forkserver_worker", "work", {"word": "hello"}, [writer])

    assert status_of(pid) == 7
    assert os.read(reader, 100).decode() == f"hello {os.getpid()}"
    assert Path(f"/proc/{server.pid}/comm").read_text() == "test-fork\n"
    os.close(reader)
    os.close(writer)


def test_worker_that_raises_exits_with_one(server: ForkServer) -> None:
    assert status_of(server.fork("forkserver_worker", "fail", {})) == 1


@pytest.mark.parametrize(("module", "status"), [("colorsys", 0), ("sched", 0), ("never", 1)])
def test_libraries_are_there_before_the_modules(server: ForkServer, module: str, status: int) -> None:
    assert status_of(server.fork("forkserver_worker", "look", {"module": module})) == status


@pytest.mark.parametrize("word", ["ready", "wrong"])
def test_what_is_prepared_is_there_in_later_workers(server: ForkServer, word: str) -> None:
    reader, writer = os.pipe()

    server.prepare("forkserver_worker", "learn", {"word": word})

    assert status_of(server.fork("forkserver_worker", "tell", {}, [writer])) == 0
    assert os.read(reader, 100).decode() == word
    os.close(reader)
    os.close(writer)


def wait_until_settled(server: ForkServer) -> None:
    while not server.settled():
        assert select.select([server.connection], [], [], 30.0)[0]


def test_what_it_has_to_do_first_can_be_waited_for(server: ForkServer) -> None:
    wait_until_settled(server)
    assert (server.settled(), server.busy) == (True, 0)

    gate, opened = os.pipe()
    server.prepare("forkserver_worker", "wait_for", {"path": f"/proc/{os.getpid()}/fd/{gate}"})
    assert not server.settled()
    os.write(opened, b"x")
    wait_until_settled(server)

    assert status_of(server.fork("forkserver_worker", "tell", {}, [opened])) == 0
    assert os.read(gate, 10) == b"unknown"
    os.close(gate)
    os.close(opened)


def test_one_that_was_killed_is_never_settled(server: ForkServer) -> None:
    os.kill(server.pid, signal.SIGKILL)

    with pytest.raises(ForkError, match="has gone"):
        wait_until_settled(server)


def test_several_workers_at_once(server: ForkServer) -> None:
    reader, writer = os.pipe()
    for number in range(5):
        server.send("forkserver_worker", "work", {"word": str(number)}, [writer])

    pids = [server.receive() for _ in range(5)]

    assert [status_of(pid) for pid in pids] == [7] * 5
    assert len(set(pids)) == 5
    os.close(reader)
    os.close(writer)


def test_fork_server_that_was_killed(server: ForkServer) -> None:
    os.kill(server.pid, signal.SIGKILL)

    with pytest.raises(ForkError, match="has gone"):
        server.fork("forkserver_worker", "work", {"word": ""})


def test_request_over_the_limit(server: ForkServer) -> None:
    with pytest.raises(ForkError, match="over the limit"):
        server.send("forkserver_worker", "work", {"word": "x" * 200_000})


def test_fork_server_started_in_a_process_with_one_thread(tmp_path: Path) -> None:
    (tmp_path / "forkserver_worker.py").write_text(WORKER)
    script = """
import os
from sixhops.linux import forkserver
server = forkserver.start(["forkserver_worker"], "started-fork")
reader, writer = os.pipe()
pid = server.fork("forkserver_worker", "work", {"word": "forked"}, [writer])
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(status, os.read(reader, 100).decode() == f"forked {os.getpid()}")
server.close()
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script]

    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=30)

    assert (done.stdout, done.stderr) == ("7 True\n", "")


def test_a_process_with_threads_is_refused() -> None:
    script = """
import threading
from sixhops.linux import forkserver
go = threading.Event()
threading.Thread(target=go.wait).start()
try:
    forkserver.start([], "late")
except forkserver.ForkError as error:
    print(error)
go.set()
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30
    )

    assert (done.stdout, done.stderr) == ("fork server late must be started before the first thread\n", "")
