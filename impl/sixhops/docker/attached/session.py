"""A container or an exec that this terminal is attached to: what run, start -a, attach and exec have in common.

A session owns the relay, the terminal's raw mode, the resizing and the signals. The engine's requests that must be
under way while output flows (start, wait) are read by the same loop.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from sixhops.docker.attached.relay import Loop, Relay, Signals, proxied_signals, signal_name
from sixhops.docker.errors import DockerError, ExitError
from sixhops.docker.screen import terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.docker.engine.answers import Hijacked, Reply
    from sixhops.docker.engine.client import Client

__all__ = ["Session", "check_terminal"]


def check_terminal(attach_stdin: bool, tty: bool) -> None:
    """Raise DockerError when a terminal is wanted for input and stdin is none."""
    if attach_stdin and tty and not terminal.is_terminal(0):
        raise DockerError("the input device is not a TTY")


class Session:
    """One attachment. `resource` is the engine's path of what is attached: /containers/ID or /exec/ID.

    `proxy` says whether signals are passed on; `keys` is the detach sequence as it was given, "" for the default.
    """

    def __init__(self, client: Client, resource: str, *, tty: bool, proxy: bool, keys: str = "") -> None:
        self.relay: Relay | None = None
        self._client = client
        self._resource = resource
        self._tty = tty
        self._proxy = proxy
        self._keys = _detach_keys(keys) if tty else b""
        self._loop = Loop()
        self._raw: terminal.RawMode | None = None
        self._resizes = False
        numbers: set[signal.Signals] = proxied_signals() if proxy else set()
        if tty and terminal.is_terminal(1):
            numbers.add(signal.SIGWINCH)
        self._signals = Signals(self._loop, numbers, self._signalled) if numbers else None

    def join(self, connection: Hijacked, *, stdin: bool, stdout: bool, stderr: bool) -> None:
        """Attach the connection to our descriptors and make the terminal raw."""
        sys.stdout.flush()
        self.relay = Relay(
            self._loop,
            connection,
            multiplexed=not self._tty,
            stdin=0 if stdin else None,
            stdout=1 if stdout else None,
            stderr=2 if stderr else None,
            keys=self._keys,
        )
        if self._tty and stdin and terminal.is_terminal(0):
            self._raw = terminal.RawMode(0)
            self._raw.__enter__()

    def watch_size(self) -> None:
        """Tell the engine the terminal's size, now and whenever it changes."""
        if self._tty and terminal.is_terminal(1):
            self._resizes = True
            self._resize()

    def until(self, finished: Callable[[], bool]) -> None:
        """Relay until `finished()`, or until the person detaches."""
        relay = self.relay
        self._loop.run(lambda: finished() or (relay is not None and relay.detached))

    def until_output_ends(self) -> bool:
        """Relay until the output has ended (True) or the person has detached (False)."""
        relay = self.relay
        assert relay is not None
        self._loop.run(lambda: relay.finished)
        return not relay.detached

    def read(self, reply: Reply) -> bytes:
        """Receive an answer to its end while output and signals go on; return its body."""
        body = bytearray()

        def more() -> None:
            body.extend(reply.receive())
            if reply.done:
                self._loop.stop_reading(reply)

        if not reply.done:
            self._loop.read(reply, more)
            self._loop.run(lambda: reply.done)
        return bytes(body)

    def start(self, path: str, query: dict[str, str]) -> None:
        """POST a start while output flows already. Raises ApiError, ConnectError."""
        pending = self._client.begin("POST", path, query)

        def more() -> None:
            if pending.advance():
                self._loop.stop_reading(pending)

        self._loop.read(pending, more)
        self._loop.run(lambda: pending.ready)
        pending.finish().body()

    def restore(self) -> None:
        """Give the terminal back as it was; output may still follow."""
        if self._raw is not None:
            self._raw.__exit__()
            self._raw = None

    def close(self) -> None:
        """Restore terminal and signals, close the connection."""
        self.restore()
        if self.relay is not None:
            self.relay.close()
            self.relay = None
        if self._signals is not None:
            self._signals.close()
            self._signals = None

    def _signalled(self, number: int) -> None:
        if self._proxy:
            self._quietly(f"{self._resource}/kill", {"signal": signal_name(number)})
        if number == signal.SIGWINCH and self._resizes:
            self._resize()

    def _resize(self) -> None:
        rows, columns = terminal.size(1)
        if rows or columns:
            self._quietly(f"{self._resource}/resize", {"h": str(rows), "w": str(columns)})

    def _quietly(self, path: str, query: dict[str, str]) -> None:
        """Ask for something that may come too early or too late; docker's client, too, says nothing then."""
        try:
            self._client.call("POST", path, query).body()
        except DockerError as error:
            if self._client.settings.debug:
                sys.stderr.write(f"{error}\n")


def _detach_keys(text: str) -> bytes:
    try:
        return terminal.key_bytes(text or terminal.DEFAULT_DETACH_KEYS)
    except ValueError as error:
        raise ExitError(1, f"Invalid detach keys ({text}) provided: {error}") from error
