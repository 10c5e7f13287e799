import os
from pathlib import Path

import pytest

from sixhops.linux.arguments import set_arguments


def test_command_line_of_any_length_is_shown() -> None:
    wanted = ["/usr/bin/containerd-shim", "-id", "x" * 5000]
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        done = set_arguments(wanted)
        os.write(writer, b"1" if done else b"0")
        os.write(writer, Path("/proc/self/cmdline").read_bytes())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as seen:
        answer = seen.read()

    if answer[:1] == b"0":
        pytest.skip("the kernel has no PR_SET_MM_MAP (CONFIG_CHECKPOINT_RESTORE)")
    assert answer[1:].decode().split("\0") == [*wanted, ""]
