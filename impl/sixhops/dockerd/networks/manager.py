"""The networks of one engine, and a container's place on one of them.

A network namespace is made before its container and bind-mounted to EXEC_ROOT/netns/<12 digits>; that path is what the
runtime gets and what inspect calls SandboxKey. All work on links is done on one thread, in the order of requests. The
state of an endpoint is in its container's document: there is no second book that could disagree with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.errors import EngineError, invalid, not_found
from sixhops.dockerd.networks import documents
from sixhops.dockerd.networks.addresses import AddressPool, choose_subnet, mac_of
from sixhops.dockerd.networks.firewall import Firewall, PublishedPort
from sixhops.dockerd.networks.netlink import Netlink
from sixhops.linux import loopback, mounts
from sixhops.linux.libc import LinuxError
from sixhops.linux.namespaces import FLAGS, set_namespace, unshare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.dockerd.containers.ports import Endpoint as AnyEndpoint
    from sixhops.dockerd.events import Events
    from sixhops.dockerd.state import State

__all__ = ["Endpoint", "NetworkSettings", "Networks"]

_BIND = 4096
_DEFAULT_BRIDGE = "docker0"
_BRIDGE_MODES = frozenset({"", "default", "bridge"})
_NAMES = {"none": "null", "host": "host", "bridge": "bridge"}
_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the flags say: `bridge` "" for our own docker0, "none" for no bridge at all; `bip` its address with prefix."""

    exec_root: Path
    bridge: str = ""
    bip: str = ""
    iptables: bool = True
    masquerade: bool = True
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place on a network, from start to exit."""

    network: str
    sandbox_id: str
    netns: str
    endpoint_id: str
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    link: str = ""
    ports: tuple[PublishedPort, ...] = ()

    @property
    def saved(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self)


@dataclass(slots=True)
class _Bridge:
    name: str
    index: int
    address: ipaddress.IPv4Interface
    pool: AddressPool
    firewall: Firewall | None
    is_ours: bool
    taken: dict[str, str] = field(default_factory=dict)


class Networks:
    """The networks `none`, `host` and `bridge`."""

    def __init__(self, settings: NetworkSettings, state: State, events: Events) -> None:
        self._settings = settings
        self._events = events
        self._state = state
        self._ids = _identities(state)
        self._directory = settings.exec_root / "netns"
        self._bridge: _Bridge | None = None
        self._is_closed = False
        self._live: dict[str, tuple[Endpoint, str]] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="networks")

    async def start(self) -> None:
        """Make the bridge and its rules. Raises EngineError 500 when that can't be done."""
        await self._on_worker(self._start)

    async def close(self) -> None:
        """Take down what `start` made, unless endpoints still live on it. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._live:
            await self._on_worker(self._stop)
        self._worker.shutdown()

    async def allocate(self, container_id: str, mode: str, hostname: str, config: dict[str, Any]) -> Endpoint:
        """Make a namespace and its interface; see `containers.ports.Networks`.

        Raises EngineError, 404 for no such network.
        """
        del hostname
        name = "bridge" if mode in _BRIDGE_MODES else mode
        if name not in _NAMES:
            found = self._find(name)
            if found is None:
                raise not_found(f"network {mode} not found")
            name = found
        if name == "bridge" and self._bridge is None:
            raise not_found(f"network {mode} not found")
        endpoint: Endpoint = await self._on_worker(self._connect, name, config)
        self._live[container_id] = (endpoint, name)
        self._tell("connect", name, container_id)
        return endpoint

    async def release(self, container_id: str, endpoint: AnyEndpoint) -> None:
        """Take down what `allocate` made; what is gone already does not matter."""
        assert isinstance(endpoint, Endpoint)
        self._live.pop(container_id, None)
        await self._on_worker(self._disconnect, endpoint)
        self._tell("disconnect", endpoint.network, container_id)

    async def recover(self, container_id: str, saved: dict[str, Any]) -> Endpoint:
        """Give back the endpoint of a container that still runs after a restart of the engine."""
        ports = tuple(PublishedPort(**port) for port in saved["ports"])
        endpoint = Endpoint(**{**saved, "ports": ports})
        self._live[container_id] = (endpoint, endpoint.network)
        if self._bridge is not None and endpoint.address:
            self._bridge.pool.take(endpoint.address)
        return endpoint

    def settings(
        self, mode: str, config: dict[str, Any], endpoint: AnyEndpoint | None, last: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Return `NetworkSettings` of an inspect; see `containers.ports.Networks`."""
        name = "bridge" if mode in _BRIDGE_MODES else mode
        identity = self._ids[name][0] if name in self._ids else ""
        own = endpoint if isinstance(endpoint, Endpoint) else None
        return documents.settings(name, identity, config, own, last, str(self._directory / "default"))

    def list(self, filters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return GET /networks. Raises EngineError 400 for an unknown filter."""
        for key in filters:
            if key not in _FILTERS:
                raise invalid(f"Invalid filter '{key}'")
        found = [
            self._document(name, with_containers=False)
            for name in ("none", "host", "bridge")
            if self._has(name)
        ]
        return [document for document in found if _passes(document, filters)]

    def inspect(self, text: str) -> dict[str, Any]:
        """Return GET /networks/{name}. Raises EngineError 404."""
        name = self._find(text)
        if name is None:
            raise not_found(f"network {text} not found")
        return self._document(name, with_containers=True)

    def prune(self) -> None:
        """Remove networks that nobody uses: there are none that may go, and the event says so."""
        self._events.emit("network", "prune", "", {"reclaimed": "0"})

    # -- the worker's side

    def _start(self) -> None:
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._sweep_namespaces()
        if self._settings.bridge == "none":
            return
        name = self._settings.bridge or _DEFAULT_BRIDGE
        with Netlink() as netlink:
            link = netlink.link(name)
            is_ours = not self._settings.bridge
            if link is None:
                if not is_ours:
                    raise EngineError(
                        500,
                        f"Error initializing network controller: bridge device with non default name {name} "
                        "must be created manually",
                    )
                netlink.add_bridge(name, mac_of(secrets.token_bytes(4)))
                link = netlink.link(name)
                assert link is not None
            addresses = netlink.addresses(link.index)
            if addresses:
                address = addresses[0]
            else:
                used = [interface.network for interface in netlink.addresses()] + netlink.routes()
                address = choose_subnet(self._settings.bip, used)
                netlink.add_address(link.index, address, name)
            netlink.set_up(link.index, mtu=0)
        _quiet_ipv6(name)
        firewall = None
        if self._settings.iptables:
            firewall = Firewall(name, address.network, masquerade=self._settings.masquerade)
            firewall.install()
        self._bridge = _Bridge(name, link.index, address, AddressPool(address), firewall, is_ours)

    def _stop(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is None:
            return
        if bridge.firewall is not None:
            bridge.firewall.remove()
        if bridge.is_ours:
            with Netlink() as netlink, contextlib.suppress(ProcessLookupError, FileNotFoundError):
                netlink.remove(bridge.index)

    def _connect(self, name: str, config: dict[str, Any]) -> Endpoint:
        sandbox_id, endpoint_id = secrets.token_hex(32), secrets.token_hex(32)
        if name == "host":
            return Endpoint(name, sandbox_id, "", endpoint_id)
        path = self._directory / sandbox_id[:12]
        _make_namespace(path)
        try:
            if name == "none":
                return Endpoint(name, sandbox_id, str(path), endpoint_id)
            return self._join_bridge(path, sandbox_id, endpoint_id, config)
        except BaseException:
            _remove_namespace(path)
            raise

    def _join_bridge(self, path: Path, sandbox_id: str, endpoint_id: str, config: dict[str, Any]) -> Endpoint:
        bridge = self._bridge
        assert bridge is not None
        asked = documents.asked_address(config)
        address = bridge.pool.give(asked)
        link = f"veth{secrets.token_hex(4)[:7]}"
        mac = str((config.get("Config") or {}).get("MacAddress") or "") or mac_of(
            ipaddress.IPv4Address(address).packed
        )
        try:
            ports = documents.published(config, address, bridge.taken)
            self._make_links(bridge, path, link, address, mac)
            try:
                self._publish(bridge, ports)
            except BaseException:
                _remove_link(link)
                raise
        except BaseException:
            bridge.pool.take_back(address)
            raise
        return Endpoint(
            "bridge",
            sandbox_id,
            str(path),
            endpoint_id,
            address,
            bridge.address.network.prefixlen,
            str(bridge.address.ip),
            mac,
            link,
            ports,
        )

    def _make_links(self, bridge: _Bridge, path: Path, link: str, address: str, mac: str) -> None:
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Netlink() as netlink:
                netlink.add_veth(
                    link,
                    "eth0",
                    peer_namespace=namespace,
                    peer_mac=mac,
                    mtu=self._settings.mtu,
                    master=bridge.index,
                )
            _quiet_ipv6(link)
            interface = ipaddress.IPv4Interface(f"{address}/{bridge.address.network.prefixlen}")
            _inside(namespace, lambda: _dress(interface, bridge.address.ip))
        except BaseException:
            _remove_link(link)
            raise
        finally:
            os.close(namespace)

    def _publish(self, bridge: _Bridge, ports: Sequence[PublishedPort]) -> None:
        if ports and bridge.firewall is None:
            raise EngineError(501, "this engine publishes ports with iptables only, and was started without")
        if bridge.firewall is not None:
            bridge.firewall.publish(ports)
        for port in ports:
            bridge.taken[documents.port_key(port)] = port.address

    def _disconnect(self, endpoint: Endpoint) -> None:
        bridge = self._bridge
        if bridge is not None and endpoint.address:
            if bridge.firewall is not None and endpoint.ports:
                with contextlib.suppress(EngineError):
                    bridge.firewall.withdraw(endpoint.ports)
            for port in endpoint.ports:
                bridge.taken.pop(documents.port_key(port), None)
            bridge.pool.take_back(endpoint.address)
        if endpoint.link:
            # before the namespace: the kernel takes its time to clean up one that still has links
            _remove_link(endpoint.link)
        if endpoint.netns:
            _remove_namespace(Path(endpoint.netns))

    def _sweep_namespaces(self) -> None:
        """Remove namespaces of containers that did not outlive the last engine: those in which no process is."""
        for path in self._directory.iterdir():
            if str(path) not in {endpoint.netns for endpoint, _name in self._live.values()} and not _is_used(
                path
            ):
                _remove_namespace(path)

    # -- documents

    def _has(self, name: str) -> bool:
        return name != "bridge" or self._bridge is not None

    def _find(self, text: str) -> str | None:
        for name, (identity, _created) in self._ids.items():
            if self._has(name) and (
                text in (name, identity) or (len(text) >= 1 and identity.startswith(text))
            ):
                return name
        return None

    def _document(self, name: str, *, with_containers: bool) -> dict[str, Any]:
        identity, created = self._ids[name]
        bridge = self._bridge
        members = {}
        if with_containers:
            members = {
                container: documents.member(endpoint, self._name_of(container))
                for container, (endpoint, network) in sorted(self._live.items())
                if network == name
            }
        options = {}
        subnet = ""
        if name == "bridge" and bridge is not None:
            subnet = str(bridge.address.network)
            options = {
                "com.docker.network.bridge.default_bridge": "true",
                "com.docker.network.bridge.enable_icc": "true",
                "com.docker.network.bridge.enable_ip_masquerade": str(self._settings.masquerade).lower(),
                "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
                "com.docker.network.bridge.name": bridge.name,
                "com.docker.network.driver.mtu": str(self._settings.mtu),
            }
        return documents.network(name, identity, rfc3339(created), _NAMES[name], subnet, members, options)

    def _name_of(self, container_id: str) -> str:
        row = self._state.row("SELECT name FROM containers WHERE id = ?", container_id)
        return "" if row is None else str(row[0])

    def _tell(self, action: str, name: str, container_id: str) -> None:
        identity = self._ids[name][0]
        attributes = {"container": container_id, "name": name, "type": _NAMES[name]}
        self._events.emit("network", action, identity, attributes)

    async def _on_worker(self, function: Any, *arguments: Any) -> Any:
        # not cancelled half way: a namespace without an owner would stay
        return await asyncio.shield(
            asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)
        )


def _identities(state: State) -> dict[str, tuple[str, int]]:
    """Return name -> (id, when made) of the three networks; made at the first start, kept ever after."""
    row = state.row("SELECT value FROM settings WHERE key = 'networks'")
    if row is None:
        found = {name: (secrets.token_hex(32), time.time_ns()) for name in _NAMES}
        with state.change() as database:
            database.execute("INSERT INTO settings VALUES ('networks', ?)", (json.dumps(found),))
        return found
    return {
        name: (str(identity), int(created)) for name, (identity, created) in json.loads(str(row[0])).items()
    }


def _passes(document: Mapping[str, Any], filters: Mapping[str, Sequence[str]]) -> bool:
    fields = {"driver": "Driver", "id": "Id", "name": "Name", "scope": "Scope"}
    for key, values in filters.items():
        if key in ("name", "id"):
            fits = any(re.search(re.escape(value), document[fields[key]]) for value in values)
        elif key in fields:
            fits = any(value == document[fields[key]] for value in values)
        elif key == "type":
            fits = "builtin" in values
        else:
            fits = False  # the built-in networks have no labels and are never dangling
        if values and not fits:
            return False
    return True


def _make_namespace(path: Path) -> None:
    """Make a network namespace with `lo` up and keep it at `path`. Raises LinuxError, OSError."""
    path.touch(mode=0o444)

    def make() -> None:
        unshare(FLAGS["network"])
        loopback.bring_up()
        mounts.mount(f"/proc/self/task/{threading.get_native_id()}/ns/net", str(path), "", _BIND)

    try:
        _on_new_thread(make)
    except BaseException:
        path.unlink()
        raise


def _remove_namespace(path: Path) -> None:
    # EINVAL: not a mount; ENOENT: gone. Both are fine, and anything else shows when the file can't be removed
    with contextlib.suppress(LinuxError):
        mounts.unmount(str(path), mounts.MNT_DETACH)
    path.unlink(missing_ok=True)


def _is_used(path: Path) -> bool:
    """Tell whether a process lives in the namespace that is kept at `path`."""
    try:
        wanted = path.stat().st_ino
    except FileNotFoundError:
        return False
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if (process / "ns/net").stat().st_ino == wanted:
                    return True
    return False


def _remove_link(name: str) -> None:
    with Netlink() as netlink:
        link = netlink.link(name)
        if link is not None:
            with contextlib.suppress(ProcessLookupError, OSError):
                netlink.remove(link.index)


def _dress(interface: ipaddress.IPv4Interface, gateway: ipaddress.IPv4Address) -> None:
    with Netlink() as netlink:
        link = netlink.link("eth0")
        assert link is not None
        _quiet_ipv6("eth0")
        netlink.add_address(link.index, interface, "eth0")
        netlink.set_up(link.index)
        netlink.add_default_route(link.index, gateway)


def _inside(namespace: int, function: Any) -> None:
    """Call `function` on a thread that is in a network namespace."""

    def enter() -> None:
        set_namespace(namespace, FLAGS["network"])
        function()

    _on_new_thread(enter)


def _on_new_thread(function: Any) -> None:
    """Call `function` on a thread of its own, which then ends: it has left the engine's namespaces."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failure.append(error)

    thread = threading.Thread(target=run, name="network-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def _quiet_ipv6(name: str) -> None:
    """Keep the kernel from giving an interface an IPv6 address of its own accord; there may be no IPv6."""
    path = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    with contextlib.suppress(FileNotFoundError):
        path.write_text("1")
