"""The networks of one engine, and the containers' places on them: what the API and the containers room call.

A network namespace is made before its container and bind-mounted to EXEC_ROOT/netns/<12 digits>; that path is what the
runtime gets and what inspect calls SandboxKey. All work on links is done on one thread (`plumbing`), in the order of
requests; this module belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.views.pruning import oldest
from sixhops.dockerd.errors import EngineError, conflict, not_found, system
from sixhops.dockerd.networks import creation, documents, finding, resolver
from sixhops.dockerd.networks.firewall import link_rules
from sixhops.dockerd.networks.members import check_settings_of, forwarding_of
from sixhops.dockerd.networks.model import Endpoint, Network, Sandbox, sandbox_from
from sixhops.dockerd.networks.plumbing import Plumbing
from sixhops.dockerd.networks.ports import asked_ports
from sixhops.dockerd.networks.proxies import Proxies
from sixhops.dockerd.networks.settings import check_settings
from sixhops.dockerd.networks.store import NetworkStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sixhops.dockerd.events import Events
    from sixhops.dockerd.networks.members import Member
    from sixhops.dockerd.networks.settings import NetworkSettings
    from sixhops.dockerd.state import State
    from sixhops.linux.forkserver import ForkServer

__all__ = ["Networks"]

_FORBIDDEN = 403
_DRIVERS = {"none": "null", "host": "host"}


class Networks:
    """The networks room."""

    def __init__(
        self, settings: NetworkSettings, state: State, events: Events, helpers: ForkServer | None = None
    ) -> None:
        """`helpers` forks the userland proxies; without it there are none. Raises EngineError for flags that can't be."""
        check_settings(settings)
        self._settings = settings
        self._events = events
        self._store = NetworkStore(state)
        self._networks: dict[str, Network] = {network.id: network.restored() for network in self._store.all()}
        self._plumbing = Plumbing(settings)
        self._proxies: Proxies | None = None
        if helpers is not None and settings.userland_proxy:
            self._proxies = Proxies(helpers, settings.userland_proxy_path)
        self._names: resolver.Names = {}
        self._live: dict[str, Sandbox] = {}
        self._resolvers: dict[str, resolver.Resolver] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="networks")
        self._is_closed = False

    # -- the engine's own calls

    async def start(self) -> None:
        """Bring up all networks. Raises EngineError 500 when that can't be done."""
        for name, driver in _DRIVERS.items():
            if finding.by_name(self._networks.values(), name) is None:
                self._add(Network(secrets.token_hex(32), name, driver, time.time_ns()))
        known = finding.by_name(self._networks.values(), "bridge")
        others = [network for network in self._networks.values() if network.name != "bridge"]
        bridge: Network | None = await self._on_worker(self._plumbing.start, others, known)
        if known is not None and bridge is None:
            del self._networks[known.id]
            self._store.remove(known)
        if bridge is not None:
            self._networks[bridge.id] = bridge
            if bridge != known:
                self._store.save(bridge)

    async def close(self) -> None:
        """Take down what `start` made, unless containers still live on it. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        for serving in self._resolvers.values():
            await serving.close()
        if self._proxies is not None:
            for sandbox in self._live.values():
                self._proxies.stop(sandbox.ports)
        if not self._live:
            await self._on_worker(self._plumbing.stop, list(self._networks.values()))
        self._worker.shutdown()

    async def sweep(self) -> None:
        """Remove namespaces that nobody uses; call it once the containers of the last engine are recovered."""
        await self._on_worker(self._plumbing.sweep, {sandbox.netns for sandbox in self._live.values()})

    @property
    def host_gateway(self) -> str:
        """What `host-gateway` in ExtraHosts means: the default bridge's address, or what --host-gateway-ip says."""
        bridge = finding.by_name(self._networks.values(), "bridge")
        four = bridge.part(4) if bridge is not None else None
        return self._settings.host_gateway_ip or (four.gateway if four is not None else "")

    # -- networks

    def list_all(self, filters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return GET /networks. Raises EngineError 400 for a bad filter."""
        used = {endpoint.network_id for sandbox in self._live.values() for endpoint in sandbox.endpoints}
        found = finding.select(self._networks.values(), filters, used)
        return [documents.network(network, {}) for network in found]

    def inspect(self, text: str, scope: str = "") -> dict[str, Any]:
        """Return GET /networks/{name}. Raises EngineError 404, and 400 for a text that is two networks' name."""
        if scope not in {"", "local"}:
            raise not_found(f"network {text} not found")
        network = finding.find(self._networks.values(), text, finding.INSPECT)
        members = {}
        for container, sandbox in self._live.items():
            endpoint = sandbox.on(network.id)
            if endpoint is not None:
                members[container] = documents.member(endpoint)
        return documents.network(network, members)

    async def create(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Create a network; return its id with a warning. Raises EngineError."""
        name = str(body.get("Name") or "")
        # no name stands for the default network here, and is refused as a name only afterwards
        same = finding.by_name(self._networks.values(), name or "bridge")
        if same is not None and body.get("CheckDuplicate") and name not in creation.PREDEFINED:
            raise conflict(f"network with name {name} already exists")
        asked = creation.read(body, self._config_network)
        identity = creation.new_identity()
        network: Network = await self._on_worker(
            self._plumbing.create, asked, identity, list(self._networks.values())
        )
        self._add(network)
        self._emit(network, "create")
        warning = f"Network with name {name} (id : {same.id}) already exists" if same is not None else ""
        return {"Id": network.id, "Warning": warning}

    async def remove(self, text: str) -> None:
        """Remove a network. Raises EngineError: 404, 403 for one that is in use or every engine's."""
        network = finding.find(self._networks.values(), text, finding.REMOVE)
        if not network.is_user_defined:
            raise EngineError(_FORBIDDEN, f"{network.name} is a pre-defined network and cannot be removed")
        await self._remove(network)

    async def prune(self, filters: Mapping[str, Sequence[str]]) -> list[str]:
        """Remove networks that nobody uses; return their names. Raises EngineError 400 and 500 for a bad filter."""
        until = oldest(filters, time.time_ns())
        gone = []
        for network in list(self._networks.values()):
            if not network.is_user_defined or not finding.takes(network, filters, until):
                continue
            with contextlib.suppress(EngineError):
                await self._remove(network)
                gone.append(network.name)
        self._events.emit("network", "prune", "", {"reclaimed": "0"})
        return gone

    # -- containers

    def prepare(self, mode: str, asked: Mapping[str, Any], *, is_disabled: bool) -> dict[str, Any]:
        """Return the EndpointsConfig that a new container is kept with. Raises EngineError 400."""
        return finding.endpoints_config(self._networks.values(), mode, asked, is_disabled=is_disabled)

    async def allocate(self, member: Member) -> Sandbox:
        """Make a container's namespace and its interfaces on all of its networks; its `settings` are completed.

        Raises EngineError (404 `network X not found`), and leaves nothing behind then.
        """
        chosen = [
            (network, asked)
            for name, asked in _in_order(member.settings)
            if (network := self._network_of(name, asked)) is not None
        ]
        on_host = any(network.driver == "host" for network, _asked in chosen)
        sandbox: Sandbox = await self._on_worker(self._plumbing.make_sandbox, member.id, on_host=on_host)
        sandbox.is_hidden = member.is_disabled
        joined: list[Network] = []
        try:
            for network, asked in chosen:
                await self._join(member, sandbox, network, asked)
                joined.append(network)
            await self._lead_out(member, sandbox)
            await self._open_resolver(member, sandbox)
            for network in joined:
                self._tell("connect", network, member.id)
        except BaseException:
            await asyncio.shield(self._take_down(sandbox))
            raise
        self._live[member.id] = sandbox
        return sandbox

    async def release(self, sandbox: Sandbox) -> None:
        """Take down what `allocate` made; what is gone already does not matter."""
        self._live.pop(sandbox.container, None)
        endpoints = list(sandbox.endpoints)
        await self._take_down(sandbox)
        for endpoint in endpoints:
            network = self._networks.get(endpoint.network_id)
            if network is not None:
                self._tell("disconnect", network, sandbox.container)

    async def recover(self, member: Member, saved: Mapping[str, Any], *, is_alive: bool = True) -> Sandbox:
        """Give back the sandbox of the last engine's container; serve it if that still runs, else it is to be released."""
        sandbox = sandbox_from(dict(saved))
        await self._on_worker(self._plumbing.recover, self._networks, sandbox, is_alive=is_alive)
        self._live[member.id] = sandbox
        self._serve_ports(sandbox)
        for endpoint in sandbox.endpoints:
            network = self._networks.get(endpoint.network_id)
            if network is not None and network.is_user_defined:
                resolver.add_names(self._names, endpoint)
        sandbox.has_resolver = False
        if is_alive:
            await self._open_resolver(member, sandbox)
        return sandbox

    async def connect(self, member: Member, sandbox: Sandbox, text: str, asked: dict[str, Any]) -> Network:
        """Put a running container on a network; return which. Raises EngineError, with nothing changed."""
        network = finding.find(self._networks.values(), text, finding.USE)
        check_settings_of(member, network, asked, self._driver_of, live=True)
        if sandbox.on(network.id) is not None:
            raise EngineError(
                _FORBIDDEN, f"endpoint with name {member.name} already exists in network {network.name}"
            )
        await self._join(member, sandbox, network, asked)
        try:
            await self._lead_out(member, sandbox)
            await self._open_resolver(member, sandbox)
        except BaseException:
            endpoint = sandbox.on(network.id)
            assert endpoint is not None
            await asyncio.shield(self._leave(member, sandbox, endpoint))
            raise
        member.settings[network.name] = asked
        self._tell("connect", network, member.id)
        return network

    def connect_later(self, member: Member, text: str, asked: dict[str, Any]) -> None:
        """Note that a container that does not run is to be on a network. Raises EngineError 400."""
        try:
            network = finding.find(self._networks.values(), text, finding.USE)
        except EngineError:
            # it may be made before the container starts
            member.settings.setdefault(text, asked)
            return
        check_settings_of(member, network, asked, self._driver_of, live=False)
        member.settings.setdefault(network.name, asked)

    async def disconnect(
        self, member: Member, sandbox: Sandbox | None, text: str, *, force: bool
    ) -> Endpoint | None:
        """Take a container off a network; return the endpoint that it had. Raises EngineError."""
        network: Network | None = None
        try:
            network = finding.find(self._networks.values(), text, finding.USE)
        except EngineError:
            if sandbox is not None and not force:
                raise
        endpoint = None
        if sandbox is None or network is None:
            name = network.name if network is not None else text
            if name not in member.settings:
                raise EngineError(500, f"container {member.id} is not connected to the network {name}")
        else:
            if network.driver == "host" and member.mode == "host":
                raise EngineError(
                    400, "container cannot be disconnected from host network or connected to host network"
                )
            endpoint = sandbox.on(network.id)
            if endpoint is None:
                raise EngineError(500, f"container {member.id} is not connected to network {network.name}")
            await asyncio.shield(self._leave(member, sandbox, endpoint))
            name = network.name
        del member.settings[name]
        if network is not None:
            self._tell("disconnect", network, member.id)
        return endpoint

    def disconnect_stale(self, text: str, endpoint_name: str) -> None:
        """Raise the error for an endpoint of a container that does not exist."""
        finding.find(self._networks.values(), text, finding.USE)
        raise not_found(f"endpoint {endpoint_name} not found")

    def renamed(self, sandbox: Sandbox | None, old: str, new: str) -> None:
        """A container has another name now."""
        for endpoint in sandbox.endpoints if sandbox is not None else ():
            is_known = self._networks[endpoint.network_id].is_user_defined
            resolver.remove_names(self._names, endpoint)
            endpoint.names = [new if name == old else name for name in endpoint.names]
            endpoint.is_unnamed = False
            if is_known:
                resolver.add_names(self._names, endpoint)

    async def link(self, sandbox: Sandbox, child: str, ports: Iterable[str]) -> None:
        """Let a container reach ports (such as 80/tcp) of a linked one where containers may not otherwise speak."""
        bridge = finding.by_name(self._networks.values(), "bridge")
        own = sandbox.on(bridge.id) if bridge is not None else None
        if own is None or self._settings.icc:
            return
        rules = link_rules(own.bridge, own.address, child, [_transport(port) for port in ports])
        await self._on_worker(self._plumbing.link, own, [*own.link_rules, *rules])

    def settings(
        self,
        settings: Mapping[str, Any],
        config: Mapping[str, Any],
        sandbox: Sandbox | None,
        last: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Return `NetworkSettings` of an inspect: with addresses for a live sandbox, emptied without one.

        `last` is `Sandbox.saved` of the last run when the container has run (SandboxID and SandboxKey stay), else None.
        """
        host_key = str(self._settings.exec_root / "netns" / "default")
        return documents.settings(settings, config, sandbox, last, host_key)

    # -- inside

    async def _join(self, member: Member, sandbox: Sandbox, network: Network, asked: dict[str, Any]) -> None:
        if network.config_only:
            raise EngineError(_FORBIDDEN, "cannot create endpoint on configuration-only network")
        check_settings_of(member, network, asked, self._driver_of, live=None)
        endpoint = Endpoint(
            secrets.token_hex(32), network.name, network.id, network.driver, internal=network.internal
        )
        aliases = [alias for alias in asked.get("Aliases") or [] if alias]
        endpoint.names = [member.name, *(aliases if network.is_user_defined else [])]
        endpoint.is_unnamed = member.is_unnamed
        endpoint.links = dict(_link(entry) for entry in asked.get("Links") or [])
        asked["NetworkID"] = network.id
        if network.driver in {"host", "null"}:
            sandbox.endpoints.append(endpoint)
            return
        await self._on_worker(
            self._plumbing.join,
            network,
            sandbox,
            endpoint,
            asked.get("IPAMConfig") or {},
            member.mac_for(network.name),
        )
        if network.is_user_defined:
            resolver.add_names(self._names, endpoint)

    async def _leave(self, member: Member, sandbox: Sandbox, endpoint: Endpoint) -> None:
        resolver.remove_names(self._names, endpoint)
        if endpoint.id == sandbox.way_out:
            self._stop_ports(sandbox)
            await self._on_worker(self._plumbing.withdraw, sandbox, endpoint.bridge)
        await self._on_worker(
            self._plumbing.leave, self._networks.get(endpoint.network_id), sandbox, endpoint
        )
        await self._lead_out(member, sandbox)

    async def _lead_out(self, member: Member, sandbox: Sandbox) -> None:
        bindings = asked_ports(member.config, member.host_config) if member.mode != "host" else []
        before = list(sandbox.ports)
        first = sandbox.gateway_endpoint
        if first is None and not sandbox.way_out:
            return
        if before and first is not None and first.id != sandbox.way_out:
            self._stop_ports(sandbox)
        await self._on_worker(self._plumbing.lead_out, self._networks, sandbox, bindings)
        if sandbox.ports != before:
            self._serve_ports(sandbox)

    def _serve_ports(self, sandbox: Sandbox) -> None:
        if self._proxies is not None and sandbox.ports:
            try:
                self._proxies.start(sandbox.ports, self._plumbing.ports.socket)
            except EngineError as error:
                first = sandbox.gateway_endpoint
                if first is None:
                    raise
                raise system(
                    f"driver failed programming external connectivity on endpoint {first.names[0]} ({first.id}): "
                    f"{error.message}"
                ) from error

    def _stop_ports(self, sandbox: Sandbox) -> None:
        if self._proxies is not None:
            self._proxies.stop(sandbox.ports)

    async def _take_down(self, sandbox: Sandbox) -> None:
        serving = self._resolvers.pop(sandbox.container, None)
        if serving is not None:
            await serving.close()
        self._stop_ports(sandbox)
        for endpoint in sandbox.endpoints:
            resolver.remove_names(self._names, endpoint)
        await self._on_worker(self._plumbing.remove_sandbox, self._networks, sandbox)

    async def _open_resolver(self, member: Member, sandbox: Sandbox) -> None:
        networks = (self._networks.get(endpoint.network_id) for endpoint in sandbox.endpoints)
        if sandbox.has_resolver or not any(found is not None and found.is_user_defined for found in networks):
            return
        sockets = await self._on_worker(self._plumbing.open_resolver, sandbox)
        serving = resolver.Resolver(sandbox, self._names, forwarding_of(member, sandbox))
        await serving.start(*sockets)
        self._resolvers[member.id] = serving
        sandbox.has_resolver = True

    async def _remove(self, network: Network) -> None:
        if any(sandbox.on(network.id) is not None for sandbox in self._live.values()):
            raise EngineError(
                _FORBIDDEN,
                f"error while removing network: network {network.name} id {network.id} has active endpoints",
            )
        if network.config_only and any(
            other.config_from == network.name for other in self._networks.values()
        ):
            raise EngineError(
                _FORBIDDEN, f'error while removing network: configuration network "{network.name}" is in use'
            )
        self._store.remove(network)
        self._networks.pop(network.id, None)
        await self._on_worker(self._plumbing.remove, network)
        self._emit(network, "destroy")

    def _network_of(self, text: str, asked: Mapping[str, Any]) -> Network | None:
        """Return a container's network; None for a default bridge that --bridge=none has taken away.

        Once a container has been on a network of the user's, another one of the same name will not do.
        """
        if text not in {"bridge", "host", "none"} and asked.get("NetworkID"):
            text = asked["NetworkID"]
        if text == "bridge" and self._settings.bridge == "none":
            return None
        return finding.find(self._networks.values(), text, finding.USE)

    def _config_network(self, name: str) -> Network | None:
        return next(
            (network for network in self._networks.values() if network.config_only and network.name == name),
            None,
        )

    def _driver_of(self, name: str) -> str:
        network = finding.by_name(self._networks.values(), name)
        return network.driver if network is not None else ""

    def _add(self, network: Network) -> None:
        self._networks[network.id] = network
        self._store.save(network)

    def _emit(self, network: Network, action: str) -> None:
        self._events.emit("network", action, network.id, {"name": network.name, "type": network.driver})

    def _tell(self, action: str, network: Network, container: str) -> None:
        attributes = {"container": container, "name": network.name, "type": network.driver}
        self._events.emit("network", action, network.id, attributes)

    async def _on_worker(self, function: Any, *arguments: Any, **named: Any) -> Any:
        # not cancelled half way: a namespace without an owner would stay
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._worker, lambda: function(*arguments, **named)))


def _in_order(settings: Mapping[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The default bridge comes first, as upstream; the others by name, where upstream leaves it to chance."""
    return sorted(settings.items(), key=lambda entry: (entry[0] != "bridge", entry[0]))


def _transport(port: str) -> tuple[str, int]:
    number, _, protocol = port.partition("/")
    return protocol, int(number)


def _link(text: str) -> tuple[str, str]:
    """Return (alias in lower case, container) of `container:alias`."""
    name, _, alias = text.partition(":")
    return (alias or name).lower(), name
