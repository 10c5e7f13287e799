"""What every shim does, done once before it is forked.

The interpreter rewrites a function's code while it is called for the first times (PEP 659), and libraries fill their
caches. Each shim would have that written to pages of its own; after a rehearsal it shares them.
"""

from __future__ import annotations

import os
import signal

from sixhops.shim.log import Log
from sixhops.shim.loop import READ, Loop, Task
from sixhops.shim.process import Process, State, refuse
from sixhops.shim.publisher import Publisher
from sixhops.shim.service import REQUESTS, TASK
from sixhops.shim.stdio import Paths, Streams
from sixhops.wire.proto import payloads_pb2, shim_v2_pb2
from sixhops.wire.ttrpc.calls import CallClient, CallServer

__all__ = ["rehearse"]

TIMES = 20  # the interpreter is content after eight


def rehearse() -> None:
    """Run through loop, codec, messages and streams without any effect that lasts."""
    kept = signal.getsignal(signal.SIGCHLD)
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        for _ in range(TIMES):
            _live(reader, writer)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, kept)
        os.close(reader)
        os.close(writer)


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
