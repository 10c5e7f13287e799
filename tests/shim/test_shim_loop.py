import os
import signal
from collections.abc import Iterator

import pytest

from sixhops.shim.loop import ExitStatus, Future, Lock, Loop, Task, TimedOutError


@pytest.fixture
def loop() -> Iterator[Loop]:
    kept = signal.getsignal(signal.SIGCHLD)
    made = Loop()
    yield made
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, kept)


def run(loop: Loop, coroutine: object) -> object:
    task: Task[object] = Task(coroutine)  # type: ignore[arg-type]
    task.on_done(loop.stop)
    loop.later(5.0, loop.stop)
    loop.run()
    return task.result()


def test_coroutine_awaits_a_future(loop: Loop) -> None:
    future: Future[int] = Future()

    async def main() -> int:
        return await future + 1

    loop.later(0.0, lambda: future.set(4))
    assert run(loop, main()) == 5


def test_future_keeps_its_first_value() -> None:
    future: Future[int] = Future()
    future.set(1)
    future.set(2)
    future.fail(ValueError())

    assert future.result() == 1


def test_error_of_a_coroutine_is_raised_from_its_task(loop: Loop) -> None:
    async def main() -> None:
        await loop.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(loop, main())


def test_within_times_out(loop: Loop) -> None:
    async def main() -> None:
        never: Future[None] = Future()
        await loop.within(never, 0.001)

    with pytest.raises(TimedOutError, match=r"within 0\.001 s"):
        run(loop, main())


def test_child_is_reaped_and_its_status_given(loop: Loop) -> None:
    loop.catch_signals()
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})

    async def main() -> int:
        return (await loop.child(pid)).status

    assert run(loop, main()) == 7


def test_exit_before_anyone_waits_is_kept_while_held(loop: Loop) -> None:
    loop.hold_exits()
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "kill -9 $$"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    loop.reap()

    assert loop.child(pid).result().status == 137
    loop.release_exits()


def test_lock_lets_in_one_after_the_other(loop: Loop) -> None:
    lock, record = Lock(), []

    async def enter(name: str) -> None:
        async with lock:
            record.append(f"{name} in")
            await loop.sleep(0)
            record.append(f"{name} out")

    async def main() -> None:
        tasks = [Task(enter(name)) for name in "abc"]
        for task in tasks:
            await task

    run(loop, main())
    assert record == ["a in", "a out", "b in", "b out", "c in", "c out"]


def test_readable_descriptor_wakes_a_coroutine(loop: Loop) -> None:
    reader, writer = os.pipe()

    async def main() -> bytes:
        await loop.readable(reader)
        return os.read(reader, 10)

    loop.later(0.0, lambda: os.write(writer, b"x") and None)
    assert run(loop, main()) == b"x"
    os.close(reader)
    os.close(writer)


def test_same_descriptor_watched_both_ways(loop: Loop) -> None:
    reader, writer = os.pipe()
    record: list[str] = []

    def written() -> None:
        record.append("writable")
        loop.forget(writer)
        loop.stop()

    loop.on_writable(writer, written)
    loop.forget(reader)
    loop.run()
    assert record == ["writable"]
    os.close(reader)
    os.close(writer)


def test_error_of_a_handler_is_reported_and_the_loop_goes_on(loop: Loop) -> None:
    record: list[object] = []
    loop.on_error = lambda error: record.append(str(error))

    def fail() -> None:
        raise ValueError("broken handler")

    loop.soon(fail)
    loop.later(0.0, fail)
    loop.later(0.0, loop.stop)
    loop.run()

    assert record == ["broken handler", "broken handler"]


def test_error_of_a_handler_ends_a_loop_that_has_no_reporter(loop: Loop) -> None:
    loop.soon(lambda: 1 / 0)  # type: ignore[arg-type,return-value]

    with pytest.raises(ZeroDivisionError):
        loop.run()


def test_status_of_a_signal() -> None:
    assert ExitStatus(signal.SIGTERM, 0.0).status == 143
    assert ExitStatus(5 << 8, 0.0).status == 5
