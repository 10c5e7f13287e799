"""Attach sessions and fifos: framing, detach keys, ends of input and output, clients that don't read or go away."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.containers.streams.attach import AttachSession, DetachKeys, Input, parse_keys
from sixhops.dockerd.containers.streams.stdio import CLIENT_LIMIT, Fanout, Stdio
from sixhops.dockerd.errors import EngineError
from sixhops.wire.rawstream import Stream

if TYPE_CHECKING:
    from pathlib import Path

BOTH = frozenset({Stream.STDOUT, Stream.STDERR})


class Client:
    """A client's end: `sent` goes to the engine, `got` came from it."""

    def __init__(self, *sent: bytes, fail_after: int = 1 << 30) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        for piece in sent:
            self.queue.put_nowait(piece)
        self.got = b""
        self.closed = False
        self.fail_after = fail_after

    async def read(self) -> bytes:
        return await self.queue.get()

    async def write(self, data: bytes) -> None:
        self.got += data
        if len(self.got) > self.fail_after:
            raise BrokenPipeError

    def close(self) -> None:
        self.closed = True


def source(record: list[bytes], *, hands_on: bool, keys: bytes | None = None) -> Input:
    async def write(data: bytes) -> None:
        record.append(data)

    async def close() -> None:
        record.append(b"<closed>")

    return Input(write, close if hands_on else None, keys)


def test_output_is_framed_and_ends_with_the_program() -> None:
    async def scenario() -> Client:
        fanout, client = Fanout(), Client()
        session = AttachSession(tty=False, output=fanout.subscribe(BOTH))
        fanout.publish(Stream.STDOUT, b"out")
        fanout.publish(Stream.STDERR, b"err")
        fanout.end()
        await asyncio.wait_for(session.run(client), 20)
        return client

    client = asyncio.run(scenario())
    assert client.got == b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err"
    assert client.closed


def test_only_the_wanted_stream_comes() -> None:
    async def scenario() -> bytes:
        fanout, client = Fanout(), Client()
        session = AttachSession(tty=True, output=fanout.subscribe(frozenset({Stream.STDERR})))
        fanout.publish(Stream.STDOUT, b"out")
        fanout.publish(Stream.STDERR, b"err")
        fanout.end()
        await asyncio.wait_for(session.run(client), 20)
        return client.got

    assert asyncio.run(scenario()) == b"err"


@pytest.mark.parametrize("hands_on", [True, False])
def test_end_of_input(hands_on: bool) -> None:
    async def scenario() -> list[bytes]:
        record: list[bytes] = []
        fanout = Fanout()
        session = AttachSession(
            tty=False, output=fanout.subscribe(BOTH), source=source(record, hands_on=hands_on)
        )
        task = asyncio.create_task(session.run(Client(b"in", b"")))
        for _turn in range(20):
            await asyncio.sleep(0)
        if hands_on:
            # the program reads the end of its input and then ends by itself
            assert not task.done()
            fanout.end()
        await asyncio.wait_for(task, 20)
        return record

    assert asyncio.run(scenario()) == ([b"in", b"<closed>"] if hands_on else [b"in"])


def test_detach_keys_end_the_session_and_do_not_reach_the_program() -> None:
    async def scenario() -> tuple[list[bytes], list[str]]:
        record: list[bytes] = []
        told: list[str] = []
        session = AttachSession(
            tty=True,
            output=Fanout().subscribe(BOTH),
            source=source(record, hands_on=False, keys=parse_keys("")),
            detached=lambda: told.append("detached"),
        )
        await asyncio.wait_for(session.run(Client(b"ab\x10", b"\x11cd")), 20)
        return record, told

    assert asyncio.run(scenario()) == ([b"ab"], ["detached"])


@pytest.mark.parametrize(
    ("pieces", "passed", "left"),
    [
        ([b"\x10\x11"], b"", True),
        ([b"\x10", b"\x11"], b"", True),
        ([b"\x10x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"a\x10", b"b"], b"a\x10b", False),
    ],
)
def test_key_sequence(pieces: list[bytes], passed: bytes, left: bool) -> None:
    keys = DetachKeys(b"\x10\x11")
    found = [keys.feed(piece) for piece in pieces]

    assert b"".join(data for data, _left in found) == passed
    assert found[-1][1] is left


def test_keys_by_name() -> None:
    assert parse_keys("ctrl-a,b,ctrl-]") == b"\x01b\x1d"
    with pytest.raises(EngineError, match="Invalid detach keys"):
        parse_keys("ctrl-p,nosuch")


def test_client_that_goes_away_is_forgotten() -> None:
    async def scenario() -> bool:
        fanout = Fanout()
        session = AttachSession(tty=True, output=fanout.subscribe(BOTH))
        fanout.publish(Stream.STDOUT, b"x" * CLIENT_LIMIT)
        await asyncio.wait_for(session.run(Client(fail_after=0)), 20)
        return fanout.publish(Stream.STDOUT, b"more")

    assert asyncio.run(scenario())


def test_slow_client_stops_the_copy_until_it_reads() -> None:
    async def scenario() -> list[str]:
        record: list[str] = []
        fanout = Fanout()
        client = fanout.subscribe(BOTH)
        assert not fanout.publish(Stream.STDOUT, b"x" * CLIENT_LIMIT)
        fanout.when_room(lambda: record.append("room"))
        record.append("reads")
        await client.get()
        return record

    assert asyncio.run(scenario()) == ["reads", "room"]


def test_session_without_streams_ends_at_once_after_the_past() -> None:
    client = Client()
    session = AttachSession(tty=False, past=[(Stream.STDOUT, b"a\n")], wait=False)

    asyncio.run(asyncio.wait_for(session.run(client), 20))

    assert (client.got, client.closed) == (b"\x01\0\0\0\0\0\0\x02a\n", True)


def test_fifos_carry_output_and_input(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[tuple[Stream, bytes]], bytes]:
        found: list[tuple[Stream, bytes]] = []
        stdio = Stdio(tmp_path, "init", stdin=True, terminal=False)

        def take(stream: Stream, data: bytes) -> bool:
            found.append((stream, data))
            return True

        stdio.open(take, Fanout())
        shim_in = os.open(stdio.io.stdin, os.O_RDONLY | os.O_NONBLOCK)
        for path, data in ((stdio.io.stdout, b"o"), (stdio.io.stderr, b"e")):
            descriptor = os.open(path, os.O_WRONLY)
            os.write(descriptor, data)
            os.close(descriptor)
        await asyncio.wait_for(stdio.done, 20)
        assert stdio.stdin is not None
        await stdio.stdin.write(b"in")
        received = os.read(shim_in, 10)
        stdio.close()
        assert os.read(shim_in, 10) == b""
        os.close(shim_in)
        return sorted(found), received

    assert asyncio.run(scenario()) == ([(Stream.STDOUT, b"o"), (Stream.STDERR, b"e")], b"in")
    assert list(tmp_path.iterdir()) == []


def test_terminal_has_no_stderr_and_fifos_are_private(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[str, int]]:
        stdio = Stdio(tmp_path, "init", stdin=False, terminal=True)
        stdio.open(lambda _stream, _data: True, Fanout())
        found = [(entry.name, entry.stat().st_mode & 0o777) for entry in os.scandir(tmp_path)]
        stdio.close()
        return found

    assert asyncio.run(scenario()) == [("init-stdout", 0o600)]
