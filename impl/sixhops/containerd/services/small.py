"""Services of a few lines: version, introspection, health."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import TYPE_CHECKING, Any

from sixhops.containerd.services.listing import matching, twice
from sixhops.wire.proto import health_pb2, introspection_pb2, types_pb2, version_pb2
from sixhops.wire.ttrpc.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from sixhops.containerd.rpc import Call
    from sixhops.containerd.settings.plugins import Plugin

__all__ = ["HealthService", "IntrospectionService", "VersionService"]

# the first part is the release whose API this is: clients compare it with what they know
VERSION = "1.6.20+sixhops.0.1.0"
REVISION = "sixhops"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class VersionService:
    """containerd.services.version.v1.Version."""

    async def version(self, _request: Any, _call: Call) -> Any:
        """Return version and revision."""
        return version_pb2.VersionResponse(version=VERSION, revision=REVISION)


class IntrospectionService:
    """containerd.services.introspection.v1.Introspection."""

    def __init__(self, root: Path, plugins: Sequence[Plugin]) -> None:
        self._path = root / "io.containerd.grpc.v1.introspection" / "uuid"
        self._plugins = plugins

    async def plugins(self, request: Any, _call: Call) -> Any:
        """Return what this containerd consists of."""
        shown = [_to_message(plugin) for plugin in self._plugins]
        try:
            return introspection_pb2.PluginsResponse(plugins=matching(shown, request.filters, _look))
        except RpcError as error:
            raise twice(error) from error

    async def server(self, _request: Any, _call: Call) -> Any:
        """Return this installation's identity, made at the first question and kept."""
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.write_text(str(uuid.uuid4()))
        return introspection_pb2.ServerResponse(uuid=self._path.read_text())


def _to_message(plugin: Plugin) -> introspection_pb2.Plugin:
    shown = introspection_pb2.Plugin(
        type=plugin.type, id=plugin.id, requires=plugin.requires, exports=dict(plugin.exports)
    )
    if plugin.platform:
        machine = os.uname().machine
        shown.platforms.append(
            types_pb2.Platform(os="linux", architecture=ARCHITECTURES.get(machine, machine))
        )
    return shown


def _look(plugin: introspection_pb2.Plugin, path: tuple[str, ...]) -> str | None:
    if path == ("type",):
        return plugin.type
    return plugin.id if path == ("id",) else None


class HealthService:
    """grpc.health.v1.Health."""

    async def check(self, request: Any, _call: Call) -> Any:
        """Answer SERVING for the server as a whole, which is all that it knows by name."""
        if request.service:
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def watch(self, request: Any, _call: Call) -> AsyncIterator[Any]:
        """Yield the state now and at each change; it doesn't change while there is a server to ask."""
        kinds = health_pb2.HealthCheckResponse
        yield kinds(status=kinds.SERVICE_UNKNOWN if request.service else kinds.SERVING)
        await asyncio.get_running_loop().create_future()
