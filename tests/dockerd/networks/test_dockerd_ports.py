"""Published ports: what requests say, which ports of the host they get, and the refusals."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.dockerd.networks.ports import (
    Binding,
    PortError,
    Ports,
    asked_ports,
    parse_range,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ports(tmp_path: Path) -> Ports:
    with socket.socket() as probe:
        # some range that nobody else uses: the port that the kernel has just given, and two more
        probe.bind(("127.0.0.1", 0))
        first = probe.getsockname()[1]
    path = tmp_path / "range"
    path.write_text(f"{first}\t{first + 200}\n")
    return Ports(path)


def asked(ports: dict[str, Any], exposed: list[str], **host: Any) -> list[Binding]:
    return asked_ports({"ExposedPorts": {key: {} for key in exposed}}, {"PortBindings": ports, **host})


def test_only_exposed_ports_are_published() -> None:
    assert asked({"80/tcp": [{"HostPort": "8080"}]}, []) == []


def test_high_ports_of_the_host_come_first() -> None:
    found = asked({"80/tcp": [{"HostPort": "1"}], "81/tcp": [{"HostPort": "2"}]}, ["80/tcp", "81/tcp"])

    assert [binding.first for binding in found] == [2, 1]


def test_bindings_of_one_port_are_taken_from_the_last() -> None:
    found = asked({"80/tcp": [{"HostIp": "127.0.0.1"}, {"HostIp": "127.0.0.2"}]}, ["80/tcp"])

    assert [binding.host for binding in found] == ["127.0.0.2", "127.0.0.1"]


def test_all_exposed_ports_are_published_on_request() -> None:
    found = asked({}, ["80/tcp", "53/udp"], PublishAllPorts=True)

    assert {(binding.port, binding.protocol, binding.first) for binding in found} == {
        (80, "tcp", 0),
        (53, "udp", 0),
    }


def test_an_address_that_is_none_is_left_out() -> None:
    assert asked({"80/tcp": [{"HostIp": "zz", "HostPort": "1"}]}, ["80/tcp"])[0].host == ""


@pytest.mark.parametrize("text", ["70000", "x", "9-5", "1-2-3", "-1", "1-"])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_range(text)


def test_ports_are_held_until_they_are_given_back(ports: Ports) -> None:
    host = "127.77.0.3"  # nobody else connects from there: what is given back stays free

    (first,) = ports.bind([Binding(80, "tcp", host)], "", "172.17.0.2", "", proxied=True)
    with contextlib.closing(socket.socket()) as other, pytest.raises(OSError, match="in use"):
        other.bind((host, first.host_port))
    ports.free([first])
    with contextlib.closing(socket.socket()) as other:
        other.bind((host, first.host_port))


def test_free_ports_are_given_in_turn(ports: Ports) -> None:
    binding = Binding(80, "udp", "127.0.0.1")

    first, second = ports.bind([binding, binding], "", "172.17.0.2", "", proxied=True)
    ports.free([first])
    (third,) = ports.bind([binding], "", "172.17.0.2", "", proxied=True)

    assert first.host_port < second.host_port < third.host_port
    ports.free([second, third])


def test_a_port_that_is_published_already(ports: Ports) -> None:
    (first,) = ports.bind([Binding(80, "tcp", "127.0.0.1")], "", "172.17.0.2", "", proxied=True)
    same = Binding(80, "tcp", "127.0.0.1", first.host_port, first.host_port)

    with pytest.raises(PortError) as error:
        ports.bind([same], "", "172.17.0.3", "", proxied=True)
    assert str(error.value) == f"Bind for 127.0.0.1:{first.host_port} failed: port is already allocated"
    ports.free([first])


def test_a_port_that_another_program_has(ports: Ports) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        with pytest.raises(PortError) as error:
            ports.bind([Binding(80, "tcp", "127.0.0.1", number, number)], "", "172.17.0.2", "", proxied=True)
    assert str(error.value) == (
        f"Error starting userland proxy: listen tcp4 127.0.0.1:{number}: bind: address already in use"
    )


def test_what_fails_half_way_gives_back_the_rest(ports: Ports) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(PortError):
            ports.bind(
                [
                    Binding(80, "udp", "127.0.0.1", taken, taken),
                    Binding(80, "tcp", "127.0.0.1", taken, taken),
                ],
                "",
                "172.17.0.2",
                "",
                proxied=True,
            )
    (again,) = ports.bind([Binding(80, "udp", "127.0.0.1", taken, taken)], "", "1.2.3.4", "", proxied=True)
    ports.free([again])


def test_a_protocol_that_is_none(ports: Ports) -> None:
    with pytest.raises(PortError, match="invalid transport protocol: 0"):
        ports.bind([Binding(80, "foo", "", 1, 1)], "", "172.17.0.2", "", proxied=True)


def test_the_network_s_own_address_of_the_host_stands_for_an_unsaid_one(ports: Ports) -> None:
    found = ports.bind([Binding(80, "tcp")], "127.0.0.1", "172.17.0.2", "", proxied=True)

    assert [port.host_address for port in found] == ["127.0.0.1"]
    ports.free(found)


def test_a_range_goes_round(ports: Ports) -> None:
    """What was given back comes last; each address of the host has its own turn."""
    with socket.socket() as probe:
        probe.bind(("127.77.0.1", 0))
        first = probe.getsockname()[1]
    binding = [Binding(80, "tcp", "127.77.0.1", first, first + 1)]
    found = []
    for _ in range(3):
        published = ports.bind(binding, "", "10.0.0.2", "", proxied=True)
        found.append(published[0].host_port - first)
        ports.free(published)
    other = ports.bind([Binding(80, "tcp", "127.77.0.2", first, first + 1)], "", "10.0.0.2", "", proxied=True)
    found.append(other[0].host_port - first)
    ports.free(other)

    assert found == [0, 1, 0, 0]


def test_a_port_of_another_program_ends_a_range_and_is_passed_over_the_next_time(ports: Ports) -> None:
    with socket.create_server(("127.77.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        binding = [Binding(80, "tcp", "127.77.0.1", first, first + 1)]
        with pytest.raises(PortError, match="address already in use"):
            ports.bind(binding, "", "10.0.0.2", "", proxied=True)
        published = ports.bind(binding, "", "10.0.0.2", "", proxied=True)

    assert published[0].host_port == first + 1
    ports.free(published)
