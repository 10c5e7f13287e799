"""An engine on another machine: ssh runs `docker system dial-stdio` there, and its stdin and stdout are the connection.

ssh gets one end of a socket pair as both, so a connection through it can be waited for, half-closed and closed as any other.
"""

from __future__ import annotations

import re
import socket
import tempfile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sixhops.docker.engine.streams import Stream
from sixhops.docker.errors import DockerError

if TYPE_CHECKING:
    import subprocess
    from typing import IO

__all__ = ["arguments", "connect"]

#: How long ssh may take to end once its connection has.
_BOUND = 3.0
_REMOTE = ("docker", "system", "dial-stdio")


def arguments(address: str) -> list[str]:
    """Return the arguments of ssh for ssh://[USER@]HOST[:PORT]. Raises DockerError with docker's message."""
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError as error:
        text = re.sub(r".*:", ":", parts.netloc)
        raise DockerError(f'parse "{address}": invalid port "{text}" after host') from error
    wrong = ""
    if parts.password is not None:
        wrong = "plain-text password is not supported"
    elif not parts.hostname:
        wrong = "no host specified"
    elif parts.path:
        wrong = f'extra path after the host: "{parts.path}"'
    elif parts.query:
        wrong = f'extra query after the host: "{parts.query}"'
    elif parts.fragment:
        wrong = f'extra fragment after the host: "{parts.fragment}"'
    if wrong:
        raise DockerError(f"ssh host connection is not valid: {wrong}")
    host = re.sub(r"^.*@", "", parts.netloc)
    if port is not None:
        host = host.rpartition(":")[0]
    found = ["-l", parts.username] if parts.username else []
    found += ["-p", str(port)] if port is not None else []
    return [*found, "--", host.strip("[]"), *_REMOTE]


def connect(address: str) -> Stream:
    """Return a connection through a new ssh. Raises DockerError for an address that is none, OSError without ssh."""
    import subprocess  # noqa: PLC0415 - only with ssh

    words = ["ssh", *arguments(address)]
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - the stream closes it
    try:
        # a session of its own: Ctrl-C is for the container, and ssh must live on to carry it
        program = subprocess.Popen(
            words, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=errors, start_new_session=True
        )
    except OSError as error:
        ours.close()
        errors.close()
        raise DockerError('exec: "ssh": executable file not found in $PATH') from error
    finally:
        theirs.close()
    return _SshStream(ours, program, words, errors)


class _SshStream(Stream):
    """The connection, and the ssh that carries it. An ssh that failed is told instead of the end of the connection."""

    def __init__(
        self, connection: socket.socket, program: subprocess.Popen[bytes], words: list[str], errors: IO[bytes]
    ) -> None:
        super().__init__(connection)
        self._program = program
        self._words = words
        self._errors = errors

    def receive(self) -> bytes:
        """Return what is there; b"" at the end. Raises OSError when ssh ended with a failure."""
        try:
            data = super().receive()
        except ConnectionResetError:
            data = b""  # ssh ended without having read all that we sent
        if not data:
            self._end()
            if self._program.returncode:
                raise OSError(self._failure())
        return data

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises OSError, which tells why ssh ended when it has."""
        try:
            super().send(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            self._end()
            if self._program.returncode:
                raise OSError(self._failure()) from error
            raise

    def close(self) -> None:
        """Close the connection and wait for ssh to end."""
        super().close()
        self._end()
        self._errors.close()

    def _end(self) -> None:
        import subprocess  # noqa: PLC0415 - only with ssh

        try:
            self._program.wait(_BOUND)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()

    def _failure(self) -> str:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")
        return (
            f"command [{' '.join(self._words)}] has exited with exit status {self._program.returncode}, please make "
            "sure the URL is valid, and Docker 18.09 or later is installed on the remote host: "
            f"stderr={said}"
        )
