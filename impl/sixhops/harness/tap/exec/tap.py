"""The taps on the shim and the runtime hop: programs of ours stand where those are looked for.

    containerd ── bin/containerd-shim-runc-v2 ── bin/real/containerd-shim-runc-v2
    shim ── bin/runc ── bin/real/runc

What stands there (`programs/exectap.c`, compiled once) tells the tap what it was started with, runs the real program and
tells how that ended. A shim that has been started is then listened to on its socket (`ttrpc/shimsocket.py`); what it tells
containerd goes through a socket of the tap's, which is the only thing that the programs see of it: TTRPC_ADDRESS in a
shim's environment. Messages have the real one.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.cache import cache_folder
from sixhops.harness.images.toolbox import Toolbox
from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.exec.protocol import MESSAGE_LIMIT, ReportError, answer, read_end, read_start
from sixhops.harness.tap.exec.runtimecall import RuntimeCall
from sixhops.harness.tap.exec.shimcall import ShimCall, read_bootstrap
from sixhops.harness.tap.grpc.calls import CallLog
from sixhops.harness.tap.relay import LoopThread, Relay
from sixhops.harness.tap.ttrpc.calls import TtrpcLog
from sixhops.harness.tap.ttrpc.shimsocket import ShimSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sixhops.harness.tap.exec.protocol import Ended, Started
    from sixhops.harness.tap.recorder import Recorder
    from sixhops.harness.tap.relay import Log

__all__ = ["ExecTap"]

_VARIABLE = "TTRPC_ADDRESS"
_EVENTS = "shim-events.sock"
_SOURCES = Path(__file__).parent / "programs"


class ExecTap:
    """Records how shims and runtimes are called, and what is said to shims, on a thread of its own.

    `home` is a directory that the programs see under the same path. `root()` is how this process reaches their file
    system, `containerd_ttrpc` the socket where containerd takes events from shims.
    """

    def __init__(
        self, home: Path, recorder: Recorder, *, root: Callable[[], Path], containerd_ttrpc: Path
    ) -> None:
        self._home = home
        self._recorder = recorder
        self._root = root
        self._containerd_ttrpc = containerd_ttrpc
        self._bin: Path | None = None
        self._shims: frozenset[str] = frozenset()
        self._thread = LoopThread("exec tap")
        self._server: asyncio.Server | None = None
        self._events: Relay | None = None
        self._sockets: dict[Path, ShimSocket] = {}
        self._clients = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def install(self, directory: Path, names: Mapping[str, Iterable[str]]) -> None:
        """Put what stands for the programs into `directory`; they themselves are in `directory`/real.

        `names` has the programs' names by role, shim and runc. Raises UsageError when there is no compiler.
        """
        compiled = Toolbox(cache_folder(), _SOURCES).path("exectap")
        for name in (name for each in names.values() for name in each):
            # A copy: the program finds the tap and the real one beside itself.
            shutil.copy(compiled, directory / name)
            (directory / name).chmod(0o755)
        self._shims = frozenset(names["shim"])
        self._bin = directory

    def start(self) -> None:
        """Begin to listen; `install` comes first. Raises InternalError when called twice."""
        self._thread.start()
        self._thread.call(self._serve())

    def close(self) -> None:
        """Cut every connection and finish what is being recorded. May be called twice."""
        self._thread.stop(self._end())

    async def _serve(self) -> None:
        assert self._bin is not None
        # backlog: as many as may be started at once; a full queue would let them run unobserved
        self._server = await asyncio.start_unix_server(
            self._accept, str(self._bin / "tap.sock"), backlog=1024
        )
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._home / _EVENTS))
        listener.listen(128)
        self._events = Relay(listener, lambda: self._containerd_ttrpc, self._ttrpc_log)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._events is not None:
            await self._events.close()
        for shim in self._sockets.values():
            await shim.close()
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._attend(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Follow one program from its start to its end."""
        call: RuntimeCall | ShimCall | None = None
        reason = "the tap was closed"
        try:
            started = read_start(await _receive(reader))
            call = self._begin(started)
            _send(writer, answer(capture=call.captures, env=self._override(started)))
            self._end_call(call, read_end(await _receive(reader)))
            call = None
            _send(writer, b"")
        except (EOFError, OSError):
            reason = "it was killed, or ended its talk with the tap"
        except ReportError as error:
            reason = f"its report can't be read: {error}"
            self._note(call, reason)
        except Exception:  # noqa: BLE001 - a mistake of the tap's must be seen; the program runs on without it
            reason = f"the tap failed: {traceback.format_exc()}"
            self._note(call, reason)
        finally:
            if call is not None:
                call.vanish(reason)
            writer.close()

    def _note(self, call: RuntimeCall | ShimCall | None, reason: str) -> None:
        """Record what went wrong before there was a call that could say it."""
        if call is None:
            self._recorder.note(Hop.RUNTIME, "? -> no answer", {"complete": False, "error": reason})

    def _begin(self, started: Started) -> RuntimeCall | ShimCall:
        if started.name in self._shims:
            return ShimCall(self._recorder, started)
        if started.env.get(_VARIABLE) == self._tapped_address:
            started.env[_VARIABLE] = str(self._containerd_ttrpc)
        return RuntimeCall(self._recorder, started, self._root())

    @property
    def _tapped_address(self) -> str:
        return str(self._home / _EVENTS)

    def _override(self, started: Started) -> dict[str, str]:
        given = started.env.get(_VARIABLE, "").removeprefix("unix://")
        if started.name in self._shims and given == str(self._containerd_ttrpc):
            return {_VARIABLE: self._tapped_address}
        return {}

    def _end_call(self, call: RuntimeCall | ShimCall, ended: Ended) -> None:
        if isinstance(call, RuntimeCall):
            call.end(ended)
            return
        error = None
        if call.action == "start" and ended.exit == 0 and ended.output is not None:
            error = self._listen_to(ended.output)
        call.end(ended, error)

    def _listen_to(self, output: bytes) -> str | None:
        """Take the place of the socket that a shim's `start` has announced; return why that can't be done."""
        bootstrap = read_bootstrap(output)
        if bootstrap is None:
            return "what it printed is no address"
        if bootstrap.path is None or bootstrap.protocol not in {"ttrpc", "grpc"}:
            return f"no tap for the address {bootstrap.address} and the protocol {bootstrap.protocol}"
        path = bootstrap.path
        former = self._sockets.get(path)
        if former is not None and former.stands:
            # A second container of a group: the shim is there already.
            return None
        self._sockets = {each: shim for each, shim in self._sockets.items() if not shim.over}
        make = self._grpc_log if bootstrap.protocol == "grpc" else self._ttrpc_log
        try:
            self._sockets[path] = ShimSocket(self._root(), path, make)
        except OSError as error:
            return f"its socket can't be tapped: {error}"
        return None

    def _ttrpc_log(self, _: int) -> Log:
        return TtrpcLog(self._recorder, self._next_client(), Hop.SHIM)

    def _grpc_log(self, _: int) -> Log:
        return CallLog(self._recorder, self._next_client(), Hop.SHIM)

    def _next_client(self) -> int:
        self._clients += 1
        return self._clients


async def _receive(reader: asyncio.StreamReader) -> bytes:
    """Return the next message. Raises EOFError (asyncio.IncompleteReadError), ReportError when it is too long."""
    length = int.from_bytes(await reader.readexactly(4))
    if length > MESSAGE_LIMIT:
        raise ReportError(f"{length} bytes are announced, {MESSAGE_LIMIT} allowed")
    return await reader.readexactly(length)


def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(len(data).to_bytes(4) + data)
