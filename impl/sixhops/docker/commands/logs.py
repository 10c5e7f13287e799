"""`logs`: what a container has written, and with -f what it writes from now on."""

from __future__ import annotations

import sys

from sixhops.docker.attached.relay import write_all
from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag
from sixhops.docker.screen.gotime import timestamp
from sixhops.wire.rawstream import Decoder, RawStreamError, Stream

__all__ = ["LOGS"]


def _logs(context: Context) -> int:
    client, options = context.client, context.options
    document = client.look("container", options.arguments[0])
    query = {"stdout": "1", "stderr": "1", "tail": options["tail"]}
    for name in ("since", "until"):
        if options[name]:
            try:
                query[name] = timestamp(options[name])
            except ValueError as error:
                raise DockerError(f'invalid value for "{name}": {error}') from error
    query |= {name: "1" for name in ("details", "follow", "timestamps") if options[name]}
    reply = client.call("GET", f"/containers/{document['Id']}/logs", query)
    sys.stdout.flush()
    if document["Config"]["Tty"]:
        for piece in reply.pieces():
            write_all(1, piece)
        return 0
    decoder = Decoder()
    try:
        for piece in reply.pieces():
            for frame in decoder.feed(piece):
                if frame.stream is Stream.SYSTEMERR:
                    raise DockerError(f"error from daemon in stream: {frame.data.decode(errors='replace')}")
                write_all(2 if frame.stream is Stream.STDERR else 1, frame.data)
    except RawStreamError as error:
        raise DockerError(f"the container's log can't be told apart: {error}") from error
    return 0


LOGS = Command(
    usage="CONTAINER",
    summary="Fetch the logs of a container",
    run=_logs,
    least=1,
    most=1,
    flags=(
        flag("details", help="Show the attributes that the log driver adds"),
        flag("follow", short="f", help="Go on with what is written from now on"),
        flag("since", "string", help="From this time on (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
        flag("tail", "string", "n", "Number of lines from the end", default="all", shown='"all"'),
        flag("timestamps", short="t", help="Show when each line was written"),
        flag("until", "string", help="Up to this time (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
    ),
)
