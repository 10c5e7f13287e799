"""The containers of one engine: every operation of the API on them, each a short method that checks, locks and delegates.

Who may change a container's state holds its lock; what only reads does not. Documents are written with one transaction
a change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd import metrics
from sixhops.dockerd.containerd.client import ContainerdError
from sixhops.dockerd.containers.checkpoints import Checkpoints
from sixhops.dockerd.containers.checks import names, updating
from sixhops.dockerd.containers.checks.signals import LAST_SIGNAL, parse_signal
from sixhops.dockerd.containers.life.creation import Creator
from sixhops.dockerd.containers.life.exec import Execs
from sixhops.dockerd.containers.life.health import Health
from sixhops.dockerd.containers.life.running import Runner
from sixhops.dockerd.containers.life.stopping import Stopper
from sixhops.dockerd.containers.life.supervisor import Supervisor
from sixhops.dockerd.containers.lifecycle import Operation, Status, check
from sixhops.dockerd.containers.logs.reading import LogReader, past_output
from sixhops.dockerd.containers.network import links
from sixhops.dockerd.containers.network.networking import Connections
from sixhops.dockerd.containers.registry import Registry
from sixhops.dockerd.containers.settings import ContainerSettings
from sixhops.dockerd.containers.streams.attach import AttachSession, Input, parse_keys
from sixhops.dockerd.containers.views import documents, listing, pruning, stats, top
from sixhops.dockerd.errors import EngineError, conflict, invalid, system
from sixhops.dockerd.goquote import quote
from sixhops.wire.rawstream import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.model import Container
    from sixhops.dockerd.containers.streams.connection import AttachOptions, LogOptions, Session
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.store import ImageStore
    from sixhops.dockerd.networks.manager import Networks
    from sixhops.dockerd.state import State
    from sixhops.dockerd.volumes import Volumes

__all__ = ["ContainerSettings", "Containers", "LogReader"]

_log = logging.getLogger(__name__)
_NOT_MODIFIED = 304
#: How often a forced removal kills a container that others keep starting.
_REMOVALS = 10
#: How long the automatic removal of a killed container is waited for, in seconds.
_REMOVAL_PATIENCE = 10.0


class Containers:
    """The containers room. Belongs to one event loop."""

    def __init__(
        self,
        settings: ContainerSettings,
        state: State,
        images: ImageStore,
        volumes: Volumes,
        networks: Networks,
        containerd: Containerd,
        events: Events,
    ) -> None:
        self._settings = settings
        self._images = images
        self._networks = networks
        self._containerd = containerd
        self._events = events
        self._registry = Registry(state)
        self._execs = Execs(settings, containerd, events)
        self._health = Health(self._execs, self._emit, self._save)
        self._runner = Runner(
            settings,
            images.layers,
            volumes,
            networks,
            containerd,
            events,
            self._health,
            self._registry.find,
            self._registry.save,
        )
        self._creator = Creator(settings, images, volumes, networks, self._registry, events)
        self._stopper = Stopper(containerd, events, self._save)
        self._is_closed = False
        self._supervisor = Supervisor(
            self._registry,
            images.layers,
            volumes,
            containerd,
            self._runner,
            self._stopper,
            self._health,
            self._execs,
            events,
            settings=settings,
        )

    # -- the engine's own calls

    async def restore(self) -> None:
        """Take up what the state knows: call once, before the API answers. Waits for containerd as long as it takes."""
        for container in self._registry.stored():
            for key in ("Dns", "DnsOptions", "DnsSearch"):
                # dockerd makes lists of them when it reads a container from disk (observed)
                container.host_config[key] = container.host_config[key] or []
            self._registry.add(self._creator.hold(container))
        await asyncio.to_thread(self._creator.sweep, {held.container.id for held in self._registry})
        await self._supervisor.begin()

    async def close(self) -> None:
        """End: stop what runs (unless live-restore), close streams, cancel tasks. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._supervisor.end()
        for held in self._registry:
            if held.stdio is not None:
                held.stdio.release()
            if held.log is not None:
                held.log.close()
                await held.log.settled()
            held.output.end()

    def checkpoints(self) -> Checkpoints:
        """Return what an experimental engine has besides."""
        return Checkpoints(self._registry.find, self._containerd, self._emit)

    @property
    def connections(self) -> Connections:
        """What puts containers on networks and takes them off."""
        return Connections(self._registry, self._networks, self._settings)

    def find(self, text: str) -> Held:
        """Return a container by id, name, or unambiguous beginning of an id. Raises EngineError 404."""
        return self._registry.find(text)

    def users_of(self, image_id: str) -> list[tuple[str, bool]]:
        """Return (id, runs) of the containers that use an image."""
        return [
            (held.container.id, held.container.state.is_running)
            for held in self._registry
            if held.container.image == image_id
        ]

    def counts(self) -> dict[str, int]:
        """Return how many containers there are, as /info prints it."""
        states = [held.container.state for held in self._registry]
        paused = sum(state.status is Status.PAUSED for state in states)
        running = sum(state.is_running for state in states) - paused
        return {
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
        }

    # -- the life of a container

    async def create(self, body: dict[str, Any], name: str, platform: str) -> tuple[str, list[str]]:
        """Create a container; return its id and warnings. Raises EngineError."""
        with metrics.CONTAINER_ACTIONS.timed("create"):
            return await self._creator.create(body, name, platform)

    async def start(
        self,
        text: str,
        body: dict[str, Any] | None = None,
        *,
        checkpoint: str = "",
        checkpoint_directory: str = "",
    ) -> None:
        """Start a container. Raises EngineError, with status 304 when it runs.

        `body` is a create request whose HostConfig takes the place of the container's, as clients before API 1.24 send it.
        `checkpoint` names what it goes on from.
        """
        held = self._registry.find(text)
        async with held.lock:
            status = held.container.state.status
            if status is Status.RESTARTING:
                status = Status.RUNNING  # it runs again soon
            check(status, Operation.START, held.container.id)
            if checkpoint_directory:
                raise EngineError(403, "custom checkpointdir is not supported")
            if body:
                await self._creator.reconfigure(held, body)
            held.checkpoint = checkpoint
            try:
                await self._supervisor.start(held)
            finally:
                held.checkpoint = ""

    async def stop(self, text: str, timeout: int | None) -> None:  # noqa: ASYNC109 - the user's, in seconds
        """Stop a container. Raises EngineError, with status 304 when it does not run."""
        await self._stopper.stop(self._registry.find(text), timeout)

    async def kill(self, text: str, signal: str) -> None:
        """Send a signal ("" is KILL). Raises EngineError."""
        number = parse_signal(signal or "KILL")
        try:
            held = self._registry.find(text)
            if not 0 < number <= LAST_SIGNAL:
                raise system(f"The linux daemon does not support signal {number % 2**64}")
            if number == parse_signal("KILL"):
                await self._stopper.kill(held)
            else:
                await self._stopper.signal(held, number)
        except EngineError as error:
            raise EngineError(error.status, f"Cannot kill container: {text}: {error.message}") from error

    async def restart(self, text: str, timeout: int | None) -> None:  # noqa: ASYNC109 - the user's, in seconds
        """Stop, if it runs, and start. Raises EngineError."""
        held = self._registry.find(text)
        held.is_restarting = True
        try:
            if held.container.state.is_running:
                with _unless_stopped():
                    await self._stopper.stop(held, timeout)
            async with held.lock:
                if not held.container.state.is_running:  # somebody else may have started it
                    await self._supervisor.start(held)
        except EngineError as error:
            # whatever it is, dockerd keeps the words of it alone
            raise system(f"Cannot restart container {text}: {error.message}") from error
        finally:
            held.is_restarting = False
        self._emit(held, "restart")

    async def pause(self, text: str) -> None:
        """Freeze. Raises EngineError."""
        held = self._registry.find(text)
        async with held.lock:
            container = held.container
            after = check(container.state.status, Operation.PAUSE, container.id)
            try:
                await self._containerd.pause(container.id)
            except ContainerdError as error:
                raise EngineError(500, f"Cannot pause container {container.id}: {error}") from error
            container.state.status = after
            self._health.end(held)
            self._save(held)
            self._emit(held, "pause")

    async def unpause(self, text: str) -> None:
        """Thaw. Raises EngineError."""
        held = self._registry.find(text)
        async with held.lock:
            container = held.container
            after = check(container.state.status, Operation.UNPAUSE, container.id)
            try:
                await self._containerd.resume(container.id)
            except ContainerdError as error:
                raise EngineError(500, f"Cannot unpause container {container.id}: {error}") from error
            container.state.status = after
            self._health.go_on(held)
            self._save(held)
            self._emit(held, "unpause")

    async def rename(self, text: str, name: str) -> None:
        """Give another name. Raises EngineError."""
        if not name:
            raise invalid("Neither old nor new names may be empty")
        held = self._registry.find(text)
        container = held.container
        new = name.removeprefix("/")
        async with held.lock:
            if new == container.name:
                raise invalid("Renaming a container with the same name as its current name")
            try:
                names.check_name(f"/{new}")
                self._registry.reserve(new, container.id)
            except EngineError as error:
                message = f"Error when allocating new name: {error.message}"
                raise EngineError(error.status, message) from error
            old, container.name = container.name, new
            was_unnamed, container.is_unnamed = container.is_unnamed, False
            try:
                self._save(held)
            except BaseException:
                container.name, container.is_unnamed = old, was_unnamed
                self._registry.free(new)
                raise
            self._registry.free(old)
            self._networks.renamed(held.sandbox, old, new)
            self._events.emit(
                "container", "rename", container.id, {**container.attributes, "oldName": f"/{old}"}
            )

    async def update(self, text: str, body: dict[str, Any]) -> list[str]:
        """Change limits and the restart policy; return warnings. Raises EngineError 400, 404, 409 and 500."""
        held = self._registry.find(text)
        container = held.container
        async with held.lock:
            before = container.host_config
            try:
                changed, limits, warnings = updating.merge(body, before, self._settings.runtimes)
                if container.state.has_process:
                    await self._containerd.update(container.id, limits)
            except ContainerdError as error:
                raise EngineError(500, f"Cannot update container {container.id}: {error}") from error
            except EngineError as error:
                if error.status != 409:
                    raise
                raise conflict(f"Cannot update container {container.id}: {error.message}") from error
            container.host_config = changed
            self._save(held)
            self._emit(held, "update")
        return warnings

    async def prune(self, filters: dict[str, list[str]]) -> dict[str, Any]:
        """Remove the containers that do not run; return which, and the bytes they had. Raises EngineError 400 and 500."""
        until = pruning.oldest(filters, time.time_ns())
        gone, reclaimed = [], 0
        for held in self._registry:
            if not pruning.takes(held.container, filters, until):
                continue
            size = await asyncio.to_thread(self._images.layers.size_of_writable, held.container.layer)
            try:
                await self.remove(held.container.id, force=False, volumes=False, link=False)
            except EngineError as error:
                _log.warning("failed to prune container %s: %s", held.container.id, error.message)
                continue
            gone.append(held.container.id)
            reclaimed += size
        self._events.emit("container", "prune", "", {"reclaimed": str(reclaimed)})
        return {"ContainersDeleted": gone or None, "SpaceReclaimed": reclaimed}

    async def resize(self, text: str, height: int, width: int) -> None:
        """Set the terminal's size. Raises EngineError 409 when it does not run."""
        held = self._registry.find(text)
        container = held.container
        check(container.state.status, Operation.RESIZE, container.id)
        try:
            await self._containerd.resize(container.id, height, width)
        except ContainerdError as error:
            raise EngineError(500, str(error)) from error
        self._events.emit(
            "container",
            "resize",
            container.id,
            {**container.attributes, "height": str(height), "width": str(width)},
        )

    async def remove(self, text: str, force: bool, volumes: bool, link: bool) -> None:
        """Remove a container, with its anonymous volumes if `volumes`. Raises EngineError."""
        if link:
            self._save(links.remove_link(text, self._registry.find))
            return
        held = self._registry.find(text)
        for _attempt in range(_REMOVALS):
            if force and held.container.state.is_running and await self._kill_for_removal(held):
                return
            async with held.lock:
                if held.is_being_removed or held.container.id not in self._registry:
                    raise conflict(f"removal of container {text} is already in progress")
                if force and held.container.state.is_running:
                    continue  # somebody started it while we waited for our turn
                check(held.container.state.status, Operation.REMOVE, held.container.id)
                with metrics.CONTAINER_ACTIONS.timed("delete"):
                    await self._supervisor.remove(held, with_volumes=volumes)
                return
        check(held.container.state.status, Operation.REMOVE, held.container.id)

    async def wait(self, text: str, condition: str) -> Awaitable[dict[str, Any]]:
        """Register for an outcome and return it as an awaitable. Raises EngineError."""
        held = self._registry.find(text)
        await held.settled()
        state = held.container.state
        match condition:
            case "" | "not-running":
                if not state.is_running:
                    return _outcome(held, _resolved(state.exit_code))
                # every exit counts, also one that the restart policy follows up
                return _outcome(held, held.waiters.exit())
            case "next-exit":
                return _outcome(held, held.waiters.exit())
            case "removed":
                return _outcome(held, held.waiters.removal())
            case _:
                raise invalid(f"invalid condition: {quote(condition)}")

    # -- looking at containers

    async def list(
        self, all_: bool, limit: int, size: bool, filters: dict[str, list[str]]
    ) -> list[dict[str, Any]]:
        """Return the list's entries. Raises EngineError 400 for a bad filter."""
        found = listing.select(
            self._registry,
            all_=all_,
            limit=limit,
            filters=filters,
            find=self._registry.find,
            is_of_image=self._is_of_image,
            network_of=self._network,
        )
        entries = []
        for held in found:
            entry = documents.list_entry(held, self._image_name(held.container), self._network(held))
            entry["Names"] += links.names_through_links(held, self._registry)
            if size:
                entry |= await asyncio.to_thread(self._sizes, held)
            entries.append(entry)
        return entries

    async def inspect(self, text: str, size: bool = False) -> dict[str, Any]:
        """Return the inspect document. Raises EngineError 404."""
        held = self._registry.find(text)
        await held.settled()
        graph: dict[str, str] | None = None
        with contextlib.suppress(FileNotFoundError):
            # of a container that is dead there may be nothing left
            graph = self._images.layers.writable(held.container.layer).document()
        document = documents.inspect_document(held, graph, self._network(held))
        document["HostConfig"] |= {"Links": links.shown(held, self._registry.find)}
        if size:
            document |= await asyncio.to_thread(self._sizes, held)
        return document

    async def top(self, text: str, ps_args: str) -> dict[str, Any]:
        """Return the container's processes as `ps` shows them. Raises EngineError."""
        held = self._registry.find(text)
        try:
            found = await top.top(held, self._containerd, ps_args)
        except ContainerdError as error:
            raise EngineError(500, str(error)) from error
        self._emit(held, "top")
        return found

    async def stats(self, text: str, stream: bool, one_shot: bool) -> AsyncIterator[dict[str, Any]]:
        """Return samples, one a second while `stream`. Raises EngineError 404."""
        return stats.samples(self._registry.find(text), self._containerd, stream=stream, one_shot=one_shot)

    async def logs(self, text: str, options: LogOptions) -> LogReader:
        """Return the log for reading. Raises EngineError."""
        held = self._registry.find(text)
        return LogReader(held.log, options, tty=held.container.tty)

    async def attach(self, text: str, options: AttachOptions) -> Session:
        """Register a client; its session moves the bytes. Raises EngineError."""
        keys = parse_keys(options.detach_keys)
        held = self._registry.find(text)
        container = held.container
        if container.state.status is Status.PAUSED:
            raise conflict(f"container {text} is paused, unpause the container before attach")
        if container.state.status is Status.RESTARTING:
            raise conflict(f"container {text} is restarting, wait until the container is running")
        wanted = frozenset(
            stream
            for stream, is_wanted in ((Stream.STDOUT, options.stdout), (Stream.STDERR, options.stderr))
            if is_wanted
        )
        past = list(past_output(held.log, wanted)) if options.logs else []
        self._emit(held, "attach")
        source = (
            self._input(held, keys)
            if options.stream and options.stdin and container.config["OpenStdin"]
            else None
        )
        # a client of stdin alone listens to nothing, but is told of the end
        output = held.output.subscribe(wanted) if options.stream and (wanted or source) else None
        return AttachSession(
            tty=container.tty,
            past=past,
            output=output,
            source=source,
            detached=lambda: self._emit(held, "detach"),
            wait=options.stream,
        )

    # -- execs

    async def exec_create(self, text: str, body: dict[str, Any]) -> str:
        """Create an exec; return its id. Raises EngineError."""
        return self._execs.create(self._registry.find(text), text, body)

    async def exec_start(self, id_: str, detach: bool, tty: bool) -> Session | None:
        """Start an exec: None when detached, else the session that starts it. Raises EngineError."""
        return await self._execs.start(id_, detach=detach, tty=tty)

    async def exec_inspect(self, id_: str) -> dict[str, Any]:
        """Return an exec's document. Raises EngineError 404."""
        return self._execs.get(id_).document()

    async def exec_resize(self, id_: str, height: int, width: int) -> None:
        """Set the size of an exec's terminal. Raises EngineError."""
        await self._execs.resize(id_, height, width)

    # -- inside

    async def _kill_for_removal(self, held: Held) -> bool:
        """End a program; return whether the container's own AutoRemove has removed it then."""
        removed = held.waiters.removal()
        try:
            await self._stopper.kill(held)
        except EngineError:
            # it may have ended meanwhile
            if held.container.state.is_running:
                raise
        if not held.container.host_config["AutoRemove"]:
            removed.cancel()
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REMOVAL_PATIENCE):
                await removed
                return True
        return False

    def _input(self, held: Held, keys: bytes) -> Input:
        async def write(data: bytes) -> None:
            stdin = await held.stdin()
            if stdin is not None:
                await stdin.write(data)

        async def close() -> None:
            stdin = await held.stdin()
            if stdin is not None and stdin.is_open:
                stdin.close()
                with contextlib.suppress(ContainerdError):
                    await self._containerd.close_stdin(held.container.id)

        config = held.container.config
        hands_on = config["StdinOnce"] and not config["Tty"]
        return Input(write, close if hands_on else None, keys if config["Tty"] else None)

    def _network(self, held: Held) -> dict[str, Any]:
        container = held.container
        asked = container.networking.get("EndpointsConfig") or {}
        return self._networks.settings(asked, container.config, held.sandbox, container.endpoint)

    def _sizes(self, held: Held) -> dict[str, int]:
        own = self._images.layers.size_of_writable(held.container.layer)
        image = self._images.by_id(held.container.image)
        below = sum(layer.size for layer in self._images.layers.chain(image.chain_id)) if image else 0
        return {"SizeRw": own, "SizeRootFs": own + below}

    def _image_name(self, container: Container) -> str:
        """Return the image as the user named it, or its id when that name now means another."""
        name = str(container.config["Image"])
        try:
            return name if self._images.resolve(name).id == container.image else container.image
        except EngineError:
            return container.image

    def _is_of_image(self, held: Held, text: str) -> bool:
        """Whether a container is of an image, or of one that was made of it."""
        try:
            wanted = self._images.resolve(text).id
        except EngineError:
            return False
        current = held.container.image
        while current and current != wanted:
            image = self._images.by_id(current)
            current = image.parent if image is not None else ""
        return current == wanted

    def _save(self, held: Held) -> None:
        self._registry.save(held.container)

    def _emit(self, held: Held, action: str) -> None:
        self._events.emit("container", action, held.container.id, held.container.attributes)


@contextlib.contextmanager
def _unless_stopped() -> Iterator[None]:
    """Go on when the container has ended by itself before it could be stopped."""
    try:
        yield
    except EngineError as error:
        if error.status != _NOT_MODIFIED:
            raise


async def _outcome(held: Held, future: asyncio.Future[int]) -> dict[str, Any]:
    code = await future
    error = held.container.state.error
    return {"Error": {"Message": error} if error else None, "StatusCode": code}


def _resolved(code: int) -> asyncio.Future[int]:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(code)
    return future
