import json
import os
from pathlib import Path

import pytest

from sixhops.linux.clone import fork_plainly
from sixhops.linux.libc import LinuxError
from sixhops.linux.namespaces import CLONE_NEWPID, CLONE_NEWUTS
from sixhops.linux.successor import can_succeed, succeed

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not can_succeed(), reason="needs x86_64"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes namespaces"),
]

UNKNOWN_FLAG = 1 << 60


def deep(depth: int) -> int:
    return depth and 1 + deep(depth - 1)


def everything(reader: int) -> bytes:
    return b"".join(iter(lambda: os.read(reader, 1 << 16), b""))


def ended(count: int) -> dict[int, int]:
    """Reap so many children; return their exit statuses in the order of their ends."""
    return {
        pid: os.waitstatus_to_exitcode(status) for pid, status in (os.waitpid(-1, 0) for _ in range(count))
    }


def test_it_goes_on_in_our_memory_and_place() -> None:
    reader, writer = os.pipe()
    value = ["made before"]
    first = fork_plainly()
    if first == 0:
        pid = succeed(CLONE_NEWPID | CLONE_NEWUTS)
        value.append("made after")
        # frames of the caller, which stands still: they are written over
        seen = [pid, os.getpid(), os.getppid(), int(Path("/proc/self").readlink().name), deep(300), *value]
        os.write(writer, json.dumps(seen).encode())
        os.execv("/bin/sh", ["sh", "-c", "exit 7"])
    os.close(writer)

    pid, inside, parent, outside, depth, *values = json.loads(everything(reader))
    os.close(reader)

    assert values == ["made before", "made after"]
    assert (inside, parent, depth) == (1, 0, 300)  # its parent, we, is in another namespace
    assert pid == outside != first
    assert ended(2) == {first: 0, pid: 7}


def test_one_that_dies_takes_its_predecessor_along() -> None:
    reader, writer = os.pipe()
    first = fork_plainly()
    if first == 0:
        pid = succeed(0)
        os.write(writer, str(pid).encode())
        os._exit(3)
    os.close(writer)

    pid = int(everything(reader))
    os.close(reader)

    assert ended(2) == {first: 0, pid: 3}


def test_a_killed_predecessor_is_not_needed() -> None:
    (reader, writer), (held, hold) = os.pipe(), os.pipe()
    first = fork_plainly()
    if first == 0:
        os.close(hold)
        pid = succeed(0)
        os.write(writer, f"{pid} ".encode())
        os.read(held, 1)
        os.write(writer, str(deep(100)).encode())
        os._exit(3)
    os.close(writer)
    pid = int(os.read(reader, 100))
    os.kill(first, 9)
    assert os.waitpid(first, 0)[0] == first

    os.close(hold)

    assert everything(reader) == b"100"
    assert ended(1) == {pid: 3}
    os.close(reader)
    os.close(held)


def test_what_the_kernel_refuses_is_an_error_of_the_caller() -> None:
    first = fork_plainly()
    if first == 0:
        try:
            succeed(UNKNOWN_FLAG)
        except LinuxError as error:
            os._exit(error.errno or 0)
        os._exit(0)

    assert ended(1) == {first: 22}
