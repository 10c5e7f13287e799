"""A containerd as far as a shim sees one: bundles, the command line, ttrpc calls, a socket for events.

The same code drives upstream's shim and ours, so a test that runs on both says where they differ.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sixhops.wire.proto import events_ttrpc_pb2, payloads_pb2, runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack, service
from sixhops.wire.ttrpc import blocking
from sixhops.wire.ttrpc.calls import CallServer
from sixhops.wire.ttrpc.frames import FrameError
from sixhops.wire.ttrpc.status import RpcError

NAMESPACE = "shimtest"
SECONDS = 20.0
NOT_FOUND = ("NOT_FOUND", "container not created: not found")
CRIU = "runc did not terminate successfully: exit status 1: "
TASK = service(shim_v2_pb2.DESCRIPTOR, "Task")
EVENTS = {
    "/tasks/create": payloads_pb2.TaskCreate,
    "/tasks/start": payloads_pb2.TaskStart,
    "/tasks/exit": payloads_pb2.TaskExit,
    "/tasks/delete": payloads_pb2.TaskDelete,
    "/tasks/oom": payloads_pb2.TaskOOM,
    "/tasks/exec-added": payloads_pb2.TaskExecAdded,
    "/tasks/exec-started": payloads_pb2.TaskExecStarted,
    "/tasks/paused": payloads_pb2.TaskPaused,
    "/tasks/resumed": payloads_pb2.TaskResumed,
}
__all__ = [
    "EVENTS",
    "Machine",
    "Receiver",
    "RpcError",
    "Task",
    "make_machine",
    "missing",
    "own_program",
    "refusal",
]

UPSTREAM = "containerd-shim-runc-v2"
_numbers: Counter[str] = Counter()


def refusal(error: RpcError) -> tuple[str, str]:
    """Return what tests compare of a failed call."""
    return error.code.name, error.message


class Receiver:
    """The events service: keeps (topic, message) in the order of arrival."""

    def __init__(self, path: Path) -> None:
        self.seen: list[tuple[str, Any]] = []
        self._news = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        server = CallServer()
        with connection:
            while True:
                try:
                    data = connection.recv(1 << 16)
                    calls = server.receive(data)[0]
                except (OSError, FrameError):
                    return
                if not data:
                    return
                for call in calls:
                    envelope = events_ttrpc_pb2.ForwardRequest.FromString(call.payload).envelope
                    message = EVENTS[envelope.topic].FromString(envelope.event.value)
                    with self._news:
                        self.seen.append((envelope.topic, message))
                        self._news.notify_all()
                    try:
                        connection.sendall(server.answer(call.stream, b""))
                    except OSError:
                        return  # a shim that was killed does not wait for the answer

    def of(self, identifier: str) -> list[tuple[str, Any]]:
        """Return what has come of one container."""
        return [(topic, message) for topic, message in self.seen if message.container_id == identifier]

    def wait_for(self, identifier: str, topic: str, count: int = 1) -> list[tuple[str, Any]]:
        """Return the container's events as soon as `topic` has come `count` times."""
        with self._news:
            found = self._news.wait_for(
                lambda: sum(each == topic for each, _ in self.of(identifier)) >= count, SECONDS
            )
            assert found, f"no {topic} of {identifier} within {SECONDS:g} s: {self.of(identifier)}"
            return self.of(identifier)

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


@dataclass
class Task:
    """One container with its bundle, and the connection to its shim."""

    machine: Machine
    id: str
    bundle: Path
    address: str = ""
    client: blocking.BlockingClient | None = None

    def connect(self) -> blocking.BlockingClient:
        """Return a new connection to the shim."""
        return blocking.connect(self.address.removeprefix("unix://"), SECONDS)

    def call(self, method: str, client: blocking.BlockingClient | None = None, **fields: Any) -> Any:
        """Call the task service; `id` is filled in. RpcError as the shim answers."""
        entry = TASK.methods[method]
        request = entry.request(**{"id": self.id} | fields)
        chosen = client or self.client
        assert chosen is not None
        data = chosen.call(TASK.name, method, request.SerializeToString(), timeout=SECONDS)
        return entry.response.FromString(data)

    def refused(self, method: str, **fields: Any) -> tuple[str, str]:
        """Return code and message of a call that must fail."""
        try:
            answer = self.call(method, **fields)
        except RpcError as error:
            return refusal(error)
        raise AssertionError(f"{method} answered {answer}")

    def create(self, **fields: Any) -> Any:
        """Call Create with this bundle and the machine's runtime."""
        request = {"bundle": str(self.bundle), "options": self.machine.options()} | fields
        return self.call("Create", **request)

    def exec(self, exec_id: str, *words: str, terminal: bool = False, **fields: Any) -> Any:
        """Call Exec with a process document."""
        document = self.machine.process(words) | {"terminal": terminal}
        spec = {"type_url": "types.containerd.io/x", "value": json.dumps(document).encode()}
        return self.call("Exec", exec_id=exec_id, spec=spec, terminal=terminal, **fields)

    def wait(self, **fields: Any) -> Any:
        """Call Wait on a connection of its own."""
        with self.connect() as client:
            return self.call("Wait", client, **fields)

    def end(self) -> None:
        """Kill what is left, delete it and let the shim end, whatever the state is in."""
        if self.client is not None:
            for method, fields in (
                ("Kill", {"signal": 9, "all": True}),
                ("Kill", {"signal": 9}),
                ("Wait", {}),
                ("Delete", {}),
                ("Shutdown", {}),
            ):
                try:
                    self.call(method, **fields)
                except RpcError:
                    continue
            self.client.close()
            self.client = None
        self.machine.run(self, "delete", check=False)


@dataclass
class Machine:
    """A directory with root filesystem, sockets and bundles; `program` is the shim's command."""

    directory: Path
    program: list[str]
    runtime: str
    receiver: Receiver
    environment: dict[str, str]
    tasks: list[Task] = field(default_factory=list)

    @property
    def upstream(self) -> bool:
        """Whether the shim is upstream's."""
        return self.program == [UPSTREAM]

    def options(self, **fields: Any) -> Any:
        """Return containerd.runc.v1.Options in an Any."""
        message = runc_options_pb2.Options(
            **{"binary_name": self.runtime, "root": str(self.directory / "runc")} | fields
        )
        request = shim_v2_pb2.CreateTaskRequest()
        pack(request.options, message)
        return request.options

    def process(self, words: tuple[str, ...]) -> dict[str, Any]:
        """Return a process document."""
        return {
            "user": {"uid": 0, "gid": 0},
            "args": list(words),
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
        }

    def bundle(self, *words: str, terminal: bool = False, **changes: Any) -> Task:
        """Make a bundle; `changes` go into the specification."""
        _numbers[self.directory.name] += 1
        identifier = f"{self.directory.name}-{os.getpid()}-{_numbers[self.directory.name]}"
        path = self.directory / "bundles" / identifier
        path.mkdir(parents=True)
        linux: dict[str, Any] = {
            "cgroupsPath": f"/sixhops-{identifier}",
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
        }
        spec = {
            "ociVersion": "1.0.2",
            "process": self.process(words) | {"terminal": terminal},
            "root": {"path": str(self.directory / "rootfs")},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]
            + [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}] * terminal
            + [
                {
                    "destination": "/dev/pts",
                    "type": "devpts",
                    "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666"],
                }
            ]
            * terminal,
            "linux": linux | changes.pop("linux", {}),
        } | changes
        (path / "config.json").write_text(json.dumps(spec))
        os.mkfifo(path / "log")
        task = Task(self, identifier, path)
        self.tasks.append(task)
        return task

    def run(
        self, task: Task, action: str, *flags: str, stdin: bytes = b"", check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the shim's command line in the bundle."""
        command = [*self.program, "-namespace", NAMESPACE, "-address", str(self.directory / "c.sock")]
        command += ["-publish-binary", "containerd", "-id", task.id, *flags, *([action] if action else [])]
        done = subprocess.run(
            command,
            cwd=task.bundle,
            env=self.environment | {"TTRPC_ADDRESS": str(self.directory / "c.sock.ttrpc")} | variables,
            input=stdin,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done

    def start(self, *words: str, terminal: bool = False, **changes: Any) -> Task:
        """Make a bundle and start its shim; nothing is created yet."""
        task = self.bundle(*words, terminal=terminal, **changes)
        self.launch(task)
        return task

    def launch(self, task: Task) -> None:
        """Start the shim of a bundle and connect to it."""
        reader = os.open(task.bundle / "log", os.O_RDWR | os.O_NONBLOCK)
        threading.Thread(target=_drain, args=(reader, task.bundle / "log.txt"), daemon=True).start()
        task.address = self.run(task, "start").stdout.decode()
        task.client = task.connect()

    def running(
        self, *words: str, terminal: bool = False, streams: dict[str, str] | None = None, **changes: Any
    ) -> Task:
        """Make a bundle, start its shim, create and start the task."""
        task = self.start(*words, terminal=terminal, **changes)
        task.create(terminal=terminal, **streams or {})
        task.call("Start")
        return task

    def close(self) -> None:
        """End all tasks."""
        for task in self.tasks:
            task.end()
        self.receiver.close()


def _drain(descriptor: int, target: Path) -> None:
    os.set_blocking(descriptor, True)
    with target.open("ab", buffering=0) as log:
        while True:
            log.write(os.read(descriptor, 1 << 16))


def make_machine(directory: Path, program: list[str], runtime: str) -> Machine:
    """Make a machine in an empty directory, with busybox as root filesystem."""
    binaries = directory / "rootfs" / "bin"
    binaries.mkdir(parents=True)
    for name in ("proc", "dev", "tmp"):
        (directory / "rootfs" / name).mkdir()
    shutil.copy(str(shutil.which("busybox")), binaries / "busybox")
    for name in ("sh", "sleep", "cat", "echo", "true", "stty", "kill", "tty", "head", "dd", "tail", "yes"):
        (binaries / name).symlink_to("busybox")
    receiver = Receiver(directory / "c.sock.ttrpc")
    return Machine(directory, program, runtime, receiver, dict(os.environ))


def own_program(directory: Path) -> list[str]:
    """Return the command of our shim under its own name."""
    script = directory / "containerd-shim-sixhops-v1"
    script.write_text(f"#!{sys.executable}\nfrom sixhops.shim.main import main\nraise SystemExit(main())\n")
    script.chmod(0o755)
    return [str(script)]


def missing() -> str:
    """Return why these tests can't run here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in ("runc", "busybox") if shutil.which(name) is None]
    return f"needs {' and '.join(absent)} on PATH" if absent else ""


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
    deadline = time.monotonic() + SECONDS
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
