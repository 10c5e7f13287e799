"""A sixhops-containerd of its own for a test, with a small rootfs, and calls to it."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from sixhops.wire.proto import (
    containers_pb2,
    content_pb2,
    events_pb2,
    runc_options_pb2,
    tasks_pb2,
)
from sixhops.wire.proto.services import pack, service

MISSING = [name for name in ("runc", "busybox") if shutil.which(name) is None]
NEEDS = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)} on PATH"),
]
NAMESPACE = "sixhopstest"
SECONDS = 30
FILES = {"Containers": containers_pb2, "Content": content_pb2, "Events": events_pb2, "Tasks": tasks_pb2}
CAPABILITIES = ["CAP_KILL", "CAP_SETUID", "CAP_SETGID"]


@dataclass
class Containerd:
    """A running sixhops-containerd and calls to it."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None
    channel: grpc.Channel | None = None
    made: list[str] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.directory / "c.sock"

    def start(self) -> None:
        command = [sys.executable, "-m", "sixhops.containerd", "--address", str(self.socket)]
        (self.directory / "config.toml").write_text("version = 2\n")
        command += ["--config", str(self.directory / "config.toml")]
        command += ["--root", str(self.directory / "root"), "--state", str(self.directory / "state")]
        environment = {**os.environ, "PATH": f"{self.directory}/bin:{os.environ['PATH']}"}
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environment)
        self.channel = grpc.insecure_channel(f"unix:{self.socket}")
        try:
            grpc.channel_ready_future(self.channel).result(SECONDS)
        except grpc.FutureTimeoutError:
            pytest.fail(f"containerd did not start: {(self.directory / 'log').read_text()}")

    def kill(self) -> None:
        assert self.channel is not None
        assert self.process is not None
        self.channel.close()
        self.process.kill()
        self.process.wait(SECONDS)

    def method(self, path: str) -> Any:
        assert self.channel is not None
        name, _, method = path.partition("/")
        entry = service(FILES[name].DESCRIPTOR, name).methods[method]
        kinds = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, True): self.channel.stream_stream,
        }
        make: Any = kinds[entry.client_streaming, entry.server_streaming]
        return make(entry.path, entry.request.SerializeToString, entry.response.FromString)

    def call(self, path: str, request: Any) -> Any:
        metadata = (("containerd-namespace", NAMESPACE),)
        try:
            return self.method(path)(request, metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            return (error.code().name, error.details())  # type: ignore[attr-defined]

    def create(self, identifier: str, runtime: str, *arguments: str, **streams: str) -> Any:
        container = containers_pb2.Container(id=identifier)
        container.runtime.name = runtime
        pack(
            container.runtime.options,
            runc_options_pb2.Options(binary_name="runc", root=str(self.directory / "runc")),
        )
        container.spec.value = json.dumps(self.spec(identifier, arguments)).encode()
        self.call("Containers/Create", containers_pb2.CreateContainerRequest(container=container))
        self.made.append(identifier)
        return self.call("Tasks/Create", tasks_pb2.CreateTaskRequest(container_id=identifier, **streams))

    def spec(self, identifier: str, arguments: tuple[str, ...]) -> dict[str, Any]:
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": list(arguments),
                "env": ["PATH=/bin"],
                "cwd": "/",
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            },
            "root": {"path": str(self.directory / "rootfs")},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": f"/sixhopstest-{os.getpid()}-{identifier}",
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            },
        }

    def start_task(self, identifier: str) -> Any:
        return self.call("Tasks/Start", tasks_pb2.StartRequest(container_id=identifier))

    def wait(self, identifier: str) -> int:
        return int(self.call("Tasks/Wait", tasks_pb2.WaitRequest(container_id=identifier)).exit_status)

    def remove(self, identifier: str) -> Any:
        self.call("Tasks/Kill", tasks_pb2.KillRequest(container_id=identifier, signal=signal.SIGKILL))
        self.call("Tasks/Wait", tasks_pb2.WaitRequest(container_id=identifier))
        self.call("Tasks/Delete", tasks_pb2.DeleteTaskRequest(container_id=identifier))
        return self.call("Containers/Delete", containers_pb2.DeleteContainerRequest(id=identifier))


def make(directory: Path) -> Containerd:
    """Return one that is not started yet; our shim is under the name of the v2 runc shim on its PATH."""
    bin_directory = directory / "rootfs" / "bin"
    bin_directory.mkdir(parents=True)
    (directory / "rootfs" / "proc").mkdir()
    shutil.copy(str(shutil.which("busybox")), bin_directory / "busybox")
    for name in ("sh", "sleep", "cat", "echo", "true"):
        (bin_directory / name).symlink_to("busybox")
    shim = directory / "bin" / "containerd-shim-runc-v2"
    shim.parent.mkdir()
    shim.write_text(f"#!{sys.executable}\nfrom sixhops.shim.main import main\nraise SystemExit(main())\n")
    shim.chmod(0o755)
    return Containerd(directory)


def subscribe(containerd: Containerd, *filters: str) -> "queue.SimpleQueue[Any]":
    """Return where envelopes that one of the filters lets through come; they flow when this returns."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()
    calls = containerd.method("Events/Subscribe")(
        events_pb2.SubscribeRequest(filters=[*filters, 'topic=="/probe"'])
    )
    begun = threading.Event()

    def read() -> None:
        try:
            for envelope in calls:
                if envelope.topic == "/probe":
                    begun.set()
                else:
                    found.put(envelope)
        except grpc.RpcError:
            return  # the channel was closed

    threading.Thread(target=read, daemon=True).start()
    probe = events_pb2.PublishRequest(topic="/probe")
    probe.event.type_url = "probe"
    for _ in range(SECONDS * 10):
        containerd.call("Events/Publish", probe)
        if begun.wait(0.1):
            return found
    raise AssertionError("no event came")
