import contextlib
import os
import socket
import termios
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sixhops.shim.console import ConsoleSocket, resize
from sixhops.shim.loop import Loop, Task
from sixhops.shim.stdio import Paths, Streams

T = TypeVar("T")


def run(loop: Loop, coroutine: object) -> object:
    task: Task[object] = Task(coroutine)  # type: ignore[arg-type]
    task.on_done(loop.stop)
    loop.later(5.0, loop.stop)
    loop.run()
    return task.result()


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that has nothing to wait for."""
    task = Task(coroutine)
    assert task.done
    return task.result()


def opened(loop: Loop, paths: Paths) -> Streams:
    return at_once(Streams.open(loop, paths))


def fifo(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


def test_output_goes_to_the_fifo_and_ends(tmp_path: Path) -> None:
    loop = Loop()
    paths = Paths(stdout=fifo(tmp_path / "out"))
    reader = os.open(paths.stdout, os.O_RDONLY | os.O_NONBLOCK)
    streams = opened(loop, paths)
    assert streams.child is not None
    os.write(streams.child[1], b"hello")
    at_once(streams.begin())

    assert run(loop, streams.drained(5.0)) is True

    assert os.read(reader, 100) == b"hello"
    assert os.read(reader, 100) == b""
    os.close(reader)
    at_once(streams.close())


def test_output_waits_in_the_fifo_while_nobody_reads(tmp_path: Path) -> None:
    loop = Loop()
    paths = Paths(stdout=fifo(tmp_path / "out"))
    streams = opened(loop, paths)
    assert streams.child is not None
    kept = os.dup(streams.child[1])
    os.write(kept, b"early")
    at_once(streams.begin())

    assert run(loop, streams.drained(0.01)) is False

    reader = os.open(paths.stdout, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 100) == b"early"
    for descriptor in (reader, kept):
        os.close(descriptor)
    at_once(streams.close())


def test_more_output_than_the_fifo_holds(tmp_path: Path) -> None:
    loop = Loop()
    paths = Paths(stderr=fifo(tmp_path / "err"))
    reader = os.open(paths.stderr, os.O_RDONLY | os.O_NONBLOCK)
    streams = opened(loop, paths)
    assert streams.child is not None
    writer = os.dup(streams.child[2])
    at_once(streams.begin())
    os.set_blocking(writer, False)
    total, sent, seen = 300_000, 0, 0

    async def main() -> int:
        nonlocal sent, seen
        while seen < total:
            if sent < total:
                with contextlib.suppress(BlockingIOError):
                    sent += os.write(writer, b"y" * min(65536, total - sent))
            await loop.sleep(0)
            with contextlib.suppress(BlockingIOError):
                seen += len(os.read(reader, 1 << 20))
        os.close(writer)
        return seen

    assert run(loop, main()) == total
    os.close(reader)
    at_once(streams.close())


def test_stdin_ends_only_after_close_io(tmp_path: Path) -> None:
    loop = Loop()
    paths = Paths(stdin=fifo(tmp_path / "in"))
    streams = opened(loop, paths)
    assert streams.child is not None
    container = os.dup(streams.child[0])
    os.set_blocking(container, False)
    streams.hold_stdin()
    at_once(streams.begin())
    client = os.open(paths.stdin, os.O_WRONLY | os.O_NONBLOCK)
    os.write(client, b"typed")
    os.close(client)

    async def main() -> list[bytes]:
        seen = []
        await loop.readable(container)
        seen.append(os.read(container, 100))
        with pytest.raises(BlockingIOError):
            os.read(container, 100)
        streams.close_stdin()
        await loop.readable(container)
        seen.append(os.read(container, 100))
        return seen

    assert run(loop, main()) == [b"typed", b""]
    os.close(container)
    at_once(streams.close())


def test_stream_without_a_path_is_null() -> None:
    streams = opened(Loop(), Paths())
    assert streams.child is not None

    assert {str(Path(f"/proc/self/fd/{descriptor}").readlink()) for descriptor in streams.child} == {
        "/dev/null"
    }
    at_once(streams.close())


def test_output_to_a_file(tmp_path: Path) -> None:
    loop = Loop()
    streams = opened(loop, Paths(stdout=f"file://{tmp_path}/sub/log"))
    assert streams.child is not None
    os.write(streams.child[1], b"line\n")
    at_once(streams.begin())

    run(loop, streams.drained(5.0))

    assert (tmp_path / "sub" / "log").read_bytes() == b"line\n"
    at_once(streams.close())


def test_unknown_scheme() -> None:
    with pytest.raises(ValueError, match="unknown STDIO scheme nats"):
        opened(Loop(), Paths(stdout="nats://x/y"))


def test_missing_fifo(tmp_path: Path) -> None:
    streams = opened(Loop(), Paths(stdout=str(tmp_path / "none")))

    with pytest.raises(OSError, match=r'containerd-shim: opening file "[^"]*none" failed: open '):
        at_once(streams.begin())
    at_once(streams.close())


def test_console_socket_receives_the_terminal() -> None:
    loop = Loop()
    console = ConsoleSocket(loop)
    master, slave = os.openpty()
    with socket.socket(socket.AF_UNIX) as runtime:
        runtime.connect(console.path)
        socket.send_fds(runtime, [b"terminal"], [master])
        received = run(loop, console.receive())
    assert isinstance(received, int)

    resize(received, 111, 33)

    assert termios.tcgetwinsize(slave) == (33, 111)
    console.close()
    assert not Path(console.path).exists()
    for descriptor in (master, slave, received):
        os.close(descriptor)
