"""What every shim does, done once before it is forked.

The interpreter rewrites a function's code while it is called for the first times (PEP 659), and libraries fill their
caches. Each shim would have that written to pages of its own; after a rehearsal it shares them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile

from sixhops.linux import prctl
from sixhops.shim.log import Log
from sixhops.shim.loop import READ, Loop, Task
from sixhops.shim.process import Process, State, refuse
from sixhops.shim.publisher import Publisher
from sixhops.shim.server import Settings, run
from sixhops.shim.service import REQUESTS, TASK
from sixhops.shim.stdio import Paths, Streams
from sixhops.wire.proto import payloads_pb2, runc_options_pb2, shim_v2_pb2
from sixhops.wire.proto.services import pack
from sixhops.wire.ttrpc.calls import CallClient, CallServer

__all__ = ["rehearse"]

TIMES = 20  # the interpreter is content after eight
NO_RUNTIME = "/nonexistent/rehearsal"
CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def rehearse(times: int = TIMES) -> None:
    """Run through a shim's life without any effect that lasts; OSError when there is no directory for it."""
    kept = [(number, signal.getsignal(number)) for number in CAUGHT]
    directory = tempfile.mkdtemp(prefix="rehearsal")
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for _ in range(times):
            _live(reader, writer)
            _serve(directory)
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in kept:
            signal.signal(number, handler)
        prctl.set_subreaper(False)
        os.close(reader)
        os.close(writer)
        shutil.rmtree(directory)


def _serve(directory: str) -> None:
    """Serve a Create that fails for want of a runtime, and a Shutdown; both are sent before they can be read."""
    request = shim_v2_pb2.CreateTaskRequest(id="rehearsal", bundle=directory)
    request.stdout = request.stderr = "/dev/null"
    pack(request.options, runc_options_pb2.Options(binary_name=NO_RUNTIME, root=directory))
    client = CallClient()
    data = b""
    for method, message in (
        ("Connect", shim_v2_pb2.ConnectRequest(id="rehearsal")),
        ("Create", request),
        ("Shutdown", shim_v2_pb2.ShutdownRequest(id="rehearsal")),
    ):
        data += client.call(TASK.name, method, message.SerializeToString())[1]
    path = f"{directory}/socket"
    with socket.socket(socket.AF_UNIX) as peer:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        peer.connect(path)
        peer.sendall(data)
        settings = Settings("rehearsal", "rehearsal", directory, f"{directory}/none", [], path)
        run(settings, listener)


def _live(reader: int, writer: int) -> None:
    loop = Loop()
    loop.catch_signals()
    log = Log(descriptor=-1, namespace="", pid="0")
    publisher = Publisher(loop, "", "rehearsal", log)
    client, server = CallClient(), CallServer()
    request = shim_v2_pb2.CreateTaskRequest(id="rehearsal", bundle="/", stdout="/dev/null")
    for method in ("Create", "Start", "State"):
        _stream, data = client.call(TASK.name, method, request.SerializeToString())
        calls, _refusals = server.receive(data)
        parsed = REQUESTS[method]()
        parsed.ParseFromString(calls[0].payload)
        client.receive(server.answer(calls[0].stream, shim_v2_pb2.StartResponse(pid=1).SerializeToString()))
    publisher.encode("/tasks/create", payloads_pb2.TaskCreate(container_id="rehearsal", pid=1))
    publisher.encode("/tasks/start", payloads_pb2.TaskStart(container_id="rehearsal", pid=1))

    async def work() -> None:
        streams = await Streams.open(loop, Paths(stdout="/dev/null", stderr="/dev/null"))
        process = Process("rehearsal", "", Paths(), streams)
        refuse(process, "start")
        process.state = State.RUNNING
        await streams.begin()
        await streams.drained(1.0)
        await streams.close()
        await loop.sleep(0.0)
        loop.stop()

    def ready() -> None:
        os.read(reader, 1)
        loop.forget(reader, READ)

    loop.on_readable(reader, ready)
    os.write(writer, b"x")
    loop.soon(lambda: None)
    Task(work())
    loop.run()
    loop.close()
