"""Second programs in a running container: create, start, inspect, resize.

An exec that was started without Detach answers 200 before it is known whether the program can start, so a failure comes as
output (observed on dockerd 20.10, with CR LF at its end); a detached one answers with a proper status.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containerd.client import ContainerdError
from sixhops.dockerd.containers.life.starterror import start_error
from sixhops.dockerd.containers.lifecycle import Operation, check
from sixhops.dockerd.containers.specification import user
from sixhops.dockerd.containers.specification.spec import exec_process
from sixhops.dockerd.containers.streams.attach import AttachSession, Input, parse_keys
from sixhops.dockerd.containers.streams.stdio import Fanout, Stdio, Subscription
from sixhops.dockerd.containers.views.documents import status_text
from sixhops.dockerd.errors import EngineError, conflict, invalid, not_found, system
from sixhops.wire.rawstream import Stream, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.containerd.client import Containerd, TaskExit
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.containers.streams.connection import ClientStream, Session
    from sixhops.dockerd.events import Events

__all__ = ["Exec", "Execs"]

_OUTPUT_PATIENCE = 2.0
_CANNOT_START = 126
_SIGKILL = 9
#: How long the end of a killed health check is waited for, in seconds.
_KILL_PATIENCE = 10.0
#: How long a resize waits for its exec to start, in seconds.
_START_PATIENCE = 10.0
#: How long an exec that has ended can be looked at, in seconds.
_MEMORY = 300.0
#: How much of a health check's output is kept, in bytes.
_LONGEST_OUTPUT = 4096


@dataclass(slots=True)
class Exec:
    """One exec; `request` is the body of its creation. `exit_code` is None until it has ended."""

    id: str
    held: Held
    request: dict[str, Any]
    output: Fanout = field(default_factory=Fanout)
    running: bool = False
    started: bool = False
    exit_code: int | None = None
    pid: int = 0
    stdio: Stdio | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ended_at: float = 0.0
    start_done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def tty(self) -> bool:
        """Whether the program has a terminal."""
        return bool(self.request.get("Tty"))

    def document(self) -> dict[str, Any]:
        """Return the exec as inspect prints it."""
        words = self.request["Cmd"]
        process: dict[str, Any] = {"tty": self.tty, "entrypoint": words[0], "arguments": list(words[1:])}
        process["privileged"] = bool(self.request.get("Privileged"))
        if self.request.get("User"):
            process["user"] = self.request["User"]
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": process,
            "OpenStdin": bool(self.request.get("AttachStdin")),
            "OpenStderr": bool(self.request.get("AttachStderr")),
            "OpenStdout": bool(self.request.get("AttachStdout")),
            "CanRemove": False,
            "ContainerID": self.held.container.id,
            # bytes, as Go prints them
            "DetachKeys": base64.b64encode(parse_keys(self.request["DetachKeys"])).decode()
            if self.request.get("DetachKeys")
            else "",
            "Pid": self.pid,
        }

    def finish(self, code: int) -> None:
        """Note the end, close the streams."""
        self.running = False
        self.exit_code = code
        if self.stdio is not None:
            self.stdio.close()
            self.stdio = None
        self.output.end()
        self.ended_at = time.monotonic()
        self.ended.set()

    def container_ended(self, code: int) -> None:
        """The container has ended, and every exec with it."""
        if self.running:
            self.finish(code)


class Execs:
    """All execs of the engine. They are kept for some minutes after their end, but not longer than their container."""

    def __init__(self, settings: ContainerSettings, containerd: Containerd, events: Events) -> None:
        self._settings = settings
        self._directory = settings.exec_root / "containerd"
        self._containerd = containerd
        self._events = events
        self._all: dict[str, Exec] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def create(self, held: Held, text: str, request: dict[str, Any]) -> str:
        """Register an exec; `text` is how the user named the container. Raises EngineError."""
        check(held.container.state.status, Operation.EXEC, held.container.id, text)
        words = request.get("Cmd")
        if isinstance(words, str):
            words = [words]
        if not words:
            raise invalid("No exec command specified")
        try:
            parse_keys(request.get("DetachKeys") or "")
        except EngineError as error:
            raise system(f"Invalid escape keys ({request['DetachKeys']}) provided") from error
        user_ = request.get("User") or held.container.config["User"]
        exec_ = Exec(secrets.token_hex(32), held, {**request, "Cmd": words, "User": user_})
        self._forget_old()
        self._all[exec_.id] = exec_
        held.execs[exec_.id] = exec_
        self._tell(exec_, "exec_create")
        return exec_.id

    async def probe(self, held: Held, words: Sequence[str], timeout: float) -> tuple[int, str]:  # noqa: ASYNC109 - the user's, in seconds
        """Run a health check; return its exit code and the beginning of its output.

        Raises EngineError when it can't be run, and TimeoutError after `timeout` seconds; the program is killed then.
        """
        config = held.container.config
        request = {
            "Cmd": list(words),
            "AttachStdout": True,
            "AttachStderr": True,
            "User": config["User"],
            "WorkingDir": config["WorkingDir"],
        }
        exec_ = self._all[self.create(held, held.container.id, request)]
        output = _Beginning()
        client = exec_.output.subscribe(frozenset({Stream.STDOUT, Stream.STDERR}))
        start = asyncio.create_task(self._run(exec_))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(start)
                while (piece := await client.get()) is not None:
                    output.add(piece[1])
                await exec_.ended.wait()
        except (TimeoutError, asyncio.CancelledError):
            client.close()
            end = asyncio.create_task(self._end_probe(exec_, start))
            self._ending.add(end)
            end.add_done_callback(self._ending.discard)
            await asyncio.shield(end)
            raise
        return exec_.exit_code or 0, output.text()

    async def _end_probe(self, exec_: Exec, start: asyncio.Task[None]) -> None:
        """Kill a health check that takes too long, or that nobody wants to know the result of any more."""
        with contextlib.suppress(EngineError):
            await start
        if exec_.running:
            with contextlib.suppress(ContainerdError):
                await self._containerd.kill(exec_.held.container.id, _SIGKILL, exec_.id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_PATIENCE):
                    await exec_.ended.wait()

    def get(self, identity: str) -> Exec:
        """Return an exec. Raises EngineError 404."""
        if identity not in self._all:
            raise not_found(f"No such exec instance: {identity}")
        return self._all[identity]

    def _of_running(self, identity: str) -> Exec:
        """Return an exec whose container runs. Raises EngineError 404, 409 and 500."""
        exec_ = self.get(identity)
        held = exec_.held
        state, container = held.container.state, held.container.id
        if not state.is_running:
            raise system(f"Container {container} is not running: {status_text(held)}")
        check(state.status, Operation.EXEC, container, container)
        return exec_

    def _forget_old(self) -> None:
        oldest = time.monotonic() - _MEMORY
        for exec_ in [
            exec_ for exec_ in self._all.values() if exec_.ended.is_set() and exec_.ended_at < oldest
        ]:
            del self._all[exec_.id]
            exec_.held.execs.pop(exec_.id, None)

    def forget(self, held: Held) -> None:
        """Drop the execs of a container that is removed."""
        for identity in held.execs:
            self._all.pop(identity, None)

    async def start(self, identity: str, *, detach: bool, tty: bool) -> Session | None:
        """Start an exec: a session that starts it and moves its bytes, None when detached. Raises EngineError.

        `tty`: the bytes come without frames; whether the program has a terminal its creation has said.
        """
        exec_ = self._of_running(identity)
        if detach:
            await self._run(exec_)
            return None
        return _ExecSession(self, exec_, raw=tty)

    async def resize(self, identity: str, height: int, width: int) -> None:
        """Set the terminal's size. Raises EngineError."""
        exec_ = self._of_running(identity)
        # the client may be told of the start before the program has its terminal
        try:
            async with asyncio.timeout(_START_PATIENCE):
                await exec_.start_done.wait()
        except TimeoutError:
            raise system("timeout waiting for exec session ready") from None
        if not exec_.running:
            raise not_found("no such exec")
        try:
            await self._containerd.resize(exec_.held.container.id, height, width, identity)
        except ContainerdError as error:
            raise EngineError(500, str(error)) from error

    async def exited(self, exit_: TaskExit) -> None:
        """Tidy up after an exec's program."""
        exec_ = self._all.get(exit_.process)
        if exec_ is None or exec_.ended.is_set():
            return
        await exec_.start_done.wait()
        container = exec_.held.container.id
        with contextlib.suppress(ContainerdError):
            await self._containerd.delete_process(container, exec_.id)
        if exec_.stdio is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_OUTPUT_PATIENCE):
                    await asyncio.shield(exec_.stdio.done)
        if exec_.ended.is_set():
            return
        exec_.finish(exit_.status)
        attributes = exec_.held.container.attributes
        self._events.emit(
            "container",
            "exec_die",
            container,
            {**attributes, "execID": exec_.id, "exitCode": str(exit_.status)},
        )

    async def begin(self, exec_: Exec) -> None:
        """Start the program. Raises EngineError."""
        await self._run(exec_)

    async def close_stdin(self, exec_: Exec) -> None:
        """Close the program's stdin."""
        if exec_.stdio is not None and exec_.stdio.stdin is not None:
            exec_.stdio.stdin.close()
        with contextlib.suppress(ContainerdError):
            await self._containerd.close_stdin(exec_.held.container.id, exec_.id)

    async def _run(self, exec_: Exec) -> None:
        if exec_.started:
            state = "is already running" if exec_.running else "has already run"
            raise conflict(f"Error: Exec command {exec_.id} {state}")
        container = exec_.held.container
        check(container.state.status, Operation.EXEC, container.id, container.id)
        exec_.started = True
        self._tell(exec_, "exec_start")
        root = f"/proc/{container.state.pid}/root"
        host = container.host_config
        try:
            groups = host["GroupAdd"] or []
            owner = identity = await asyncio.to_thread(user.resolve, root, container.config["User"], groups)
            if exec_.request.get("User"):
                identity = await asyncio.to_thread(user.resolve, root, exec_.request["User"], groups)
            process = exec_process(
                container,
                identity,
                exec_.request,
                owner=owner,
                settings=self._settings,
                linked=exec_.held.linked,
            )
            stdin = bool(exec_.request.get("AttachStdin"))
            exec_.stdio = Stdio(self._directory / container.id, exec_.id, stdin=stdin, terminal=exec_.tty)
            exec_.stdio.open(exec_.output.publish, exec_.output)
            await self._containerd.add_exec(container.id, exec_.id, exec_.stdio.io, process)
            exec_.running = True
            exec_.pid = await self._containerd.start(container.id, exec_.id)
        except (ContainerdError, EngineError, OSError) as error:
            exec_.finish(_CANNOT_START)
            exec_.pid = 0
            with contextlib.suppress(ContainerdError):
                await self._containerd.delete_process(container.id, exec_.id)
            if isinstance(error, ContainerdError):
                raise start_error(error) from error
            if isinstance(error, FileNotFoundError) and error.filename == root:
                # the container has ended and nobody has told yet: what containerd would say
                raise EngineError(500, "cannot exec in a stopped state: unknown") from error
            raise EngineError(500, str(error)) from error
        finally:
            exec_.start_done.set()

    def _tell(self, exec_: Exec, action: str) -> None:
        words = exec_.request["Cmd"]
        container = exec_.held.container
        line = f"{action}: {words[0]} {' '.join(words[1:])}"
        self._events.emit("container", line, container.id, {**container.attributes, "execID": exec_.id})


class _Beginning:
    """The first 4096 bytes of an output, and whether there were more."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._is_cut = False

    def add(self, data: bytes) -> None:
        room = _LONGEST_OUTPUT - len(self._kept)
        self._kept += data[:room]
        self._is_cut = self._is_cut or len(data) > room

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace") + ("..." if self._is_cut else "")


class _ExecSession:
    """Starts the program once the answer's head is out, then moves bytes."""

    def __init__(self, execs: Execs, exec_: Exec, *, raw: bool) -> None:
        self.tty = raw
        self._execs = execs
        self._exec = exec_

    async def run(self, stream: ClientStream) -> None:
        request = self._exec.request
        streams = {Stream.STDOUT} if request.get("AttachStdout") else set()
        streams |= {Stream.STDERR} if request.get("AttachStderr") else set()
        output: Subscription = self._exec.output.subscribe(frozenset(streams))
        try:
            await self._execs.begin(self._exec)
        except EngineError as error:
            output.close()
            text = f"{error.message}\r\n".encode()
            with contextlib.suppress(OSError):
                await stream.write(text if self.tty else encode(Stream.STDOUT, text))
            stream.close()
            return
        source = None
        if request.get("AttachStdin"):
            source = Input(
                self._write,
                self._close,
                parse_keys(request.get("DetachKeys") or "") if self._exec.tty else None,
            )
        await AttachSession(tty=self.tty, output=output, source=source).run(stream)

    async def _write(self, data: bytes) -> None:
        stdio = self._exec.stdio
        if stdio is not None and stdio.stdin is not None:
            await stdio.stdin.write(data)

    async def _close(self) -> None:
        await self._execs.close_stdin(self._exec)
