import os

import pytest

from sixhops.linux.clone import fork_plainly

pytestmark = pytest.mark.alone


def test_child_is_ours_and_has_what_we_have() -> None:
    reader, writer = os.pipe()
    value = ["seen"]

    pid = fork_plainly()
    if pid == 0:
        os.write(writer, f"{value[0]} {os.getppid()}".encode())
        os._exit(7)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert os.read(reader, 100) == f"seen {os.getpid()}".encode()
    os.close(reader)
    os.close(writer)


def test_hooks_around_forks_are_left_out() -> None:
    called: list[int] = []
    os.register_at_fork(before=lambda: called.append(1))

    pid = fork_plainly()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

    assert called == []
