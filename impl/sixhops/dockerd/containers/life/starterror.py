"""What dockerd makes of a start that containerd refused: a status for the request, an exit code for the container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.errors import EngineError

if TYPE_CHECKING:
    from sixhops.dockerd.containerd.client import ContainerdError

__all__ = ["CANNOT_START", "StartError", "start_error"]

#: The exit code of a container that could not be started, when nothing better is known.
CANNOT_START = 128
_NOT_THERE = (
    "executable file not found",
    "no such file or directory",
    "system cannot find the file specified",
    "failed to run runc create/exec call",
)


class StartError(EngineError):
    """A start that containerd refused; `exit_code` is what the container shows for it."""

    def __init__(self, status: int, message: str, exit_code: int) -> None:
        super().__init__(status, message)
        self.exit_code = exit_code


def start_error(error: ContainerdError) -> StartError:
    """Return the answer to a start that containerd refused: 400 when the fault may be the user's, else 500.

    127: something is not there; 126: it can't be executed; 128: anything else. dockerd goes by these words, wherever they
    stand in the text (`translateContainerdStartErr` in daemon/errors.go).
    """
    text, status, code = str(error), 500, CANNOT_START
    lower = text.lower()
    if error.is_unavailable:
        return StartError(status, text, code)
    if any(reason in lower for reason in _NOT_THERE):
        status, code = 400, 127
    if "permission denied" in lower:
        status, code = 400, 126
    if "not a directory" in lower:
        status, code = 400, 127
        text += (
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists "
            "and is the expected type"
        )
    return StartError(status, text, code)
