"""A client whose container waits for a line before it ends.

containerd's clients open the fifos of a container's output in the background, and give up one that is not open yet as
soon as the container has ended (`fifo.OpenFifo` with the context that `task.Delete` cancels). So on a busy machine the
output of a short program is lost, with anybody's containerd: a test that wants output has the program wait for a reader.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def converse(
    command: Sequence[str], *, out: str = "", err: str = "", say: str = "", bound: float
) -> subprocess.CompletedProcess[str]:
    """Run `command`, say `say`, wait until it has said `out` and `err`, say one more line, and wait for its end.

    The result has all that it said. A client that ends earlier is not an error here; AssertionError after `bound` seconds.
    """
    wanted = {"stdout": out.encode(), "stderr": err.encode()}
    seen = {"stdout": b"", "stderr": b""}
    deadline = time.monotonic() + bound
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as client,
        selectors.DefaultSelector() as selector,
    ):
        assert client.stdin
        assert client.stdout
        assert client.stderr
        selector.register(client.stdout, selectors.EVENT_READ, "stdout")
        selector.register(client.stderr, selectors.EVENT_READ, "stderr")
        try:
            client.stdin.write(say.encode())
            client.stdin.flush()
            while selector.get_map() and any(len(seen[name]) < len(wanted[name]) for name in wanted):
                ready = selector.select(max(deadline - time.monotonic(), 0))
                assert ready, f"{command}: after {bound} s it had said {seen}"
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    seen[key.data] += data
                    if not data:
                        selector.unregister(key.fileobj)
            rest = client.communicate(b"go\n", timeout=max(deadline - time.monotonic(), 1))
        except BaseException:
            client.kill()
            raise
    return subprocess.CompletedProcess(
        command, client.returncode, (seen["stdout"] + rest[0]).decode(), (seen["stderr"] + rest[1]).decode()
    )
