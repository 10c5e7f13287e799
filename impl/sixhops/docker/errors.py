"""What ends a command early: a message for stderr and the exit status, as docker words and numbers them.

DockerError           status 1: the engine refused, or the person asked for what can't be
├── ApiError          the engine answered with an error status
│   └── NotFoundError     it has no such container or image, in the client's own words
├── ConnectError      there is no engine at that address
└── FlagError         an option is unknown or its value makes no sense: status 125 and a hint at --help
ExitError             a status of its own, with or without a message
"""

from __future__ import annotations

__all__ = ["ApiError", "ConnectError", "DockerError", "ExitError", "FlagError", "NotFoundError"]


class DockerError(Exception):
    """A command failed; its text goes to stderr and the exit status is 1."""


class ApiError(DockerError):
    """The engine answered `status`; `reason` is its message without the prefix that people see."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"Error response from daemon: {reason}")
        self.status = status
        self.reason = reason


class NotFoundError(ApiError):
    """The engine has no such thing; `kind` is container, image or object."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(404, f"No such {kind}: {name}")
        self.args = (f"Error: No such {kind}: {name}",)
        self.kind = kind
        self.name = name


class ConnectError(DockerError):
    """The engine could not be reached."""


class FlagError(DockerError):
    """An option of the command line is wrong; the caller adds which command's help to read."""


class ExitError(Exception):
    """Ends the command with `status`; `message` may be empty when everything has been said."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
