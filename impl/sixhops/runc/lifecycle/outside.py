"""What the parent of a container's process does for it from outside: the same for its first process and for exec."""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import os

from sixhops.linux import terminal
from sixhops.linux.libc import LinuxError, syscall
from sixhops.runc import log
from sixhops.runc.errors import RuntimeFault, reason

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.runc.inside.filters import Filter
    from sixhops.runc.lifecycle.state import Container

__all__ = [
    "PidFile",
    "check_preserved",
    "hand_listener",
    "refuse_systemd",
    "write_oom_score",
    "write_pid_file",
]


def write_oom_score(pid: int, value: int) -> None:
    """Set a process's oom_score_adj. Raises RuntimeFault."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(value))
    except OSError as error:
        # runc 1.1 says no more than this to its caller (the helper that writes the value dies); the log has the reason.
        log.note(f"write /proc/{pid}/oom_score_adj: {reason(error).rpartition(': ')[2]}")
        raise RuntimeFault(
            "unable to start container process: can't get final child's PID from pipe: EOF"
        ) from error


def hand_listener(checked: Filter, container: Container, pid: int, number: int) -> None:
    """Fetch the notification descriptor out of the child and send it, with the state, to the agent's socket."""
    import json

    from sixhops.linux.pidfd import open_process

    process = open_process(pid)
    try:
        listener = syscall("pidfd_getfd", process, number, 0, operation="pidfd_getfd")
    finally:
        os.close(process)
    try:
        agent = terminal.connect(checked.listener_path)
    except LinuxError as error:
        os.close(listener)
        raise RuntimeFault(
            "unable to start container process: failed to connect with seccomp agent specified in the seccomp "
            f"profile: {error}"
        ) from error
    message = {
        "ociVersion": container.version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": checked.listener_metadata,
        "state": container.describe("creating", pid),
    }
    try:
        terminal.send_descriptor(agent, json.dumps(message), listener)
    finally:
        os.close(listener)
        os.close(agent)


class PidFile:
    """The file for the first process's pid, decimal without newline; whoever sees it sees the number."""

    def __init__(self, path: str, pid: int) -> None:
        """Write it beside its place. Raises RuntimeFault."""
        directory, name = os.path.split(path)
        self._path = path
        self._beside = os.path.join(directory, f".{name}")
        try:
            descriptor = os.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            os.write(descriptor, str(pid).encode())
            os.close(descriptor)
        except OSError as error:
            raise self._fault(error) from error

    def publish(self) -> None:
        """Put it in its place. Raises RuntimeFault."""
        try:
            os.rename(self._beside, self._path)
        except OSError as error:
            raise self._fault(error) from error

    def discard(self) -> None:
        """Take it away again, if it is not in its place."""
        try:
            os.unlink(self._beside)
        except FileNotFoundError:
            return

    def _fault(self, error: OSError) -> RuntimeFault:
        return RuntimeFault(f"open {self._beside}: {reason(error).rpartition(': ')[2]}")


def write_pid_file(path: str, pid: int) -> None:
    """Write the file at once. Raises RuntimeFault."""
    PidFile(path, pid).publish()


def refuse_systemd(cgroups_path: str) -> None:
    """Say why the service manager can't make the control groups. Raises RuntimeFault."""
    if cgroups_path and cgroups_path.count(":") != 2:
        raise RuntimeFault(
            'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, '
            f'got "{cgroups_path}" instead'
        )
    if os.path.isdir("/run/systemd/system"):
        raise RuntimeFault(
            "systemd cgroups are not supported by this runtime, which makes control groups itself"
        )
    raise RuntimeFault("systemd not running on this host, cannot use systemd cgroups manager")


def check_preserved(first: int, count: int) -> None:
    """Raise RuntimeFault if one of the descriptors that are to be passed on is not open."""
    for descriptor in range(first, first + count):
        try:
            os.fstat(descriptor)
        except OSError as error:
            raise RuntimeFault(
                f"unable to stat preserved-fd {descriptor - first} (of {count}): "
                f"stat /proc/self/fd/{descriptor}: no such file or directory"
            ) from error
