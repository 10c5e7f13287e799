"""A request whose body is made while it is sent: the archive of `cp`, `load` and `import`.

The engine may answer, or refuse, before it has taken everything, so the sending has a thread of its own. It ends when the
body has ended, or when the connection has; an engine that refused is not told the rest.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sixhops.docker.engine.http import Answer, ProtocolError
from sixhops.docker.errors import ConnectError, DockerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.docker.engine.streams import Stream

__all__ = ["Upload"]


class Upload:
    """One such request on a connection of its own. `pieces` may raise DockerError, which is raised by `begin`."""

    def __init__(self, stream: Stream, pieces: Iterable[bytes]) -> None:
        self.stream = stream
        self._pieces = pieces
        self._problem: DockerError | None = None
        # a daemon, because it may hang in reading our stdin when the engine has refused already
        self._thread = threading.Thread(target=self._send, name="upload", daemon=True)

    def begin(self, method: str, head: bytes, named: str) -> tuple[Answer, bytes]:
        """Send the head, start sending the body, return the answer with what came of its body.

        `named` is the request in messages. Raises ConnectError, and the DockerError of the pieces.
        """
        answer = Answer(method)
        first = b""
        try:
            self.stream.send(head)
            self._thread.start()
            while not answer.status:
                first = answer.feed(self.stream.receive())
        except (ProtocolError, OSError) as error:
            self.stream.abort()
            if self._problem is not None:
                raise self._problem from error
            raise ConnectError(f"error during connect: {named}: {error}") from error
        answer.keep_alive = True  # so that the end of the answer is told to `close`
        return answer, first

    def close(self, stream: Stream) -> None:
        """End the connection: the rest of a body that the engine did not want must not be taken for a request."""
        stream.abort()

    def _send(self) -> None:
        try:
            for piece in self._pieces:
                if piece:
                    self.stream.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.stream.send(b"0\r\n\r\n")
        except DockerError as error:
            self._problem = error
            self.stream.abort()
        except OSError:
            return  # the engine has ended the connection; what it answered says why
