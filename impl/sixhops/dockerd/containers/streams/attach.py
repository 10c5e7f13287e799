"""Attach: a client on one side, a program's streams on the other, and the rules by which the connection ends.

It ends when the program's output ends, when the client has gone, when the detach keys come, or when the client's stdin
ends and that is not to be handed on (as in dockerd: only StdinOnce without a terminal hands it on).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.streams.connection import DEFAULT_DETACH_KEYS
from sixhops.dockerd.errors import invalid
from sixhops.wire.rawstream import Stream, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sixhops.dockerd.containers.streams.connection import ClientStream
    from sixhops.dockerd.containers.streams.stdio import Subscription

__all__ = ["AttachSession", "DetachKeys", "Input", "parse_keys"]

_NAMED = {"ctrl-@": 0, "ctrl-[": 27, "ctrl-\\": 28, "ctrl-]": 29, "ctrl-^": 30, "ctrl-_": 31} | {
    f"ctrl-{chr(ord('a') + offset)}": offset + 1 for offset in range(26)
}


def parse_keys(text: str) -> bytes:
    """Return the byte sequence of `ctrl-p,ctrl-q`; "" is the default. Raises EngineError 400."""
    keys = bytearray()
    for key in (text or DEFAULT_DETACH_KEYS).split(","):
        if key in _NAMED:
            keys.append(_NAMED[key])
        elif len(key) == 1 and key.isascii():
            keys.append(ord(key))
        else:
            raise invalid(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


class DetachKeys:
    """Watches for a key sequence; bytes that may belong to it are held back until that is decided."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what may go on to the program, and whether the sequence is complete."""
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    self._held = 0
                    return bytes(passed), True
                continue
            passed += self._keys[: self._held]
            self._held = 0
            if byte == self._keys[0]:
                self._held = 1
            else:
                passed.append(byte)
        return bytes(passed), False


@dataclass(frozen=True, slots=True)
class Input:
    """Where a client's bytes go. `close` is told when the client's input ends, if that ends the program's as well."""

    write: Callable[[bytes], Awaitable[None]]
    close: Callable[[], Awaitable[None]] | None
    keys: bytes | None


class AttachSession:
    """The second phase of an attach or exec."""

    def __init__(
        self,
        *,
        tty: bool,
        past: Iterable[tuple[Stream, bytes]] = (),
        output: Subscription | None = None,
        source: Input | None = None,
        detached: Callable[[], None] | None = None,
        wait: bool = True,
    ) -> None:
        """`past` is sent first; `detached` is told of the keys; `wait` False ends the session after `past`."""
        self.tty = tty
        self._past = past
        self._output = output
        self._source = source
        self._detached = detached
        self._wait = wait

    async def run(self, stream: ClientStream) -> None:
        """Move bytes until the session ends; closes `stream`."""
        try:
            # a client that has gone is an ordinary end
            with contextlib.suppress(OSError):
                for kind, data in self._past:
                    await stream.write(self._framed(kind, data))
                if self._wait:
                    await self._move(stream)
        finally:
            if self._output is not None:
                self._output.close()
            stream.close()

    async def _move(self, stream: ClientStream) -> None:
        tasks: list[asyncio.Task[bool]] = []
        if self._output is not None:
            tasks.append(asyncio.create_task(self._send(stream, self._output)))
        if self._source is not None:
            tasks.append(asyncio.create_task(self._receive(stream, self._source)))
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, stream: ClientStream, output: Subscription) -> bool:
        while (piece := await output.get()) is not None:
            await stream.write(self._framed(*piece))
        return True

    async def _receive(self, stream: ClientStream, source: Input) -> bool:
        """Return whether the end of the client's input ends the session."""
        watch = DetachKeys(source.keys) if source.keys else None
        while data := await stream.read():
            left = False
            if watch is not None:
                data, left = watch.feed(data)
            if data:
                await source.write(data)
            if left:
                if self._detached is not None:
                    self._detached()
                return True
        if source.close is None:
            return True
        await source.close()
        return self._output is None

    def _framed(self, kind: Stream, data: bytes) -> bytes:
        return data if self.tty else encode(kind, data)
