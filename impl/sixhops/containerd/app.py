"""containerd's wiring: stores, services, two sockets; start, and stop on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from sixhops.containerd import tempmounts
from sixhops.containerd.bus import Bus
from sixhops.containerd.content import ContentStore
from sixhops.containerd.database import Database
from sixhops.containerd.gc import Collector
from sixhops.containerd.plugins import all_plugins
from sixhops.containerd.rpc import handler
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
from sixhops.containerd.shims import Shims
from sixhops.containerd.snapshots import NATIVE, OVERLAYFS, Snapshotter
from sixhops.containerd.workers import Workers
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

    from sixhops.containerd.config import Config
    from sixhops.linux.forkserver import ForkServer
    from sixhops.wire.ttrpc.calls import Call

__all__ = ["run"]

log = logging.getLogger(__name__)
MESSAGE_LIMIT = 16 << 20
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
EVENTS = service(events_ttrpc_pb2.DESCRIPTOR, "Events")


async def run(
    config: Config, forks: ForkServer, again: Callable[[], ForkServer], runtime_module: str | None
) -> int:
    """Serve until a signal; return the exit status. `again` makes another fork server if this one dies."""
    if config.oom_score:
        _set_oom_score(config.oom_score)
    for path in (config.root, config.state):
        path.mkdir(parents=True, exist_ok=True, mode=0o711)
    metadata = config.root / "io.containerd.metadata.v1.sqlite"
    metadata.mkdir(exist_ok=True, mode=0o700)
    database = Database(metadata / "meta.db")
    mounts = config.root / "tmpmounts"
    tempmounts.clean(mounts)
    bus = Bus()
    workers = Workers(forks, again)
    store = ContentStore(config.root / "io.containerd.content.v1.content")
    snapshotters = [Snapshotter(name, config.root, database) for name in (OVERLAYFS, NATIVE)]
    collector = Collector(database, store, snapshotters)
    collector.forget_lost()
    shims = Shims(config, bus, workers, runtime_module)
    await shims.find_again()
    containers = ContainersService(database, bus)
    layers = Layers(database, store, workers, mounts)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(
        (
            handler(service(version_pb2.DESCRIPTOR, "Version"), VersionService(), namespaced=False),
            handler(
                service(introspection_pb2.DESCRIPTOR, "Introspection"),
                IntrospectionService(config.root, all_plugins(config.root, ())),
                namespaced=False,
            ),
            handler(service(health_pb2.DESCRIPTOR, "Health"), HealthService(), namespaced=False),
            handler(service(events_pb2.DESCRIPTOR, "Events"), EventsService(bus), namespaced=False),
            handler(
                service(namespaces_pb2.DESCRIPTOR, "Namespaces"),
                NamespacesService(database, bus),
                namespaced=False,
            ),
            handler(service(containers_pb2.DESCRIPTOR, "Containers"), containers),
            handler(service(images_pb2.DESCRIPTOR, "Images"), ImagesService(database, bus, collector)),
            handler(service(leases_pb2.DESCRIPTOR, "Leases"), LeasesService(database, collector)),
            handler(service(content_pb2.DESCRIPTOR, "Content"), ContentService(database, store, bus)),
            handler(
                service(snapshots_pb2.DESCRIPTOR, "Snapshots"), SnapshotsService(snapshotters, database, bus)
            ),
            handler(service(diff_pb2.DESCRIPTOR, "Diff"), DiffService(layers)),
            handler(service(tasks_pb2.DESCRIPTOR, "Tasks"), TasksService(containers, shims, layers)),
        )
    )
    for path in (config.address, config.ttrpc):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.unlink(missing_ok=True)
    shim_server = await ttrpc.serve(config.ttrpc, lambda call: _forward(call, bus))
    server.add_insecure_port(f"unix:{config.address}")
    await server.start()
    for path in (config.address, config.ttrpc):
        path.chmod(0o660)
        os.chown(path, config.uid, config.gid)
    log.info("serving on %s", config.address)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    cleaner = asyncio.create_task(collector.run())
    await stop.wait()
    cleaner.cancel()
    await shims.close()
    shim_server.close()
    await server.stop(grace=None)
    for path in (config.address, config.ttrpc):
        path.unlink(missing_ok=True)
    database.close()
    workers.close()
    return 0


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
