"""NetworkSettings of an inspect, before, during and after a run."""

from __future__ import annotations

from typing import Any

from sixhops.dockerd.networks import documents
from sixhops.dockerd.networks.model import Endpoint, PublishedPort, Sandbox

NETWORK = "n" * 64


def sandbox(*, driver: str = "bridge", name: str = "bridge", netns: str = "/x/netns/ssss") -> Sandbox:
    endpoint = Endpoint("e" * 64, name, NETWORK, driver, names=["box"])
    if driver == "bridge":
        endpoint.address, endpoint.prefix, endpoint.gateway = "172.17.0.2", 16, "172.17.0.1"
        endpoint.mac, endpoint.bridge = "02:42:ac:11:00:02", "docker0"
    return Sandbox("c" * 64, "s" * 64, netns, [endpoint])


def settings(
    live: Sandbox | None,
    last: dict[str, Any] | None,
    asked: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> dict[str, Any]:
    chosen = {"bridge": {"NetworkID": NETWORK if last else ""}} if asked is None else asked
    return documents.settings(chosen, config or {}, live, last, "/x/netns/default")


def test_settings_of_a_running_container_have_its_addresses() -> None:
    found = settings(sandbox(), sandbox().saved)

    assert (found["IPAddress"], found["IPPrefixLen"], found["Gateway"]) == ("172.17.0.2", 16, "172.17.0.1")
    assert found["Networks"]["bridge"]["EndpointID"] == "e" * 64
    assert (found["SandboxID"], found["SandboxKey"]) == ("s" * 64, "/x/netns/ssss")


def test_settings_after_an_exit_keep_the_sandbox_only() -> None:
    found = settings(None, sandbox().saved)

    assert (found["IPAddress"], found["MacAddress"], found["EndpointID"]) == ("", "", "")
    assert (found["SandboxKey"], found["Networks"]["bridge"]["NetworkID"]) == ("/x/netns/ssss", NETWORK)


def test_settings_before_the_first_start_are_empty() -> None:
    found = settings(None, None)

    assert (found["SandboxID"], found["SandboxKey"], found["Networks"]["bridge"]["NetworkID"]) == ("", "", "")


def test_settings_on_the_host_s_network_name_its_key() -> None:
    host = sandbox(driver="host", name="host", netns="")

    assert settings(host, host.saved, {"host": {}})["SandboxKey"] == "/x/netns/default"


def test_settings_of_another_container_s_network_have_none() -> None:
    assert settings(None, None, {})["Networks"] == {}


def test_addresses_on_another_network_stand_there_and_not_at_the_top() -> None:
    found = settings(sandbox(name="lan"), None, {"lan": {"Aliases": ["a"]}})

    assert (found["IPAddress"], found["Networks"]["lan"]["IPAddress"]) == ("", "172.17.0.2")
    assert found["Networks"]["lan"]["Aliases"] == ["a"]


def test_ports_show_what_is_exposed_and_what_is_published() -> None:
    live = sandbox()
    live.ports = [PublishedPort("tcp", host, 8080, "172.17.0.2", 80) for host in ("0.0.0.0", "::")]

    found = settings(live, None, config={"ExposedPorts": {"80/tcp": {}, "7/udp": {}}})["Ports"]

    assert found == {
        "7/udp": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
    }
    assert [entry.get("IP") for entry in documents.port_list(found)] == [None, "0.0.0.0", "::"]


def test_internal_networks_show_no_ports() -> None:
    live = sandbox()
    live.endpoints[0].internal = True

    assert settings(live, None, config={"ExposedPorts": {"80/tcp": {}}})["Ports"] == {}
