"""The notification socket: what the container's document gets, and what goes on to the manager."""

import os
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from sixhops.runc.lifecycle import notify
from sixhops.runc.lifecycle.state import Container
from sixhops.wire.runtime.document import Process, Spec


def test_the_document_gets_a_mount_and_a_variable():
    spec = notify.with_socket(Spec(process=Process(env=("A=1",))), "/state/notify")

    assert spec.process.env == ("A=1", "NOTIFY_SOCKET=/run/notify/notify.sock")
    assert (spec.mounts[-1].source, spec.mounts[-1].destination) == ("/state/notify", "/run/notify")
    assert "ro" in spec.mounts[-1].options


@pytest.fixture
def manager():
    # not pytest's directory: its names are too long for a socket
    with tempfile.TemporaryDirectory(prefix="sixhops-") as directory:
        container = Container(directory, "c")
        Path(container.directory).mkdir()
        notify.make_directory(container)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
            host.bind(f"{directory}/host")
            host.settimeout(20)
            yield container, host, f"{directory}/host"


def test_readiness_goes_on_with_the_pid(manager):
    container, host, path = manager
    listener = notify.bind(container)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inside:
        inside.connect(f"{container.notify}/notify.sock")
        inside.send(b"STATUS=starting")
        inside.send(b"READY=1\nSTATUS=up")

    notify.forward(listener, path, os.getpid(), 4711)

    assert [host.recv(100), host.recv(100)] == [b"READY=1\n", b"MAINPID=4711\n"]
    listener.close()


def test_a_process_that_ends_first_is_not_waited_for(manager):
    container, host, path = manager
    listener = notify.bind(container)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    waiting = threading.Thread(target=notify.forward, args=(listener, path, child.pid, child.pid))
    waiting.start()

    child.communicate(timeout=20)
    waiting.join(20)

    assert not waiting.is_alive()
    host.setblocking(False)
    with pytest.raises(BlockingIOError):
        host.recv(100)
    listener.close()
