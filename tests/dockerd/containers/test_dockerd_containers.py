"""The room as a whole against a containerd made in the test: it opens the fifos, writes output, reports exits."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from sixhops.dockerd.containerd.client import ContainerdError, ProcessIo, TaskExit, TaskState
from sixhops.dockerd.containers.manager import Containers, ContainerSettings
from sixhops.dockerd.containers.streams.connection import AttachOptions, LogOptions
from sixhops.dockerd.errors import EngineError, not_found
from sixhops.dockerd.events import Events
from sixhops.dockerd.images.layers import WritableLayer
from sixhops.dockerd.networks.model import Sandbox, sandbox_from
from sixhops.dockerd.removal import Removals
from sixhops.dockerd.state import State
from sixhops.dockerd.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sixhops.dockerd.networks.members import Member

CONFIG = {"config": {"Cmd": ["sh"]}, "os": "linux", "architecture": "amd64"}


class Layers:
    """Writable layers as plain directories."""

    def __init__(self, root: Path) -> None:
        self.removals = Removals()
        self.root = root

    def create_writable(self, cache_id: str, chain_id: str, initial: object) -> WritableLayer:
        (self.root / cache_id).mkdir(parents=True)
        return self.writable(cache_id)

    def writable(self, cache_id: str) -> WritableLayer:
        return WritableLayer((), "", "", str(self.root / cache_id))

    def mount(self, cache_id: str) -> str:
        return str(self.root / cache_id)

    def unmount(self, cache_id: str) -> None:
        pass

    def remove_writable(self, cache_id: str) -> None:
        (self.root / cache_id).rmdir()


class Images:
    """One image."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers

    def resolve(self, text: str) -> Any:
        if text != "busybox":
            raise not_found(f"No such image: {text}:latest")
        return SimpleNamespace(id="sha256:1", chain_id="", config=CONFIG)


class Networks:
    """Remembers who is connected."""

    def __init__(self) -> None:
        self.connected: set[str] = set()

    host_gateway = "172.17.0.1"

    def prepare(self, mode: str, asked: object, *, is_disabled: bool) -> dict[str, Any]:
        return {mode: {}}

    async def allocate(self, member: Member) -> Sandbox:
        if member.mode == "nosuch":
            raise not_found("network nosuch not found")
        self.connected.add(member.id)
        return Sandbox(member.id, "s" * 64, "/netns")

    async def release(self, sandbox: Sandbox) -> None:
        self.connected.discard(sandbox.container)

    async def recover(self, member: Member, saved: dict[str, Any], *, is_alive: bool = True) -> Sandbox:
        self.connected.add(member.id)
        return sandbox_from(saved)

    def renamed(self, sandbox: object, old: str, new: str) -> None:
        pass

    def settings(self, asked: object, config: object, sandbox: object, last: object) -> dict[str, Any]:
        return {"Networks": {}}


@dataclass
class Containerd:
    """Runs "programs": bytes for stdout and an exit code, or until it is killed."""

    output: bytes = b"hello\n"
    code: int | None = 0
    refusal: str = ""
    ignores: frozenset[int] = frozenset()
    calls: list[str] = field(default_factory=list)
    alive: dict[str, int] = field(default_factory=dict)
    writers: dict[str, list[int]] = field(default_factory=dict)
    queue: asyncio.Queue[TaskExit] = field(default_factory=asyncio.Queue)
    pids: int = 100

    async def ready(self) -> None:
        self.calls.append("ready")

    async def events(self) -> AsyncIterator[TaskExit]:
        while True:
            yield await self.queue.get()

    async def create_container(
        self, identity: str, bundle: str, shim: str, options: object, spec: object
    ) -> asyncio.Task[None]:
        self.calls.append("create container")
        return asyncio.create_task(asyncio.sleep(0))

    async def create_task(
        self, identity: str, io: ProcessIo, options: object, checkpoint: object = None
    ) -> int:
        self.calls.append("create task")
        if self.refusal:
            raise ContainerdError(grpc.StatusCode.UNKNOWN, self.refusal)
        self.pids += 1
        self.alive[identity] = self.pids
        self.writers[identity] = [os.open(path, os.O_WRONLY) for path in (io.stdout, io.stderr) if path]
        return self.pids

    async def start(self, identity: str, exec_id: str = "") -> int:
        self.calls.append("start")
        pid = self.alive[identity]
        os.write(self.writers[identity][0], self.output)
        if self.code is not None:
            # the exit is reported before the start is answered
            self.end(identity, self.code)
            await asyncio.sleep(0)
        return pid

    def end(self, identity: str, code: int) -> None:
        for descriptor in self.writers.pop(identity):
            os.close(descriptor)
        self.queue.put_nowait(TaskExit(identity, identity, self.alive.pop(identity), code, 5 * 10**9))

    async def kill(self, identity: str, signal: int, exec_id: str = "") -> None:
        self.calls.append(f"kill {signal}")
        if signal not in self.ignores:
            self.end(identity, 128 + signal)

    async def task(self, identity: str, exec_id: str = "") -> TaskState | None:
        return TaskState(self.alive[identity], "RUNNING", 0, 0) if identity in self.alive else None

    async def delete_task(self, identity: str) -> None:
        self.calls.append("delete task")

    async def delete_container(self, identity: str) -> None:
        self.calls.append("delete container")


@dataclass
class Room:
    """Everything of one test."""

    containers: Containers
    containerd: Containerd
    networks: Networks
    events: Events
    seen: list[str] = field(default_factory=list)

    async def create(self, **host: Any) -> str:
        body = {"Image": "busybox", "HostConfig": {"NetworkMode": "none", **host}}
        identity, _warnings = await self.containers.create(body, "", "")
        return identity

    async def state(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.containers.inspect(identity))["State"]
        return found

    def actions(self) -> list[str]:
        return [event.action for event in self.events.past()]


def open_room(root: Path, containerd: Containerd, **settings: Any) -> Room:
    (root / "containers").mkdir(exist_ok=True)
    images, networks, events = Images(Layers(root / "overlay2")), Networks(), Events()
    chosen = ContainerSettings(root, root / "exec", **settings)
    room: Any = Containers(
        chosen,
        State(root / "db"),
        images,  # type: ignore[arg-type] # stands in for the image store
        Volumes(root / "volumes", events, lambda _name: ()),
        networks,
        containerd,  # type: ignore[arg-type] # stands in for containerd
        events,
    )
    return Room(room, containerd, networks, events)


def run(root: Path, work: Callable[[Room], Awaitable[None]], **containerd: Any) -> None:
    async def whole() -> None:
        room = open_room(root, Containerd(**containerd))
        await room.containers.restore()
        await work(room)
        await room.containers.close()

    asyncio.run(asyncio.wait_for(whole(), 20))


async def outcome(room: Room, identity: str, condition: str = "") -> int:
    code: int = (await (await room.containers.wait(identity, condition)))["StatusCode"]
    return code


def test_run_of_a_program_that_ends_before_its_start_is_answered(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        identity = await room.create()
        await room.containers.start(identity)
        assert await outcome(room, identity) == 3
        state = await room.state(identity)
        assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 3, 0)
        reader = await room.containers.logs(identity, LogOptions(stdout=True))
        assert [piece async for piece in reader] == [b"\x01\0\0\0\0\0\0\x06hello\n"]
        await room.containers.remove(identity, False, False, False)
        assert room.actions() == ["create", "start", "die", "destroy"]
        assert not room.networks.connected
        assert not (tmp_path / "containers" / identity).exists()

    run(tmp_path, work, code=3)


def test_order_of_calls_is_dockerds(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        identity = await room.create()
        await room.containers.start(identity)
        await outcome(room, identity)
        assert room.containerd.calls == [
            "ready",
            "create container",
            "create task",
            "start",
            "delete task",
            "delete container",
        ]

    run(tmp_path, work)


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ('exec: "sh": executable file not found in $PATH: unknown', 400, 127),
        ('exec: "sh": permission denied: unknown', 400, 126),
        ("no space left on device: unknown", 500, 128),
    ],
)
def test_start_that_fails_leaves_a_created_container(
    tmp_path: Path, refusal: str, status: int, code: int
) -> None:
    async def work(room: Room) -> None:
        identity = await room.create()
        with pytest.raises(EngineError) as caught:
            await room.containers.start(identity)
        assert (caught.value.status, caught.value.message) == (status, refusal)
        state = await room.state(identity)
        assert (state["Status"], state["ExitCode"], state["Error"]) == ("created", code, refusal)
        assert not room.networks.connected
        assert room.actions() == ["create"]

    run(tmp_path, work, refusal=refusal)


def test_unknown_network_is_refused_at_start(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        identity = await room.create(NetworkMode="nosuch")
        with pytest.raises(EngineError, match="network nosuch not found"):
            await room.containers.start(identity)

    run(tmp_path, work)


def test_stop_kills_what_ignores_the_signal(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        identity = await room.create()
        await room.containers.start(identity)
        await room.containers.stop(identity, 0)
        assert (await room.state(identity))["ExitCode"] == 137
        assert room.actions() == ["create", "start", "kill", "kill", "die", "stop"]
        with pytest.raises(EngineError) as caught:
            await room.containers.stop(identity, 0)
        assert caught.value.status == 304

    run(tmp_path, work, code=None, ignores=frozenset({15}))


def test_auto_remove_answers_those_who_wait_for_it(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        identity = await room.create(AutoRemove=True)
        removed = await room.containers.wait(identity, "removed")
        await room.containers.start(identity)
        assert (await removed) == {"Error": None, "StatusCode": 5}
        with pytest.raises(EngineError, match=f"No such container: {identity}"):
            await room.containers.inspect(identity)

    run(tmp_path, work, code=5)


def test_forced_removal_of_an_auto_removed_container_is_no_conflict(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        identity = await room.create(AutoRemove=True)
        await room.containers.start(identity)
        await room.containers.remove(identity, True, False, False)
        assert room.actions() == ["create", "start", "kill", "die", "destroy"]

    run(tmp_path, work, code=None)


def test_attach_before_start_sees_everything_and_ends(tmp_path: Path) -> None:
    class Client:
        got = b""

        async def read(self) -> bytes:
            return b""

        async def write(self, data: bytes) -> None:
            self.got += data

        def close(self) -> None:
            pass

    async def work(room: Room) -> None:
        identity, client = await room.create(), Client()
        session = await room.containers.attach(identity, AttachOptions(stream=True, stdout=True))
        task = asyncio.create_task(session.run(client))
        await room.containers.start(identity)
        await task
        assert client.got == b"\x01\0\0\0\0\0\0\x06hello\n"

    run(tmp_path, work)


def test_restart_policy_gives_up_after_its_count(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        identity = await room.create(RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 1})
        await room.containers.start(identity)
        assert await outcome(room, identity, "not-running") == 1
        assert (await room.containers.inspect(identity))["RestartCount"] == 1

    run(tmp_path, work, code=1)


def test_names_conflict_and_are_free_after_removal(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        body = {"Image": "busybox"}
        first, _warnings = await room.containers.create(body, "web", "")
        with pytest.raises(
            EngineError, match=f'name "/web" is already in use by container "{first}"'
        ) as caught:
            await room.containers.create(body, "web", "")
        assert caught.value.status == 409
        await room.containers.remove("web", False, False, False)
        await room.containers.create(body, "web", "")

    run(tmp_path, work)


@pytest.mark.parametrize(("live", "status"), [(True, "running"), (False, "exited")])
def test_program_that_outlived_the_engine(tmp_path: Path, live: bool, status: str) -> None:
    async def whole() -> None:
        containerd = Containerd(code=None)
        room = open_room(tmp_path, containerd, live_restore=True)
        await room.containers.restore()
        identity = await room.create()
        await room.containers.start(identity)
        await room.containers.close()

        again = open_room(tmp_path, containerd, live_restore=live)
        await again.containers.restore()
        assert (await again.state(identity))["Status"] == status
        if live:
            containerd.end(identity, 0)
            assert await outcome(again, identity) == 0
        await again.containers.close()

    asyncio.run(asyncio.wait_for(whole(), 20))


def test_program_that_ended_while_the_engine_was_away(tmp_path: Path) -> None:
    async def whole() -> None:
        room = open_room(tmp_path, Containerd(code=None), live_restore=True)
        await room.containers.restore()
        identity = await room.create()
        await room.containers.start(identity)
        await room.containers.close()
        room.containerd.end(identity, 0)

        again = open_room(tmp_path, Containerd())
        await again.containers.restore()
        state = await again.state(identity)
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)
        await again.containers.close()

    asyncio.run(asyncio.wait_for(whole(), 20))
