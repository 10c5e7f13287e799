from __future__ import annotations

from typing import Any

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.networks import documents
from sixhops.dockerd.networks.firewall import PublishedPort
from sixhops.dockerd.networks.manager import Endpoint

LIVE = Endpoint(
    "bridge",
    "s" * 64,
    "/x/netns/ssss",
    "e" * 64,
    "172.17.0.2",
    16,
    "172.17.0.1",
    "02:42:ac:11:00:02",
    "veth1",
)


def settings(endpoint: Endpoint | None, last: dict[str, Any] | None, name: str = "bridge") -> dict[str, Any]:
    return documents.settings(name, "n" * 64, {}, endpoint, last, "/x/netns/default")


def test_settings_of_a_running_container_have_its_addresses() -> None:
    found = settings(LIVE, LIVE.saved)

    assert (found["IPAddress"], found["IPPrefixLen"], found["Gateway"]) == ("172.17.0.2", 16, "172.17.0.1")
    assert found["Networks"]["bridge"]["EndpointID"] == "e" * 64
    assert (found["SandboxID"], found["SandboxKey"]) == ("s" * 64, "/x/netns/ssss")


def test_settings_after_an_exit_keep_the_sandbox_only() -> None:
    found = settings(None, LIVE.saved)

    assert (found["IPAddress"], found["MacAddress"], found["EndpointID"]) == ("", "", "")
    assert (found["SandboxKey"], found["Networks"]["bridge"]["NetworkID"]) == ("/x/netns/ssss", "n" * 64)


def test_settings_before_the_first_start_are_empty() -> None:
    found = settings(None, None)

    assert (found["SandboxID"], found["SandboxKey"], found["Networks"]["bridge"]["NetworkID"]) == ("", "", "")


def test_settings_on_the_host_s_network_name_its_key() -> None:
    host = Endpoint("host", "s" * 64, "", "e" * 64)

    assert settings(host, host.saved, "host")["SandboxKey"] == "/x/netns/default"


def test_settings_of_another_container_s_network_have_none() -> None:
    assert settings(None, None, "container:abc")["Networks"] == {}


def test_published_ports_come_from_bindings_and_free_ports() -> None:
    config = {
        "HostConfig": {
            "PortBindings": {"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostIp": "127.0.0.1"}]}
        }
    }

    assert documents.published(config, "172.17.0.2", {"udp 127.0.0.1 32768"}) == (
        PublishedPort("tcp", "0.0.0.0", 8080, "172.17.0.2", 80),
        PublishedPort("udp", "127.0.0.1", 32769, "172.17.0.2", 53),
    )


def test_published_port_that_is_taken_is_refused() -> None:
    config = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}

    with pytest.raises(EngineError, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated"):
        documents.published(config, "172.17.0.2", {"tcp 0.0.0.0 8080"})


def test_fixed_address_on_the_default_bridge_is_refused() -> None:
    config = {"EndpointsConfig": {"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}}

    with pytest.raises(EngineError, match="user defined networks only"):
        documents.asked_address(config)
