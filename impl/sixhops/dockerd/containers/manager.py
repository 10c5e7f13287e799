"""INTERFACE FIRST (K fills the bodies): the containers of one engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.runtimes import Runtimes

if TYPE_CHECKING:
    from sixhops.dockerd.containerd.client import Containerd
    from sixhops.dockerd.containers.ports import Networks
    from sixhops.dockerd.containers.streams import AttachOptions, LogOptions, Session
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.images.store import ImageStore
    from sixhops.dockerd.state import State


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    data_root: Path
    exec_root: Path
    runtimes: Runtimes = field(default_factory=Runtimes)
    cgroup_parent: str = "/docker"
    live_restore: bool = False
    shm_size: int = 64 << 20
    init_path: str = ""  # --init-path; "" looks for docker-init, tini on PATH
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=dict)
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()


class LogReader:
    tty: bool  # the body is already framed when False

    def __aiter__(self) -> AsyncIterator[bytes]: ...  # bytes ready for the wire


class Containers:
    def __init__(
        self,
        settings: ContainerSettings,
        state: State,
        images: ImageStore,
        networks: Networks,
        containerd: Containerd,
        events: Events,
    ) -> None: ...
    async def restore(self) -> None: ...  # call once at start, before the API answers
    async def close(self) -> None: ...  # call once at the end
    def users_of(
        self, image_id: str
    ) -> list[tuple[str, bool]]: ...  # (container id, running): what ImageStore.delete wants
    def counts(
        self,
    ) -> dict[
        str, int
    ]: ...  # {"Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped"} for /info
    async def create(self, body: dict[str, Any], name: str, platform: str) -> tuple[str, list[str]]: ...
    async def list(
        self, all_: bool, limit: int, size: bool, filters: dict[str, list[str]]
    ) -> list[dict[str, Any]]: ...  # EngineError 400 "Invalid filter 'x'"
    async def inspect(self, text: str, size: bool = False) -> dict[str, Any]: ...
    async def top(self, text: str, ps_args: str) -> dict[str, Any]: ...
    async def start(
        self, text: str, detach_keys: str = ""
    ) -> None: ...  # EngineError(304, "") when it runs already
    async def stop(
        self, text: str, timeout: int | None
    ) -> None: ...  # EngineError(304, "") when it does not run
    async def kill(self, text: str, signal: str) -> None: ...
    async def restart(self, text: str, timeout: int | None) -> None: ...
    async def pause(self, text: str) -> None: ...
    async def unpause(self, text: str) -> None: ...
    async def rename(self, text: str, name: str) -> None: ...
    async def resize(self, text: str, height: int, width: int) -> None: ...
    async def remove(self, text: str, force: bool, volumes: bool, link: bool) -> None: ...
    async def wait(
        self, text: str, condition: str
    ) -> Awaitable[dict[str, Any]]: ...  # outcome = await (await wait(...)): flush headers between
    async def attach(
        self, text: str, options: AttachOptions
    ) -> Session: ...  # then write the 101/200 head, then `await session.run(stream)`
    async def logs(self, text: str, options: LogOptions) -> LogReader: ...
    async def stats(self, text: str, stream: bool, one_shot: bool) -> AsyncIterator[dict[str, Any]]: ...
    async def exec_create(self, text: str, body: dict[str, Any]) -> str: ...
    async def exec_start(
        self, id_: str, detach: bool, tty: bool
    ) -> Session | None: ...  # None when detached: answer 200 with no body
    async def exec_inspect(self, id_: str) -> dict[str, Any]: ...
    async def exec_resize(self, id_: str, height: int, width: int) -> None: ...
