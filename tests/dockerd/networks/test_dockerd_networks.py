"""The bridge in a network of the test's own: made, used by a container's namespace, taken down without a trace."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.events import Events
from sixhops.dockerd.networks.manager import Networks, NetworkSettings
from sixhops.dockerd.networks.netlink import Netlink
from sixhops.dockerd.state import State
from sixhops.linux.namespaces import FLAGS, set_namespace, unshare

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]


def in_own_network(tmp_path: Path, scene: Callable[[Networks, Events], Coroutine[Any, Any, None]]) -> None:
    """Run `scene` on a thread in a new network namespace; the worker threads that it starts inherit it."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            unshare(FLAGS["network"])
            events = Events()
            state = State(tmp_path / "db")
            networks = Networks(NetworkSettings(tmp_path / "exec"), state, events)
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


def test_container_on_the_bridge_has_the_address_that_is_told(tmp_path: Path) -> None:
    def look() -> tuple[str, str]:
        with Netlink() as netlink:
            link = netlink.link("eth0")
            assert link is not None
            return str(netlink.addresses(link.index)[0]), link.mac

    async def scene(networks: Networks, events: Events) -> None:
        endpoint = await networks.allocate("c" * 64, "default", "c", {})
        assert (endpoint.address, endpoint.gateway, endpoint.prefix) == ("172.17.0.2", "172.17.0.1", 16)
        assert inside(endpoint.netns, look) == ("172.17.0.2/16", "02:42:ac:11:00:02")
        assert networks.inspect("bridge")["Containers"]["c" * 64]["IPv4Address"] == "172.17.0.2/16"
        await networks.release("c" * 64, endpoint)
        with Netlink() as netlink:
            assert sorted(link.name for link in netlink.links()) == ["docker0", "lo"]
        assert list((tmp_path / "exec/netns").iterdir()) == []

    in_own_network(tmp_path, scene)


def test_rules_stand_while_the_engine_does(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        found = rules()
        assert "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n" in found
        assert "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE" in found
        await networks.close()
        assert "DOCKER" not in rules()
        with Netlink() as netlink:
            assert [link.name for link in netlink.links()] == ["lo"]

    in_own_network(tmp_path, scene)


def test_network_that_is_not_there_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        with pytest.raises(EngineError, match="network nosuch not found"):
            await networks.allocate("c" * 64, "nosuch", "c", {})
        assert list((tmp_path / "exec/netns").iterdir()) == []

    in_own_network(tmp_path, scene)


def test_list_filters(tmp_path: Path) -> None:
    async def scene(networks: Networks, events: Events) -> None:
        names = [network["Name"] for network in networks.list({"name": ["bri"]})]
        assert names == ["bridge"]
        with pytest.raises(EngineError, match="Invalid filter 'foo'"):
            networks.list({"foo": ["a"]})

    in_own_network(tmp_path, scene)
