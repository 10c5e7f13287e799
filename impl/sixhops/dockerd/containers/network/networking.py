"""Containers put on networks and taken off, at once while they run, else for their next start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.containers.network import netfiles
from sixhops.dockerd.errors import EngineError, conflict, invalid
from sixhops.dockerd.networks.members import Member, host_servers

if TYPE_CHECKING:
    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.model import Container
    from sixhops.dockerd.containers.registry import Registry
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.networks.manager import Networks

__all__ = ["Connections", "member_of"]

_NOT_FOUND = 404


def member_of(container: Container, settings: ContainerSettings) -> Member:
    """Return a container as the networks room sees it."""
    host = container.host_config
    options = host["DnsOptions"] or settings.dns_options
    return Member(
        container.id,
        container.name,
        container.config,
        host,
        container.networking.setdefault("EndpointsConfig", {}),
        servers=host["Dns"] or settings.dns or host_servers(),
        has_ndots=any(option.startswith("ndots:") for option in options),
        is_unnamed=container.is_unnamed,
    )


class Connections:
    """Puts containers on networks and takes them off, under their locks."""

    def __init__(self, registry: Registry, networks: Networks, settings: ContainerSettings) -> None:
        self._registry = registry
        self._networks = networks
        self._settings = settings

    async def connect(self, network: str, text: str, asked: dict[str, Any] | None) -> None:
        """Put a container on a network, at once or for its next start. Raises EngineError."""
        held = self._find(text)
        async with held.lock:
            self._refuse_dying(held)
            member = member_of(held.container, self._settings)
            wanted = {key: value for key, value in (asked or {}).items() if value not in ("", None)}
            if held.container.state.has_process:
                await self._connect_now(held, member, network, wanted)
            else:
                self._networks.connect_later(member, network, wanted)
            self._save(held)

    async def disconnect(self, network: str, text: str, *, force: bool) -> None:
        """Take a container off a network. Raises EngineError."""
        try:
            held = self._find(text)
        except EngineError as error:
            if force and error.status == _NOT_FOUND:
                self._networks.disconnect_stale(network, text)
            raise
        async with held.lock:
            self._refuse_dying(held)
            member = member_of(held.container, self._settings)
            sandbox = held.sandbox if held.container.state.has_process else None
            if sandbox is None and held.container.state.has_process:
                # in another container's network it has none of its own
                raise EngineError(500, f"container {held.container.id} is not connected to network {network}")
            endpoint = await self._networks.disconnect(member, sandbox, network, force=force)
            if endpoint is not None:
                await asyncio.to_thread(netfiles.remove_endpoint, held, endpoint)
            self._save(held)

    async def _connect_now(self, held: Held, member: Member, network: str, wanted: dict[str, Any]) -> None:
        if held.sandbox is None:
            raise invalid(
                "container sharing network namespace with another container or host cannot be connected to any other "
                "network"
            )
        had_resolver = held.sandbox.has_resolver
        joined = await self._networks.connect(member, held.sandbox, network, wanted)
        endpoint = held.sandbox.on(joined.id)
        assert endpoint is not None
        await asyncio.to_thread(netfiles.add_endpoint, held, endpoint)
        if held.sandbox.has_resolver and not had_resolver:
            await asyncio.to_thread(netfiles.use_embedded_server, held)

    def _find(self, text: str) -> Held:
        if not text:
            raise invalid('invalid name or ID supplied: ""')
        return self._registry.find(text)

    def _refuse_dying(self, held: Held) -> None:
        if held.container.state.status in {Status.REMOVING, Status.DEAD} or held.is_being_removed:
            raise conflict(
                f"Container {held.container.id} is marked for removal and cannot be connected or disconnected to the network"
            )

    def _save(self, held: Held) -> None:
        if held.sandbox is not None:
            held.container.endpoint = held.sandbox.saved
        self._registry.save(held.container)
