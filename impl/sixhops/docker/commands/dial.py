"""`system dial-stdio`: the connection to the engine on stdin and stdout, for a client that comes by ssh."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING

from sixhops.docker.attached.relay import write_all
from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError

if TYPE_CHECKING:
    from sixhops.docker.engine.streams import Stream

__all__ = ["DIAL_STDIO"]

_READ = 64 * 1024


def _dial(context: Context) -> int:
    sys.stdout.flush()
    try:
        stream = context.client.connect()
    except DockerError as error:
        raise DockerError(f"failed to open the raw stream connection: {error}") from error
    try:
        _relay(stream)
    except BrokenPipeError:
        return 0  # the client has gone
    except OSError as error:
        raise DockerError(f"the connection to the engine broke: {error}") from error
    finally:
        stream.close()
    return 0


def _relay(stream: Stream) -> None:
    """Pass bytes on both ways until the engine's have ended. Neither way waits for the other. Raises OSError."""
    reading = True
    while True:
        poll = select.poll()
        waits = not stream.push()
        poll.register(stream.fileno(), select.POLLIN | (select.POLLOUT if waits else 0))
        if reading and not waits:
            poll.register(0, select.POLLIN)
        ready = dict(poll.poll(0 if stream.buffered else None))
        if stream.buffered or ready.get(stream.fileno(), 0) & ~select.POLLOUT:
            data = stream.receive()
            if not data:
                return
            write_all(1, data)
        if ready.get(0):
            data = os.read(0, _READ)
            if data:
                stream.offer(data)
            else:
                reading = False
                stream.close_write()


DIAL_STDIO = Command(
    usage="",
    summary="Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    run=_dial,
    most=0,
)
