"""A stack's private machine, from the owner's side: start programs in it, watch them, reach into its network,
end it.

The other side is `supervisor`. There is no thread here: control messages are read when somebody asks, under
one lock, and `fileno` lets a caller wait for an exit and for something else at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import InternalError, TargetError
from sixhops.harness.stack.remains import (
    cgroup_name,
    create_cgroups,
    find_cgroups,
    remove_cgroups,
    remove_directory,
    remove_extra,
    thaw,
)
from sixhops.harness.stack.state import Record, StackDirectory, mark_kept, read_record
from sixhops.harness.stack.supervisor import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.harness.stack.trees import Tree

__all__ = ["Sandbox"]

_START_TIMEOUT = 30.0
_ANSWER_TIMEOUT = 30.0
# Ends by SIGKILL of pid 1: what takes time is the kernel's tearing down of namespaces on a busy machine.
_END_TIMEOUT = 40.0


@dataclass(slots=True)
class _Running:
    pid: int
    status: int | None = None


class Sandbox:
    """One running private machine; made by `start`, or found again by `attach` when it was started
    detached.
    """

    def __init__(
        self, home: StackDirectory, control: socket.socket, reaper: subprocess.Popen[bytes] | None
    ) -> None:
        self.id = home.id
        self.directory = home.path
        self.cgroup = cgroup_name(home.id)
        #: The first process, as this process's pid namespace counts it.
        self.init = 0
        self._reaper_pid = reaper.pid if reaper is not None else 0
        self._home = home
        self._control = control
        self._reaper = reaper
        self._lock = threading.RLock()
        self._programs: dict[str, _Running] = {}
        self._answers: dict[int, tuple[dict[str, Any], list[int]]] = {}
        self._next = 0
        self._gone = False
        self._left: list[str] | None = None
        self._keep = False
        self._detached = False
        # The write end of the pipe that ties a detached machine to this process; -1 when nothing does.
        self._tie = -1

    @classmethod
    def start(
        cls,
        home: StackDirectory,
        *,
        name: str,
        detached: bool = False,
        tied: bool = False,
        keep: bool = False,
        tree: Tree | None = None,
    ) -> Sandbox:
        """Start the machine whose directory is `home`; it ends with this process unless it is `detached`.

        Others can `attach` to a detached one. One that is `tied` besides ends with this process as well,
        until `detach`.
        `name` is what people call the stack. With `keep` the directory stays when the machine has gone. With `tree` the
        machine's root is a private view of it.
        Raises TargetError when the kernel refuses (no root, no overlayfs ...).
        """
        try:
            create_cgroups(home.id)
        except OSError as error:
            remove_cgroups(home.id)
            remove_directory(home.path)
            home.release()
            raise TargetError(f"can't make the stack's control groups: {error}") from error
        ours: socket.socket | None = None
        if detached:
            theirs = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            theirs.bind(str(home.path / "control.sock"))
            theirs.listen()
        else:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        tie_read, tie = os.pipe() if tied else (-1, -1)
        settings = {
            "id": home.id,
            "directory": str(home.path),
            "control": theirs.fileno(),
            "lock": home.lock,
            "detached": detached,
            "owner": tie_read,
            "keep": keep,
            "extra": list(map(str, home.extra)),
            "tree": str(tree.path) if tree is not None else "",
        }
        with theirs, (home.path / "supervisor.log").open("ab") as log:
            reaper = subprocess.Popen(
                [sys.executable, "-P", "-m", "sixhops.harness.stack.supervisor", json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                pass_fds=[number for number in (theirs.fileno(), home.lock, tie_read) if number >= 0],
            )
        if tied:
            os.close(tie_read)
        if ours is None:
            ours = _connect(home.path)
        sandbox = cls(home, ours, reaper)
        sandbox._detached = detached
        sandbox._tie = tie
        if keep:
            sandbox._keep = True
            mark_kept(home.path)
        try:
            sandbox._await_ready()
            sandbox.init = _only_child(reaper.pid)
        except BaseException:
            sandbox.close()
            raise
        home.write_record(
            Record(home.id, name, os.getpid(), reaper.pid, sandbox.init, sandbox.cgroup, time.time())
        )
        return sandbox

    @classmethod
    def attach(cls, directory: Path) -> Sandbox:
        """Return a handle to the detached machine of `directory`; raises TargetError when it doesn't
        answer.
        """
        record = read_record(directory)
        if record is None:
            raise TargetError(f"there is no stack in {directory}")
        sandbox = cls(StackDirectory(record.id, directory, lock=-1), _connect(directory), None)
        sandbox._reaper_pid = record.reaper
        sandbox.init = record.init
        sandbox._detached = True
        sandbox._await_ready()
        answer, _ = sandbox._ask("programs")
        for name, program in answer["programs"].items():
            sandbox._programs[name] = _Running(program["pid"], program["status"])
        return sandbox

    @property
    def root(self) -> Path:
        """The machine's file system as this process reaches it."""
        return Path(f"/proc/{self.init}/root")

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there may be news, such as a program's exit."""
        return self._control.fileno()

    def run(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        log: Path,
        cwd: str = "/",
        descriptors: Sequence[int] = (),
    ) -> int:
        """Start a program; return its pid inside the machine. `argv[0]` is a path; output is appended to
        `log`; the program gets `descriptors` (at most 8) as 3, 4 ...

        Raises TargetError when it can't be executed or `name` runs already.
        """
        request = {"name": name, "argv": list(argv), "env": dict(env), "cwd": cwd}
        # The log's path is the owner's; inside there may be another root.
        with log.open("ab") as output, self._lock:
            answer, _ = self._ask("start", request, (output.fileno(), *descriptors))
            pid: int = answer["pid"]
            known = self._programs.get(name)
            # The news of its exit may have come before the answer did.
            if known is None or known.pid != pid:
                self._programs[name] = _Running(pid)
        return pid

    def signal(self, target: str | int, number: int) -> None:
        """Send a signal to a program by name, or to any pid of the machine. Raises TargetError (no such
        process).
        """
        self._ask("signal", {"target": target, "signal": int(number)})

    def listen(self, host: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """Return a TCP socket that listens inside the machine's network; port 0 lets the kernel choose."""
        _, descriptors = self._ask("listen", {"host": host, "port": port})
        return socket.socket(fileno=descriptors[0])

    def connect(self, host: str, port: int, timeout: float = 5.0) -> socket.socket:
        """Return a TCP socket connected, from inside the machine, to `host`:`port`. Raises TargetError."""
        _, descriptors = self._ask("connect", {"host": host, "port": port, "timeout": timeout})
        connected = socket.socket(fileno=descriptors[0])
        connected.settimeout(None)
        return connected

    def pid_of(self, name: str) -> int:
        """Return the pid, inside the machine, of the program that was started as `name`."""
        return self._programs[name].pid

    def exits(self) -> dict[str, int]:
        """Return the programs that have ended, with exit status (minus the signal's number when killed)."""
        with self._lock:
            self._receive_waiting()
            return {
                name: program.status for name, program in self._programs.items() if program.status is not None
            }

    def alive(self) -> bool:
        """Return whether the machine still runs."""
        with self._lock:
            self._receive_waiting()
            return not self._gone

    def wait_exit(self, name: str, timeout: float) -> int | None:
        """Wait for a program to end; return its exit status, or None when it still runs after `timeout`
        seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                self._receive_waiting()
                status = self._programs[name].status
                if status is not None:
                    return status
                if self._gone:
                    return -signal.SIGKILL
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            select.select([self._control], [], [], left)

    def close(self) -> list[str]:
        """End the machine with everything in it; return what is left of it, seen from outside. May be called
        again.
        """
        if self._left is None:
            self._left = self._end()
        return self._left

    def started(self) -> frozenset[str]:
        """Return the names of the programs that were started, whether they still run or not."""
        return frozenset(self._programs)

    def detach(self) -> None:
        """Let go of a detached machine without ending it. Raises TargetError when it has gone."""
        if self._tie >= 0:
            self._ask("release")
            self._untie()
        self._control.close()
        self._home.release()
        if self._reaper is not None:
            # It outlives us on purpose; a Popen without a status would complain of that when it is collected.
            self._reaper.returncode = 0

    def _untie(self) -> None:
        if self._tie >= 0:
            os.close(self._tie)
            self._tie = -1

    def _end(self) -> list[str]:
        if self._detached:
            with contextlib.suppress(TargetError):
                self._ask("stop")
        self._untie()
        self._control.close()
        self._gone = True
        left = []
        if self._reaper is not None:
            try:
                self._reaper.wait(_END_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._reaper.kill()
                self._reaper.wait()
        else:
            _await_end(self._reaper_pid, _END_TIMEOUT)
        # The reaper has done all this, unless somebody killed it.
        if self.init and _is_sandbox_init(self.init):
            left.append(f"process {self.init}: the stack's first process")
        if find_cgroups(self.id):
            thaw(self.id)
            left += [f"control group {group}" for group in remove_cgroups(self.id)]
        if not self._keep:
            left += [f"file {path}" for path in remove_directory(self.directory)]
        left += [f"file {path}" for path in remove_extra(self._home.extra)]
        self._home.release()
        prefix = str(self.directory)
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            point = line.split(" ")[4]
            if point == prefix or point.startswith(prefix + "/"):
                left.append(f"mount {point}")
        return left

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            readable, _, _ = select.select([self._control], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TargetError(
                    f"the stack's private machine was not up after {_START_TIMEOUT:g} s{self._said()}"
                )
            try:
                packet = self._control.recv(MESSAGE_LIMIT)
            except OSError as error:
                raise TargetError(
                    f"the stack's private machine did not start: {error}{self._said()}"
                ) from error
            message = (
                json.loads(packet) if packet else {"event": "failed", "error": "its first process ended"}
            )
            if message["event"] == "ready":
                return
            raise TargetError(f"the stack's private machine did not start: {message['error']}{self._said()}")

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            text = (self.directory / "supervisor.log").read_text(errors="replace").strip()
            if text:
                return f" ({text.splitlines()[-1]})"
        return ""

    def _ask(
        self, what: str, fields: Mapping[str, Any] | None = None, descriptors: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        with self._lock:
            number = self._next
            self._next += 1
            packet = json.dumps({"id": number, "do": what, **(fields or {})}).encode()
            if len(packet) > MESSAGE_LIMIT:
                raise InternalError(f"a control message of {len(packet)} bytes is too long")
            try:
                socket.send_fds(self._control, [packet], list(descriptors))
            except OSError as error:
                self._gone = True
                raise TargetError("the stack's private machine has gone") from error
            deadline = time.monotonic() + _ANSWER_TIMEOUT
            while number not in self._answers:
                if self._gone:
                    raise TargetError("the stack's private machine has gone")
                readable, _, _ = select.select([self._control], [], [], max(0.0, deadline - time.monotonic()))
                if not readable:
                    raise TargetError(
                        f"the stack's first process did not answer {what!r} within {_ANSWER_TIMEOUT:g} s"
                    )
                self._receive_one()
            answer, descriptors = self._answers.pop(number)
        if "error" in answer:
            raise TargetError(
                f"{what} {(fields or {}).get('name', '')}: {answer['error']}".replace(" :", ":")
            )
        return answer, descriptors

    def _receive_waiting(self) -> None:
        while not self._gone and self._control.fileno() >= 0:
            readable, _, _ = select.select([self._control], [], [], 0)
            if not readable:
                return
            self._receive_one()

    def _receive_one(self) -> None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_LIMIT, 1)
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self._gone = True
            return
        message = json.loads(packet)
        if "id" in message:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            self._answers[message["id"]] = (message, descriptors)
        elif message["event"] == "exited":
            self._programs[message["name"]] = _Running(message["pid"], message["status"])


def _connect(directory: Path) -> socket.socket:
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        control.connect(str(directory / "control.sock"))
    except OSError as error:
        control.close()
        raise TargetError(f"the stack in {directory} does not answer: {error.strerror}") from error
    return control


def _only_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        raise TargetError(f"the stack's reaper {pid} has {len(children)} children instead of one")
    return int(children[0])


def _is_sandbox_init(pid: int) -> bool:
    """Tell whether `pid` still is a stack's first process, and no later process with the same number."""
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sixhops-init\n" and _state(pid) != "Z"
    except OSError:
        return False


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _await_end(pid: int, timeout: float) -> None:
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        select.select([process], [], [], timeout)
    finally:
        os.close(process)
