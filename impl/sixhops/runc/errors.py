"""What this runtime raises on purpose; texts are runc's, because shims and engines hand them on to users."""

# Imported when needed: the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

__all__ = ["HookError", "NoSuchContainer", "RuntimeFault", "UsageFault", "reason"]


class RuntimeFault(Exception):  # noqa: N818  "RuntimeError" is the interpreter's own
    """An operation failed; the text is what the user reads. `status` is the exit status if it is not the usual one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NoSuchContainer(RuntimeFault):
    """No container has this id under this root."""

    def __init__(self) -> None:
        super().__init__("container does not exist")


class HookError(RuntimeFault):
    """A hook could not be run, failed, or ran past its timeout."""


class UsageFault(RuntimeFault):
    """The command line is wrong; `command` says whose usage to show, None for the program's."""

    def __init__(
        self, message: str, command: str | None = None, *, headline: str = "Incorrect Usage."
    ) -> None:
        super().__init__(message, 1)
        self.command = command
        self.headline = headline


def reason(error: BaseException, operation: str = "") -> str:
    """Return an exception's text in the form `operation path: reason`, errno texts in lower case."""
    from sixhops.linux.libc import LinuxError, describe

    if isinstance(error, OSError) and not isinstance(error, LinuxError) and error.errno:
        subject = f"{operation} {error.filename}".strip() if isinstance(error.filename, str) else operation
        return f"{subject}: {describe(error.errno)}" if subject else describe(error.errno)
    return str(error)
