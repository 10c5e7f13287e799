"""A second dockerd on the stack's machine, ours or Docker's, with flags of the test's own.

It shares the stack's containerd in a namespace of its own, and has no network, so that it disturbs nobody.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from conftest import Stack

BOUND = 30
OURS = str(Path(sys.executable).parent / "sixhops-dockerd")
DOCKERS = "/usr/sbin/dockerd"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_READY = "Daemon has completed initialization"


class Daemon:
    """Runs while the context lasts; it stops as on SIGTERM, with status 0."""

    def __init__(
        self, stack: Stack, program: str, folder: Path, flags: Sequence[str], launcher: Sequence[str] = ()
    ) -> None:
        """`folder` is for its state; `launcher` stands before its command line."""
        self.stack = stack
        self.folder = folder
        self._said: queue.Queue[str | None] = queue.Queue()
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [
                *stack.inside,
                *launcher,
                program,
                *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                *("--pidfile", f"{folder}/pid", "--containerd", stack.containerd),
                *("--containerd-namespace", folder.name, "--cgroup-parent", stack.cgroup),
                *("--bridge", "none", "--iptables=false"),
                *flags,
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PATH": _PATH, "HOME": str(folder)},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Daemon:
        self.await_line(_READY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.signal("TERM")
            status = self._process.wait(BOUND)
        finally:
            self._process.kill()
            self._process.wait()
            self._listener.join(BOUND)
        assert kind is not None or status == 0, self.log

    def ended(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        status = self._process.wait(BOUND)
        self._listener.join(BOUND)
        return status

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for line in stderr:
                self._said.put(line)
        self._said.put(None)

    def await_line(self, text: str) -> str:
        """Return the next line of its log with `text` in it."""
        deadline = time.monotonic() + BOUND
        while True:
            line = self._said.get(timeout=max(deadline - time.monotonic(), 0.001))
            assert line is not None, f"it ended: {self.log}"
            self.log.append(line)
            if text in line:
                return line

    def signal(self, name: str) -> None:
        """Send a signal."""
        pid = (self.folder / "pid").read_text().strip()
        subprocess.run([*self.stack.inside, "kill", f"-{name}", pid], check=True, timeout=BOUND)

    def docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Docker's own client on the machine."""
        done = subprocess.run(
            [*self.stack.inside, "/usr/bin/docker", "--config", str(self.folder), *words],
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
            env={"PATH": _PATH, "HOME": str(self.folder)},
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done
