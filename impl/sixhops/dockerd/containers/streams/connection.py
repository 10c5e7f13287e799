"""What the API hands to the containers room and gets from it: one seam for every kind of connection.

A `ClientStream` is a hijacked TCP or unix connection, a websocket, or a list in a test. The room multiplexes stdout and
stderr itself (`wire.rawstream`), because only it knows whether there is a terminal.

Operations that answer with a stream have two phases: the first call raises EngineError while a proper status can still
be sent, and from its return on nothing is lost; the second moves the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["DEFAULT_DETACH_KEYS", "AttachOptions", "ClientStream", "LogOptions", "Session"]

#: ctrl-p ctrl-q
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


class ClientStream(Protocol):
    """The client's end of an attach or exec."""

    async def read(self) -> bytes:
        """Return the next bytes from the client, b"" once it has half-closed or gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the transport has room again. Raises OSError when the client has gone."""
        ...

    def close(self) -> None:
        """End the connection; a second call does nothing."""
        ...


class Session(Protocol):
    """The second phase of an attach or exec start."""

    tty: bool

    async def run(self, stream: ClientStream) -> None:
        """Move bytes until the program ended, the client went or it detached; closes `stream` in every case."""
        ...


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """The query of an attach; `detach_keys` as the user wrote them (`ctrl-a,b`), "" for the default."""

    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query of a logs request, as text: `since` and `until` are `seconds[.nanoseconds]`, `tail` a number or "all"."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since: str = ""
    until: str = ""
    tail: str = "all"
