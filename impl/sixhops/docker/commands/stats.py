"""`stats`: what containers use, again and again.

One loop waits for all at once: a stream of documents for each container, and with no container named the engine's events,
by which containers come and go. What is shown is shown every half second, whatever has arrived by then.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sixhops.docker.attached.relay import Loop
from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError
from sixhops.docker.filters import encode
from sixhops.docker.flags import flag
from sixhops.docker.screen import statsfigures, table
from sixhops.docker.screen.statsfigures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.docker.engine.answers import Pending, Reply
    from sixhops.docker.engine.client import Client

__all__ = ["STATS"]

_EVERY = 0.5
#: A container that has sent nothing for so long is shown without figures.
_PATIENCE = 2.0
_CLEAR = "\x1b[2J\x1b[H"


class _Documents:
    """An answer that is a stream of JSON documents, read as it comes.

    `take` gets each document, `ended` what ended the stream (None: its end).
    """

    def __init__(
        self,
        loop: Loop,
        pending: Pending,
        take: Callable[[dict[str, Any]], None],
        ended: Callable[[DockerError | None], None],
    ) -> None:
        self._loop = loop
        self._pending = pending
        self._number = pending.fileno()  # the connection has none any more when its answer has ended
        self._reply: Reply | None = None
        self._rest = b""
        self._take, self._ended = take, ended
        loop.read(self, self._more)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._number

    @property
    def buffered(self) -> bool:
        """Tell whether there is something to read without waiting on the descriptor."""
        return self._pending.buffered if self._reply is None else self._reply.buffered

    def close(self) -> None:
        """Stop reading and close the connection."""
        self._loop.stop_reading(self)
        if self._reply is not None:
            self._reply.close()

    def _more(self) -> None:
        try:
            if self._reply is None:
                if not self._pending.advance():
                    return
                self._reply = self._pending.finish()
                if not self._reply.buffered and not self._reply.done:
                    return
            self._feed(self._reply.receive())
        except DockerError as error:
            self._loop.stop_reading(self)
            self._ended(error)
            return
        if self._reply.done:
            self._loop.stop_reading(self)
            self._ended(None)

    def _feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                try:
                    self._take(json.loads(line))
                except ValueError as error:
                    raise DockerError(f"the engine's statistics are not JSON: {error}") from error


class _Watch:
    """One container that is watched."""

    def __init__(self, loop: Loop, client: Client, name: str, *, stream: bool) -> None:
        self.figures = Figures(name)
        self.known = False
        self.problem: DockerError | None = None
        self._heard = time.monotonic()
        self._stream = stream
        query = {"stream": str(int(stream))}
        self._documents = _Documents(
            loop, client.begin("GET", f"/containers/{name}/stats", query), self._take, self._end
        )

    def close(self) -> None:
        self._documents.close()

    def look(self) -> None:
        """Find out whether it has been silent for too long."""
        if time.monotonic() - self._heard >= _PATIENCE and (self._stream or not self.known):
            self.known = True
            self.problem = DockerError("timeout waiting for stats")
            self.figures = Figures(self.figures.container, self.figures.name, self.figures.id, valid=False)

    def _take(self, document: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        self.figures = statsfigures.computed(self.figures.container, document)
        self.known = True
        self.problem = None

    def _end(self, problem: DockerError | None) -> None:
        self.problem = problem
        if problem is not None or not self.known:
            self.figures = replace(self.figures, valid=False)
        self.known = True


class _All:
    """The containers that are watched, in the order in which they came."""

    def __init__(self, client: Client, *, stream: bool) -> None:
        self.loop = Loop()
        self.watches: dict[str, _Watch] = {}
        self.problem: DockerError | None = None
        self.over = False
        self._client = client
        self._stream = stream

    def add(self, name: str) -> None:
        if name not in self.watches:
            self.watches[name] = _Watch(self.loop, self._client, name, stream=self._stream)

    def follow(self, *, everything: bool) -> None:
        """Add containers as they start (`everything`: as they are created), drop them as they end."""

        def take(event: dict[str, Any]) -> None:
            action, name = event.get("Action"), str((event.get("Actor") or {}).get("ID", ""))[:12]
            if action == "start" or (everything and action == "create"):
                self.add(name)
            elif action == "die" and not everything and name in self.watches:
                self.watches.pop(name).close()

        def ended(problem: DockerError | None) -> None:
            self.problem, self.over = problem, True

        query = {"filters": encode([("type", "container")])}
        _Documents(self.loop, self._client.begin("GET", "/events", query), take, ended)

    def wait(self, finished: Callable[[], bool], bound: float) -> None:
        """Read until `finished()`, for at most `bound` seconds."""
        end = time.monotonic() + bound
        while not finished() and (left := end - time.monotonic()) > 0:
            self.loop.step(left)


def _stats(context: Context) -> int:
    client, options = context.client, context.options
    stream = not options["no-stream"]
    client.json("GET", "/version")
    watched = _All(client, stream=stream)
    names = options.arguments
    if names:
        for name in names:
            watched.add(name)
    else:
        watched.follow(everything=options["all"])
        everything = {"all": "1"} if options["all"] else {}
        for container in client.json("GET", "/containers/json", {"limit": "0"} | everything):
            watched.add(container["Id"][:12])
    watched.wait(lambda: all(watch.known for watch in watched.watches.values()), _PATIENCE)
    for watch in watched.watches.values():
        watch.look()
    problems = [str(watch.problem) for watch in watched.watches.values() if watch.problem is not None]
    if names and problems:
        raise DockerError("\n".join(problems))
    form = options["format"] or client.settings.text("statsFormat")
    listing = statsfigures.listing_of(full=options["no-trunc"])
    while True:
        watched.wait(lambda: watched.over, _EVERY)
        for watch in watched.watches.values():
            watch.look()
        if stream:
            sys.stdout.write(_CLEAR)
        table.write(listing, [watch.figures for watch in watched.watches.values()], form)
        sys.stdout.flush()
        if not stream:
            return 0
        if watched.over:
            if watched.problem is not None:
                raise watched.problem
            return 0


STATS = Command(
    usage="[CONTAINER...]",
    summary="Display a live stream of container(s) resource usage statistics",
    run=_stats,
    flags=(
        flag("all", short="a", help="Also containers that don't run"),
        flag("format", "string", help="Go template for each line"),
        flag("no-stream", help="Show the figures once"),
        flag("no-trunc", help="Print everything in full length"),
    ),
)
