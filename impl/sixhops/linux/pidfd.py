"""pidfds: a process that can't turn into another one between two looks at it."""

from __future__ import annotations

from sixhops.linux.libc import syscall

__all__ = ["open_process", "send_signal"]


def open_process(pid: int) -> int:
    """Return a pidfd for `pid`; readable (poll) once the process has ended. Raises LinuxError (ESRCH)."""
    return syscall("pidfd_open", pid, 0, operation=f"pidfd_open {pid}")


def send_signal(descriptor: int, number: int) -> None:
    """Send a signal to the process behind a pidfd; 0 only asks whether it may. Raises LinuxError (ESRCH)."""
    syscall("pidfd_send_signal", descriptor, number, None, 0, operation="pidfd_send_signal")
