"""The engine's life: directories, listeners, rooms, signals, and the way back to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform as platforms
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

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
from sixhops.dockerd.api.server import Server
from sixhops.dockerd.containerd.child import ContainerdChild
from sixhops.dockerd.containerd.client import Containerd
from sixhops.dockerd.containerd.contents import ContainerdContents
from sixhops.dockerd.containers.logs.drivers import check_options
from sixhops.dockerd.containers.manager import Containers, ContainerSettings
from sixhops.dockerd.containers.rootfs.committing import Committer
from sixhops.dockerd.containers.rootfs.trees import Trees
from sixhops.dockerd.containers.specification.runtimes import Runtimes
from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.events import Events
from sixhops.dockerd.images.layers import LayerStore
from sixhops.dockerd.images.pull import Puller, PullSettings
from sixhops.dockerd.images.push import Pusher
from sixhops.dockerd.images.service import Images
from sixhops.dockerd.images.store import ImageStore
from sixhops.dockerd.listeners import ListenError, open_listeners, tls_context
from sixhops.dockerd.networks.manager import Networks
from sixhops.dockerd.networks.settings import NetworkSettings
from sixhops.dockerd.reload import Reloader
from sixhops.dockerd.state import State
from sixhops.dockerd.system import System, SystemSettings, architecture
from sixhops.dockerd.version import VERSION
from sixhops.dockerd.volumes import Volumes
from sixhops.linux import mounts
from sixhops.wire.image import Platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.api.server import Route
    from sixhops.dockerd.options import Options
    from sixhops.linux.forkserver import ForkServer

__all__ = ["run"]

_log = logging.getLogger("dockerd")

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}
_LOG_WORDS = {"WARNING": "warning", "CRITICAL": "fatal"}
_SIZE = re.compile(r"(\d+)\s*([kmgt]?)b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_CONTAINERD_PATIENCE = 60.0


class StartError(Exception):
    """The engine can't start; the message says why."""


async def run(options: Options, arguments: list[str], helpers: ForkServer) -> int:
    """Run the engine until it is told to stop; return the exit status. `arguments` are what `options` came from."""
    _set_up_log(options)
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
    except (StartError, ListenError, EngineError, OSError) as error:
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
    if options.oom_score_adjust:
        _adjust_oom_score(options.oom_score_adjust)

    address = options.containerd
    if not address:
        child = ContainerdChild(data_root / "containerd", exec_root / "containerd", options.log_level)
        await child.start()
        stack.push_async_callback(child.stop)
        address = child.address
    containerd = Containerd(address)
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
    pull_settings = _pull_settings(options)
    puller = Puller(store, contents, helpers, pull_settings)
    networks = Networks(
        _network_settings(options, exec_root),
        state,
        events,
        helpers,
    )
    await networks.start()
    stack.push_async_callback(networks.close)
    volumes = Volumes(data_root / "volumes", events, lambda name: _volume_users(state, name))
    runtimes = Runtimes(default=options.default_runtime, binaries=options.runtimes)
    container_settings = _container_settings(options, data_root, exec_root, runtimes)
    containers = Containers(
        container_settings,
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

    images = Images(
        store,
        puller,
        Pusher(store, puller.settings),
        helpers,
        events,
        containers.users_of,
        contents.pull_lease,
        data_root / "tmp",
    )
    system_settings = SystemSettings(
        data_root,
        runtimes,
        options.registry_mirrors,
        options.insecure_registries,
        debug=options.debug,
        live_restore=options.live_restore,
        labels=options.labels,
        log_driver=options.log_driver,
    )
    documents = System(
        system_settings,
        state,
        containers,
        images,
        events,
        containerd,
        _backing(data_root),
    )
    trees = Trees(containers.find, layers, helpers, events)
    routes: list[Route] = [
        *system_api.routes(documents, events),
        *containers_api.routes(containers),
        *trees_api.routes(trees),
        *commit_api.routes(Committer(containers, trees, store, images, helpers, events)),
        *hijack.routes(containers),
        *images_api.routes(images),
        *networks_api.routes(networks, containers.connections),
        *volumes_api.routes(volumes),
        *remote_api.routes(pull_settings, images, containers, volumes),
        *swarm_api.routes(),
        *plugins_api.routes(),
        *elsewhere.routes(),
    ]
    server = Server(routes)
    await server.start(listeners, tls)
    stack.push_async_callback(server.close)
    for listener in listeners:
        name = listener.getsockname()
        _log.info("API listen on %s", name if isinstance(name, str) else f"{name[0]}:{name[1]}")
    return Reloader(
        arguments, options, container_settings, system_settings, puller, events, documents.identity
    )


def _roots(options: Options) -> tuple[Path, Path]:
    """Make the engine's two directories; return their real paths."""
    data_root, exec_root = Path(options.data_root).absolute(), Path(options.exec_root).absolute()
    data_root.mkdir(mode=0o710, parents=True, exist_ok=True)
    (data_root / "containers").mkdir(mode=0o710, exist_ok=True)
    exec_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return data_root.resolve(), exec_root.resolve()


def _check_log_options(options: Options) -> None:
    try:
        check_options(options.log_driver, options.log_options)
    except EngineError as error:
        raise StartError(f"failed to set log opts: {error.message}") from error


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


def _container_settings(
    options: Options, data_root: Path, exec_root: Path, runtimes: Runtimes
) -> ContainerSettings:
    size = _SIZE.fullmatch(options.default_shm_size)
    if size is None:
        raise StartError(f"invalid size: '{options.default_shm_size}'")
    return ContainerSettings(
        data_root=data_root,
        exec_root=exec_root,
        runtimes=runtimes,
        cgroup_parent=options.cgroup_parent or "/docker",
        unified=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        live_restore=options.live_restore,
        shm_size=int(size[1]) << _UNITS[size[2].lower()],
        init_path=options.init_path,
        init=options.init,
        ulimits=options.default_ulimits,
        no_new_privileges=options.no_new_privileges,
        ipc_mode=options.default_ipc_mode,
        cgroup_namespace=options.default_cgroupns_mode,
        log_driver=options.log_driver,
        log_options=options.log_options,
        dns=options.dns,
        dns_search=options.dns_search,
        dns_options=options.dns_opts,
    )


def _network_settings(options: Options, exec_root: Path) -> NetworkSettings:
    return NetworkSettings(
        exec_root,
        options.bridge,
        options.bip,
        iptables=options.iptables,
        masquerade=options.ip_masq,
        mtu=options.mtu,
        icc=options.icc,
        ip=options.ip,
        ip_forward=options.ip_forward,
        ipv6=options.ipv6,
        fixed_cidr=options.fixed_cidr,
        fixed_cidr_v6=options.fixed_cidr_v6,
        default_gateway=options.default_gateway,
        default_gateway_v6=options.default_gateway_v6,
        userland_proxy=options.userland_proxy,
        host_gateway_ip=options.host_gateway_ip,
        pools=options.default_address_pools,
    )


def _pull_settings(options: Options) -> PullSettings:
    kernel = os.uname().release
    agent = (
        f"docker/{VERSION} go/python{platforms.python_version()} git-commit/sixhops kernel/{kernel} "
        f"os/linux arch/{architecture()}"
    )
    return PullSettings(
        mirrors=tuple(options.registry_mirrors),
        insecure=tuple(options.insecure_registries),
        platform=Platform(architecture()),
        agent=agent,
        concurrency=options.max_concurrent_downloads,
        uploads=options.max_concurrent_uploads,
        attempts=options.max_download_attempts,
    )


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


class _LogFormat(logging.Formatter):
    """The lines of dockerd's log: logfmt with a time in RFC 3339."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        word = _LOG_WORDS.get(record.levelname, record.levelname.lower())
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        nanoseconds = int(record.created % 1 * 1e9)
        quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'time="{second}.{nanoseconds:09d}Z" level={word} msg="{quoted}"'


def _set_up_log(options: Options) -> None:
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(_LogFormat())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS["debug" if options.debug else options.log_level])
    for noisy in ("asyncio", "aiohttp.access", "grpc"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
