"""The bridge in a network of the test's own: made, used by a container's namespace, taken down without a trace."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.events import Events
from sixhops.dockerd.networks.manager import Networks
from sixhops.dockerd.networks.members import Member
from sixhops.dockerd.networks.netlink import Netlink
from sixhops.dockerd.networks.settings import NetworkSettings
from sixhops.dockerd.state import State
from sixhops.linux import loopback
from sixhops.linux.namespaces import FLAGS, set_namespace, unshare

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]


def in_own_network(
    tmp_path: Path, scene: Callable[[Networks, Events], Coroutine[Any, Any, None]], **flags: Any
) -> None:
    """Run `scene` on a thread in a new network namespace; the worker threads that it starts inherit it."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            unshare(FLAGS["network"])
            loopback.bring_up()
            events = Events()
            state = State(tmp_path / "db")
            networks = Networks(NetworkSettings(tmp_path / "exec", **flags), state, events)
            asyncio.run(whole(networks, events))
            state.close()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failure.append(error)

    async def whole(networks: Networks, events: Events) -> None:
        await networks.start()
        try:
            await scene(networks, events)
        finally:
            await networks.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    if failure:
        raise failure[0]


def rules() -> str:
    return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


def inside(path: str, function: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def enter() -> None:
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_namespace(namespace)
        finally:
            os.close(namespace)
        found.append(function())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(10)
    return found[0]


def member(
    number: int = 1, mode: str = "default", asked: dict[str, Any] | None = None, **host: Any
) -> Member:
    """A container that is named c1, c2, ...; with `asked` of its network."""
    network = "bridge" if mode == "default" else mode
    return Member(
        f"{number:064x}",
        f"c{number}",
        {"Hostname": f"c{number}", "ExposedPorts": {"80/tcp": {}}},
        {"NetworkMode": mode, **host},
        {network: asked or {}},
    )


def port_of_bridge(name: str) -> str:
    """What the kernel says of a bridge's port."""
    command = ["bridge", "-d", "link", "show", "dev", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def links() -> list[str]:
    with Netlink() as netlink:
        return sorted(link.name for link in netlink.links())


def test_container_on_the_bridge_has_the_address_that_is_told(tmp_path: Path) -> None:
    def look() -> tuple[str, str]:
        with Netlink() as netlink:
            link = netlink.link("eth0")
            assert link is not None
            return str(netlink.addresses(link.index)[0]), link.mac

    async def scene(networks: Networks, events: Events) -> None:
        one = member()
        sandbox = await networks.allocate(one)
        (endpoint,) = sandbox.endpoints
        assert (endpoint.address, endpoint.gateway, endpoint.prefix) == ("172.17.0.2", "172.17.0.1", 16)
        assert inside(sandbox.netns, look) == ("172.17.0.2/16", "02:42:ac:11:00:02")
        assert networks.inspect("bridge")["Containers"][one.id]["IPv4Address"] == "172.17.0.2/16"
        await networks.release(sandbox)
        assert links() == ["docker0", "lo"]
        assert list((tmp_path / "exec/netns").iterdir()) == []

    in_own_network(tmp_path, scene)


def test_rules_stand_while_the_engine_does(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        await networks.create({"Name": "lan"})
        found = rules()
        assert "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n" in found
        assert "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE" in found
        assert len(links()) == 3
        await networks.close()
        assert "DOCKER" not in rules()
        assert links() == ["lo"]

    in_own_network(tmp_path, scene)


def test_network_that_is_not_there_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        with pytest.raises(EngineError, match="network nosuch not found"):
            await networks.allocate(member(mode="nosuch"))
        assert list((tmp_path / "exec/netns").iterdir()) == []

    in_own_network(tmp_path, scene)


def test_list_filters(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        names = [network["Name"] for network in networks.list_all({"name": ["bri"]})]
        assert names == ["bridge"]
        with pytest.raises(EngineError, match="Invalid filter 'foo'"):
            networks.list_all({"foo": ["a"]})

    in_own_network(tmp_path, scene)


def test_a_network_made_and_removed_leaves_nothing(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        before = rules(), links()
        identity = (await networks.create({"Name": "lan"}))["Id"]
        assert f"br-{identity[:12]}" in links()
        await networks.remove("lan")
        assert [line for line in rules().splitlines() if not line.startswith("#")] == [
            line for line in before[0].splitlines() if not line.startswith("#")
        ]
        assert links() == before[1]
        assert [event.action for event in events.past()] == ["create", "destroy"]

    in_own_network(tmp_path, scene)


def test_networks_come_back_with_the_next_engine(tmp_path: Path) -> None:
    async def make(networks: Networks, events: Events) -> None:
        await networks.create({"Name": "lan", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}})
        assert networks.inspect("lan")["IPAM"]["Config"] == [{"Subnet": "10.9.0.0/24"}]

    async def look(networks: Networks, events: Events) -> None:
        # A restart counts the gateway among what was asked for, as upstream's does.
        assert networks.inspect("lan")["IPAM"]["Config"] == [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1"}]
        sandbox = await networks.allocate(member(mode="lan"))
        assert sandbox.endpoints[0].address == "10.9.0.2"
        await networks.release(sandbox)

    in_own_network(tmp_path, make)
    in_own_network(tmp_path, look)


def test_a_running_container_moves_from_one_network_to_another(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        await networks.create({"Name": "lan"})
        one = member()
        sandbox = await networks.allocate(one)
        await networks.connect(one, sandbox, "lan", {})
        assert [endpoint.interface for endpoint in sandbox.endpoints] == ["eth0", "eth1"]
        assert sorted(one.settings) == ["bridge", "lan"]
        with pytest.raises(EngineError, match="endpoint with name c1 already exists in network lan"):
            await networks.connect(one, sandbox, "lan", {})
        with pytest.raises(EngineError, match="has active endpoints"):
            await networks.remove("lan")
        await networks.disconnect(one, sandbox, "bridge", force=False)
        assert sandbox.way_out == sandbox.endpoints[0].id
        await networks.release(sandbox)

    in_own_network(tmp_path, scene)


def test_a_start_that_fails_gives_everything_back(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
        first = await networks.allocate(member(1, PortBindings=bindings))
        before = links()
        with pytest.raises(EngineError, match="port is already allocated"):
            await networks.allocate(member(2, PortBindings=bindings))
        assert links() == before
        await networks.release(first)
        again = await networks.allocate(member(2, PortBindings=bindings))
        assert again.endpoints[0].address == "172.17.0.2"
        await networks.release(again)
        assert "DNAT" not in rules()

    in_own_network(tmp_path, scene)


@pytest.mark.parametrize(
    ("flags", "config", "rule"),
    [
        (
            {"bip": "10.7.0.5/24"},
            {"Subnet": "10.7.0.0/24", "Gateway": "10.7.0.5"},
            "-s 10.7.0.0/24 ! -o docker0",
        ),
        (
            {"bip": "10.7.0.5/24", "fixed_cidr": "10.7.0.128/25", "default_gateway": "10.7.0.9"},
            {
                "Subnet": "10.7.0.0/24",
                "IPRange": "10.7.0.128/25",
                "Gateway": "10.7.0.5",
                "AuxiliaryAddresses": {"DefaultGatewayIPv4": "10.7.0.9"},
            },
            "-j MASQUERADE",
        ),
        ({"icc": False}, {"Subnet": "172.17.0.0/16"}, "-A FORWARD -i docker0 -o docker0 -j DROP"),
        ({"pools": [("10.44.0.0/16", 24)]}, {"Subnet": "10.44.0.0/24"}, "-s 10.44.0.0/24"),
        ({"userland_proxy": False}, {"Subnet": "172.17.0.0/16"}, "--src-type LOCAL -j MASQUERADE"),
    ],
)
def test_the_daemon_s_flags_shape_the_bridge(
    tmp_path: Path, flags: dict[str, Any], config: dict[str, Any], rule: str
) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        assert networks.inspect("bridge")["IPAM"]["Config"] == [config]
        assert rule in rules()
        sandbox = await networks.allocate(member())
        endpoint = sandbox.endpoints[0]
        assert endpoint.gateway == flags.get("default_gateway", config.get("Gateway", endpoint.gateway))
        await networks.release(sandbox)

    in_own_network(tmp_path, scene, **flags)


def test_without_a_proxy_frames_may_go_back_where_they_came_from(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        sandbox = await networks.allocate(member())
        assert "hairpin on" in port_of_bridge(sandbox.endpoints[0].link)
        await networks.release(sandbox)

    in_own_network(tmp_path, scene, userland_proxy=False)


def test_other_names_are_asked_of_the_given_servers(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        loop = asyncio.get_running_loop()
        await networks.create({"Name": "lan", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}})
        one = member(mode="lan")
        # the bridge's address, where the container reaches the host
        one.servers = ["10.9.0.1"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("10.9.0.1", 53))
            server.setblocking(False)
            sandbox = await networks.allocate(one)
            query = b"\0\7\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1"

            def ask() -> bytes:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.settimeout(10)
                    client.sendto(query, ("127.0.0.11", 53))
                    return client.recv(512)

            asking = loop.run_in_executor(None, inside, sandbox.netns, ask)
            data, peer = await asyncio.wait_for(loop.sock_recvfrom(server, 512), 10)
            assert (data, peer[0]) == (query, "10.9.0.2")
            await loop.sock_sendto(server, data[:2] + b"\x81\x80" + data[4:], peer)
            assert (await asking)[:4] == b"\0\7\x81\x80"
            await networks.release(sandbox)

    in_own_network(tmp_path, scene)


def test_without_a_bridge_there_is_none(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        assert [network["Name"] for network in networks.list_all({})] == ["none", "host"]
        sandbox = await networks.allocate(member())
        assert sandbox.endpoints == []
        await networks.release(sandbox)

    in_own_network(tmp_path, scene, bridge="none")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"ipv6": True}, "IPv6 is enabled for the default bridge, but no subnet is configured"),
        ({"icc": False, "iptables": False}, "You specified --iptables=false with --icc=false"),
        ({"bridge": "nosuch"}, "bridge device with non default name nosuch must be created manually"),
        ({"bip": "10.1.0.0/16"}, "failed to allocate gateway .10.1.0.0.: Address already in use"),
        (
            {"bip": "10.1.0.1/16", "default_gateway": "10.2.0.1"},
            "must belong to the master pool: 10.1.0.0/16",
        ),
        ({"pools": [("10.0.0.0/16", 8)]}, "invalid pools size: 8"),
    ],
)
def test_flags_that_cannot_be(tmp_path: Path, flags: dict[str, Any], message: str) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        raise AssertionError("it has started")

    with pytest.raises(EngineError, match=message):
        in_own_network(tmp_path, scene, **flags)
