"""The engine's life: directories, listeners, rooms, signals, and the way back to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd import daemonlog
from sixhops.dockerd.api import checkpoints as checkpoints_api
from sixhops.dockerd.api import commit as commit_api
from sixhops.dockerd.api import containers as containers_api
from sixhops.dockerd.api import elsewhere, hijack
from sixhops.dockerd.api import images as images_api
from sixhops.dockerd.api import networks as networks_api
from sixhops.dockerd.api import plugins as plugins_api
from sixhops.dockerd.api import remote as remote_api
from sixhops.dockerd.api import swarm as swarm_api
from sixhops.dockerd.api import system as system_api
from sixhops.dockerd.api import trees as trees_api
from sixhops.dockerd.api import volumes as volumes_api
from sixhops.dockerd.api.metrics import MetricsError, MetricsServer
from sixhops.dockerd.api.server import Server
from sixhops.dockerd.containerd.child import ContainerdChild
from sixhops.dockerd.containerd.client import Containerd
from sixhops.dockerd.containerd.contents import ContainerdContents
from sixhops.dockerd.containers.logs.drivers import check_options
from sixhops.dockerd.containers.manager import Containers
from sixhops.dockerd.containers.rootfs.committing import Committer
from sixhops.dockerd.containers.rootfs.trees import Trees
from sixhops.dockerd.containers.specification.runtimes import write_scripts
from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.events import Events
from sixhops.dockerd.images.layers import LayerStore
from sixhops.dockerd.images.service import Images
from sixhops.dockerd.images.store import ImageStore
from sixhops.dockerd.images.transfer.pull import Puller
from sixhops.dockerd.images.transfer.push import Pusher
from sixhops.dockerd.listeners import ListenError, open_listeners, tls_context
from sixhops.dockerd.networks.manager import Networks
from sixhops.dockerd.reload import Reloader
from sixhops.dockerd.settings import container_settings, network_settings, pull_settings, system_settings
from sixhops.dockerd.state import State
from sixhops.dockerd.system import FILE_SYSTEMS, System
from sixhops.dockerd.volumes import Volumes
from sixhops.linux import mounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.api.server import Route
    from sixhops.dockerd.options import Options
    from sixhops.linux.forkserver import ForkServer

__all__ = ["run"]

_log = logging.getLogger("dockerd")

_CONTAINERD_PATIENCE = 60.0


class StartError(Exception):
    """The engine can't start; the message says why."""


async def run(options: Options, arguments: list[str], helpers: ForkServer) -> int:
    """Run the engine until it is told to stop; return the exit status. `arguments` are what `options` came from."""
    daemonlog.set_up(options)
    _log.info("Starting up")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with contextlib.AsyncExitStack() as stack:
            reloader = await _start(options, arguments, helpers, stack)
            loop.add_signal_handler(signal.SIGHUP, reloader.reload)
            _log.info("Daemon has completed initialization")
            await stop.wait()
            _log.info("Processing signal 'terminated'")
    except ListenError as error:
        sys.stderr.write(f"failed to load listeners: {error}\n")
        return 1
    except MetricsError as error:
        sys.stderr.write(f"failed to start metrics server: {error}\n")
        return 1
    except (StartError, EngineError, OSError) as error:
        sys.stderr.write(f"failed to start daemon: {error}\n")
        return 1
    return 0


async def _start(
    options: Options, arguments: list[str], helpers: ForkServer, stack: contextlib.AsyncExitStack
) -> Reloader:
    """Bring everything up; `stack` is left with what takes it down again, in the opposite order."""
    data_root, exec_root = _roots(options)
    _write_pidfile(Path(options.pidfile), stack)
    tls = tls_context(options)
    paths = contextlib.ExitStack()
    stack.callback(paths.close)
    listeners = open_listeners(options, paths)
    _check_log_options(options)
    seccomp = _seccomp_profile(options.seccomp_profile)
    backing = _backing(data_root)
    _check_storage_size(options, backing)
    if options.selinux:
        _look_for_selinux()
    if options.oom_score_adjust:
        _adjust_oom_score(options.oom_score_adjust)

    address = options.containerd
    if not address:
        child = ContainerdChild(data_root / "containerd", exec_root / "containerd", options.log_level)
        await child.start()
        stack.push_async_callback(child.stop)
        address = child.address
    containerd = Containerd(address, options.containerd_namespace)
    stack.push_async_callback(containerd.close)
    try:
        async with asyncio.timeout(_CONTAINERD_PATIENCE):
            await containerd.ready()
    except TimeoutError:
        raise StartError(f'failed to dial "{address}": context deadline exceeded') from None

    state = State(data_root / "engine.db")
    stack.callback(state.close)
    events = Events()
    layers = LayerStore(data_root / "overlay2", state)
    stack.callback(layers.close)
    store = ImageStore(state, layers)
    contents = ContainerdContents(containerd)
    puller = Puller(store, contents, helpers, pull_settings(options))
    networks = Networks(
        network_settings(options, exec_root),
        state,
        events,
        helpers,
    )
    await networks.start()
    stack.push_async_callback(networks.close)
    volumes = Volumes(data_root / "volumes", events, lambda name: _volume_users(state, name))
    about_containers = container_settings(options, data_root, exec_root, seccomp)
    write_scripts(about_containers.runtimes)
    containers = Containers(
        about_containers,
        state,
        store,
        volumes,
        networks,
        containerd,
        events,
    )
    await containers.restore()
    await networks.sweep()
    stack.push_async_callback(_close_containers, containers, options)

    pusher = Pusher(store, puller.settings)
    images = Images(
        store,
        puller,
        pusher,
        helpers,
        events,
        containers.users_of,
        contents.pull_lease,
        data_root / "tmp",
    )
    about_system = system_settings(options, data_root, about_containers.runtimes, listeners)
    documents = System(
        about_system,
        state,
        containers,
        images,
        events,
        containerd,
        backing,
    )
    trees = Trees(containers.find, layers, helpers, events)
    routes: list[Route] = [
        *system_api.routes(documents, events, lambda: options.features),
        *(checkpoints_api.routes(containers.checkpoints()) if options.experimental else []),
        *containers_api.routes(containers, experimental=options.experimental),
        *trees_api.routes(trees),
        *commit_api.routes(Committer(containers, trees, store, images, helpers, events)),
        *hijack.routes(containers),
        *images_api.routes(images),
        *networks_api.routes(networks, containers.connections),
        *volumes_api.routes(volumes),
        *remote_api.routes(puller.settings, images, containers, volumes),
        *swarm_api.routes(),
        *plugins_api.routes(),
        *elsewhere.routes(),
    ]
    if options.metrics_address:
        await documents.info()  # how long that takes is among what is told from the start
        scraped = MetricsServer(documents.samples)
        stack.push_async_callback(scraped.close)
        _log.info("metrics API listening on %s", await scraped.start(options.metrics_address))
    server = Server(routes, options.cors_header, experimental=options.experimental)
    await server.start(listeners, tls)
    stack.push_async_callback(server.close)
    # clients that wait or are attached see the containers end: only the listening stops before
    stack.push_async_callback(_close_containers, containers, options)
    stack.callback(server.stop_listening)
    for listener in listeners:
        name = listener.getsockname()
        _log.info("API listen on %s", name if isinstance(name, str) else f"{name[0]}:{name[1]}")
    return Reloader(
        arguments, options, about_containers, about_system, puller, pusher, events, documents.identity
    )


def _roots(options: Options) -> tuple[Path, Path]:
    """Make the engine's two directories; return their real paths."""
    data_root, exec_root = Path(options.data_root).absolute(), Path(options.exec_root).absolute()
    data_root.mkdir(mode=0o710, parents=True, exist_ok=True)
    (data_root / "containers").mkdir(mode=0o710, exist_ok=True)
    exec_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data_root.resolve(), exec_root.resolve()


def _check_log_options(options: Options) -> None:
    if not options.log_options:
        # a driver that is none is the containers' error, as in dockerd
        return
    try:
        check_options(options.log_driver, options.log_options)
    except EngineError as error:
        raise StartError(f"failed to set log opts: {error.message}") from error


def _seccomp_profile(path: str) -> str | None:
    """Return the text of --seccomp-profile, which is looked into when a container starts; None for the built-in one."""
    if not path:
        return None
    try:
        return Path(path).read_text()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise StartError(f"opening seccomp profile ({path}) failed: open {path}: {reason}") from error


def _check_storage_size(options: Options, backing: int) -> None:
    """Refuse overlay2.size: limits of the layers' size need the project quotas of XFS."""
    if any(option.partition("=")[0].strip().lower() == "overlay2.size" for option in options.storage_options):
        prefix = "error initializing graphdriver: Storage "
        name = FILE_SYSTEMS.get(backing, "<unknown>")
        if name != "xfs":
            raise StartError(f"{prefix}Option overlay2.size only supported for backingFS XFS. Found {name}")
        raise StartError(
            f"{prefix}option overlay2.size not supported. Filesystem does not support Project Quota: "
            "this engine sets none"
        )


def _look_for_selinux() -> None:
    """Raise StartError on a host where --selinux-enabled would mean something: this engine gives out no labels."""
    if Path("/sys/fs/selinux/enforce").exists():
        raise StartError("this engine has no selinux-enabled on a host with SELinux")
    _log.warning("Docker could not enable SELinux on the host system")


def _adjust_oom_score(score: int) -> None:
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score))
    except OSError as error:
        raise StartError(f"failed to set OOM score adj to {score}: {error.strerror}") from error


async def _close_containers(containers: Containers, options: Options) -> None:
    patience = options.shutdown_timeout
    try:
        async with asyncio.timeout(patience if patience >= 0 else None):
            await containers.close()
    except TimeoutError:
        _log.error("Containers did not stop within the shutdown timeout of %d s", patience)


def _volume_users(state: State, name: str) -> Sequence[str]:
    rows = state.rows(
        "SELECT DISTINCT c.id FROM containers c, json_each(c.document, '$.mounts') m "
        "WHERE json_extract(m.value, '$.name') = ?",
        name,
    )
    return [str(row[0]) for row in rows]


def _backing(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return mounts.filesystem_type(descriptor)
    finally:
        os.close(descriptor)


def _write_pidfile(path: Path, stack: contextlib.AsyncExitStack) -> None:
    """Claim the pid file. Raises StartError when a living process has it."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        other = int(path.read_text())
        if other != os.getpid() and Path(f"/proc/{other}").exists():
            raise StartError(f"pid file found, ensure docker is not running or delete {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))
    stack.callback(path.unlink, missing_ok=True)
