"""containerd's wiring: stores, services, two sockets; start, and stop on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from sixhops.containerd.bus import Bus
from sixhops.containerd.metadata.database import Database
from sixhops.containerd.metadata.gc import Collector
from sixhops.containerd.rpc import Unknown, handler
from sixhops.containerd.services.containers import ContainersService
from sixhops.containerd.services.content import ContentService
from sixhops.containerd.services.diff import DiffService
from sixhops.containerd.services.events import EventsService, check_envelope
from sixhops.containerd.services.images import ImagesService
from sixhops.containerd.services.layers import Layers
from sixhops.containerd.services.leases import LeasesService
from sixhops.containerd.services.namespaces import NamespacesService
from sixhops.containerd.services.small import HealthService, IntrospectionService, VersionService
from sixhops.containerd.services.snapshots import SnapshotsService
from sixhops.containerd.services.tasks import TasksService
from sixhops.containerd.settings.plugins import GRPC, METADATA_FILE, SNAPSHOTTER, all_plugins
from sixhops.containerd.storage import tempmounts
from sixhops.containerd.storage.content import ContentStore
from sixhops.containerd.storage.snapshots import NATIVE, OVERLAYFS, Snapshotter
from sixhops.containerd.tasks.shims import Shims
from sixhops.containerd.tasks.workers import Workers
from sixhops.wire.proto import (
    containers_pb2,
    content_pb2,
    diff_pb2,
    events_pb2,
    events_ttrpc_pb2,
    health_pb2,
    images_pb2,
    introspection_pb2,
    leases_pb2,
    namespaces_pb2,
    snapshots_pb2,
    tasks_pb2,
    version_pb2,
)
from sixhops.wire.proto.services import service
from sixhops.wire.ttrpc import aio as ttrpc
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import FileDescriptor

    from sixhops.containerd.settings.config import Config
    from sixhops.linux.forkserver import ForkServer
    from sixhops.wire.ttrpc.calls import Call

__all__ = ["run"]

log = logging.getLogger(__name__)
#: Services whose calls need no namespace, or say themselves when they do.
UNNAMED = frozenset({"version", "introspection", "healthcheck", "events", "namespaces"})
EVENTS = service(events_ttrpc_pb2.DESCRIPTOR, "Events")


async def run(
    config: Config, forks: ForkServer, again: Callable[[], ForkServer], runtime_module: str | None
) -> int:
    """Serve until a signal; return the exit status. `again` makes another fork server if this one dies."""
    if config.oom_score:
        _set_oom_score(config.oom_score)
    for path in (config.root, config.state):
        path.mkdir(parents=True, exist_ok=True, mode=0o711)
    metadata = config.root / METADATA_FILE
    metadata.parent.mkdir(exist_ok=True, mode=0o700)
    lock = await _lock(metadata.with_name("lock"))
    database = Database(metadata)
    mounts = config.root / "tmpmounts"
    tempmounts.clean(mounts)
    bus = Bus()
    workers = Workers(forks, again)
    store = ContentStore(config.root / "io.containerd.content.v1.content")
    plugins = all_plugins(config.root, config.disabled, sharing=config.sharing)
    present = {plugin.uri for plugin in plugins}
    snapshotters = [
        Snapshotter(name, config.root, database)
        for name in (OVERLAYFS, NATIVE)
        if f"{SNAPSHOTTER}.{name}" in present
    ]
    collector = Collector(database, store, snapshotters, config.schedule)
    collector.forget_lost()
    shims = Shims(config, bus, workers, runtime_module)
    await shims.find_again()
    containers = ContainersService(database, bus, shims.expect)
    layers = Layers(database, store, workers, mounts)
    services: dict[str, tuple[FileDescriptor, object]] = {
        "version": (version_pb2.DESCRIPTOR, VersionService()),
        "introspection": (introspection_pb2.DESCRIPTOR, IntrospectionService(config.root, plugins)),
        "healthcheck": (health_pb2.DESCRIPTOR, HealthService()),
        "events": (events_pb2.DESCRIPTOR, EventsService(bus)),
        "namespaces": (namespaces_pb2.DESCRIPTOR, NamespacesService(database, bus)),
        "containers": (containers_pb2.DESCRIPTOR, containers),
        "images": (images_pb2.DESCRIPTOR, ImagesService(database, bus, collector)),
        "leases": (leases_pb2.DESCRIPTOR, LeasesService(database, collector)),
        "content": (content_pb2.DESCRIPTOR, ContentService(database, store, bus, sharing=config.sharing)),
        "snapshots": (snapshots_pb2.DESCRIPTOR, SnapshotsService(snapshotters, database, bus)),
        "diff": (diff_pb2.DESCRIPTOR, DiffService(layers)),
        "tasks": (tasks_pb2.DESCRIPTOR, TasksService(containers, shims, layers)),
    }
    server = grpc.aio.server(options=_options(config))
    served = {
        name: service(file, _only_service(file))
        for name, (file, _target) in services.items()
        if f"{GRPC}.{name}" in present
    }
    handlers = [handler(served[name], services[name][1], namespaced=name not in UNNAMED) for name in served]
    handlers.append(Unknown({entry.name for entry in served.values()}))
    server.add_generic_rpc_handlers(handlers)
    for path in (config.address, config.ttrpc):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.unlink(missing_ok=True)
    shim_server = await ttrpc.serve(config.ttrpc, lambda call: _forward(call, bus))
    server.add_insecure_port(f"unix:{config.address}")
    await server.start()
    for path, uid, gid in (
        (config.address, config.uid, config.gid),
        (config.ttrpc, config.ttrpc_uid, config.ttrpc_gid),
    ):
        path.chmod(0o660)
        os.chown(path, uid, gid)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("serving on %s", config.address)
    cleaner = asyncio.create_task(collector.run())
    await stop.wait()
    cleaner.cancel()
    await shims.close()
    shim_server.close()
    await server.stop(grace=None)
    for path in (config.address, config.ttrpc):
        path.unlink(missing_ok=True)
    database.close()
    os.close(lock)
    workers.close()
    return 0


async def _lock(path: Path) -> int:
    """Return a descriptor that keeps others from the same root; while another containerd has it, this one waits."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.warning("another containerd has %s; waiting for its end", path.parent)
        await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
    return descriptor


def _options(config: Config) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", config.receive_limit),
        ("grpc.max_send_message_length", config.send_limit),
        ("grpc.so_reuseport", 0),
    )


def _only_service(file: FileDescriptor) -> str:
    (name,) = file.services_by_name
    return str(name)


def _set_oom_score(score: int) -> None:
    """Tell the kernel how readily to kill this process; lowering it needs a capability that may be missing."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score))
    except OSError as error:
        log.warning("failed to change OOM score to %d: %s", score, error)


async def _forward(call: Call, bus: Bus) -> bytes:
    """Take an event from a shim."""
    if call.service != EVENTS.name:
        raise RpcError(Code.UNIMPLEMENTED, f"service {call.service}")
    if call.method != "Forward":
        raise RpcError(Code.UNIMPLEMENTED, f"method {call.method}")
    try:
        request = events_ttrpc_pb2.ForwardRequest.FromString(call.payload)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, f"ttrpc: error unmarshalling payload: {error}") from error
    check_envelope(request.envelope)
    bus.forward(request.envelope)
    return Empty().SerializeToString()
