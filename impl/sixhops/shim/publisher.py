"""Events to containerd: one after the other, in the order in which they happened.

The connection is opened at the first event. While containerd is away an event is tried again, a few times
with growing pauses as upstream's shim does, and then dropped with a log line: the container goes on without
it. A containerd that has no ttrpc socket at all gets its events by the publish binary, as in the first days of this
contract: `BINARY --address ADDRESS publish --topic TOPIC --namespace NAMESPACE` with the event on stdin.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.shim.loop import Future, Loop, Task, TimedOutError
from sixhops.wire.proto import events_ttrpc_pb2
from sixhops.wire.proto.services import pack
from sixhops.wire.ttrpc.calls import CallClient
from sixhops.wire.ttrpc.frames import FrameError
from sixhops.wire.ttrpc.status import RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sixhops.shim.log import Log

__all__ = ["Publisher"]

SERVICE = "containerd.services.events.ttrpc.v1.Events"
SECONDS = 5.0
ATTEMPTS = 5


@dataclass(slots=True)
class Connection:
    """One connection to containerd and the calls that wait on it."""

    socket: socket.socket
    calls: CallClient
    waiting: dict[int, Future[None]]


class Publisher:
    """The queue of events of one shim. `address` is containerd's ttrpc socket."""

    def __init__(
        self, loop: Loop, address: str, namespace: str, log: Log, command: tuple[str, ...] = ()
    ) -> None:
        """`command` starts the publish binary (without the topic), empty when there is none."""
        self.retry_seconds = 1.0  # the first pause; tests shorten it
        self._command = command
        self._loop = loop
        self._address = address
        self._namespace = namespace
        self._log = log
        self._queue: deque[tuple[str, Message, int]] = deque()
        self._connection: Connection | None = None
        self._sending = False
        self._idle: list[Future[None]] = []

    def publish(self, topic: str, event: Message, *, seconds: float = 0.0) -> None:
        """Queue `event`, which stays as it is, under `topic` (`/tasks/start`), with the time of now.

        It may be kept for some `seconds`, but not longer than the next one.
        """
        self._queue.append((topic, event, time.time_ns()))
        if self._sending:
            return
        if seconds:
            self._loop.later(seconds, self._start)
        else:
            # after the answer of the call that caused the event, as observed; it need not wait for the encoding either
            self._loop.soon(self._start)

    def _encode(self, topic: str, event: Message, nanoseconds: int) -> bytes:
        """Return the request that forwards what happened at a time, in nanoseconds since 1970."""
        request = events_ttrpc_pb2.ForwardRequest()
        envelope = request.envelope
        envelope.timestamp.seconds, envelope.timestamp.nanos = divmod(nanoseconds, 10**9)
        envelope.namespace = self._namespace
        envelope.topic = topic
        pack(envelope.event, event)
        return request.SerializeToString()

    def _start(self) -> None:
        if self._queue and not self._sending:
            self._sending = True
            Task(self._drain())

    def flushed(self) -> Future[None]:
        """Return a future that is done when nothing waits any more."""
        future: Future[None] = Future()
        self._start()
        if self._sending:
            self._idle.append(future)
        else:
            future.set(None)
        return future

    def close(self) -> None:
        """Close the connection."""
        self._drop("closed")

    async def _drain(self) -> None:
        while self._queue:
            topic, event, nanoseconds = self._queue.popleft()
            payload = self._encode(topic, event, nanoseconds)
            for attempt in range(ATTEMPTS):
                try:
                    if self._lacks_socket():
                        await self._run(topic, payload)
                    else:
                        await self._forward(payload)
                    break
                except (OSError, RpcError, FrameError, TimedOutError) as error:
                    self._log.error(f"forward event: {error}")
                    if attempt + 1 < ATTEMPTS:
                        await self._loop.sleep(self.retry_seconds * (attempt + 1))
        self._sending = False
        idle, self._idle = self._idle, []
        for future in idle:
            future.set(None)

    def _lacks_socket(self) -> bool:
        return bool(self._command) and not os.path.exists(self._address)

    async def _run(self, topic: str, payload: bytes) -> None:
        """Hand one event to the publish binary; OSError when it doesn't take it."""
        envelope = events_ttrpc_pb2.ForwardRequest.FromString(payload).envelope
        words = [*self._command, "publish", "--topic", topic, "--namespace", self._namespace]
        self._loop.hold_exits()
        try:
            exited = self._loop.child(_spawn(words, envelope.event.SerializeToString()))
        finally:
            self._loop.release_exits()
        status = (await self._loop.within(exited, SECONDS)).status
        if status:
            raise OSError(errno.EIO, f"{words[0]} publish ended with status {status}")

    async def _forward(self, payload: bytes) -> None:
        connection = self._connection or self._connect()
        metadata = {"containerd-namespace-ttrpc": self._namespace}
        stream, data = connection.calls.call(SERVICE, "Forward", payload, timeout=SECONDS, metadata=metadata)
        future: Future[None] = Future()
        connection.waiting[stream] = future
        try:
            connection.socket.sendall(data)
            await self._loop.within(future, SECONDS)
        except (OSError, TimedOutError):
            self._drop("closed")
            raise
        finally:
            connection.waiting.pop(stream, None)
            connection.calls.forget(stream)

    def _connect(self) -> Connection:
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            raw.settimeout(SECONDS)
            raw.connect(self._address)
        except OSError:
            raw.close()
            raise
        self._connection = Connection(raw, CallClient(), {})
        self._loop.on_readable(raw.fileno(), self._read)
        return self._connection

    def _read(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            data = connection.socket.recv(1 << 12)
            answers = connection.calls.receive(data)
        except (OSError, FrameError) as error:
            self._drop(str(error))
            return
        for answer in answers:
            future = connection.waiting.get(answer.stream)
            if future is None:
                continue
            if answer.error is not None:
                future.fail(answer.error)
            else:
                future.set(None)
        if not data:
            self._drop("containerd closed the connection")

    def _drop(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._loop.forget(connection.socket.fileno())
        connection.socket.close()
        for future in list(connection.waiting.values()):  # each one's coroutine removes itself
            future.fail(ConnectionError(errno.ECONNRESET, reason))


def _spawn(words: list[str], data: bytes) -> int:
    """Start a program with `data` on stdin; return its pid."""
    feed = os.memfd_create("event")
    try:
        os.write(feed, data)
        os.lseek(feed, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, feed, 0)]
        return os.posix_spawnp(words[0], words, os.environ, file_actions=actions, setsigmask=())
    finally:
        os.close(feed)
