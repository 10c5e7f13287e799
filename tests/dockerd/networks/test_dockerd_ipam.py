"""Which subnets networks get and which addresses endpoints, with upstream's refusals."""

from __future__ import annotations

import ipaddress
import re

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.networks.ipam import (
    AddressSpace,
    IpNetwork,
    Subnet,
    check_pools,
    fill,
    mac_of,
    parse_pool,
)

Ip = ipaddress.ip_address


def network(text: str) -> IpNetwork:
    return ipaddress.ip_network(text)


def test_pools_are_given_in_turn_and_not_at_once_again() -> None:
    space = AddressSpace()

    first = space.choose(4, [])
    space.release(first)

    assert str(first) == "172.17.0.0/16"
    assert str(space.choose(4, [])) == "172.18.0.0/16"


def test_a_pool_that_a_route_of_the_host_uses_is_left_out() -> None:
    space = AddressSpace()

    assert str(space.choose(4, [network("172.17.5.0/24"), network("0.0.0.0/0")])) == "172.18.0.0/16"


def test_pools_of_the_users_come_to_an_end() -> None:
    space = AddressSpace([("10.9.0.0/23", 24)])

    found = [str(space.choose(4, [])), str(space.choose(4, []))]

    assert found == ["10.9.0.0/24", "10.9.1.0/24"]
    with pytest.raises(
        EngineError, match="could not find an available, non-overlapping IPv4 address pool"
    ) as error:
        space.choose(4, [])
    assert error.value.status == 404


def test_there_is_no_default_pool_for_ipv6() -> None:
    with pytest.raises(EngineError, match="non-overlapping IPv6"):
        AddressSpace().choose(6, [])


@pytest.mark.parametrize("second", ["10.5.0.0/16", "10.5.7.0/24", "10.0.0.0/8"])
def test_overlapping_subnets_are_refused(second: str) -> None:
    space = AddressSpace()
    space.reserve(network("10.5.0.0/16"))

    with pytest.raises(EngineError, match="Pool overlaps with other one on this address space") as error:
        space.reserve(network(second))
    assert error.value.status == 403


def test_the_lowest_free_address_is_given_and_given_again() -> None:
    subnet = Subnet(network("10.0.0.0/29"))

    first, second = subnet.give(), subnet.give()
    subnet.take_back(first)

    assert (str(first), str(second), str(subnet.give())) == ("10.0.0.1", "10.0.0.2", "10.0.0.1")


def test_a_range_bounds_what_is_given_but_not_what_is_asked_for() -> None:
    subnet = Subnet(network("10.0.0.0/16"), network("10.0.5.0/30"))

    assert str(subnet.give()) == "10.0.5.0"
    assert str(subnet.give(Ip("10.0.9.9"))) == "10.0.9.9"


def test_a_range_outside_of_the_subnet_counts_as_none() -> None:
    assert str(Subnet(network("10.0.0.0/16"), network("10.9.0.0/24")).give()) == "10.0.0.1"


def test_addresses_run_out() -> None:
    subnet = Subnet(network("10.0.0.0/30"))
    subnet.give()
    subnet.give()

    with pytest.raises(EngineError, match="No available addresses"):
        subnet.give()


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("10.0.0.0", 403, "already in use"),
        ("10.0.0.255", 403, "already in use"),
        ("10.0.1.0", 500, "out of range"),
        ("fd00::1", 500, "out of range"),
    ],
)
def test_addresses_that_cannot_be(text: str, status: int, message: str) -> None:
    with pytest.raises(EngineError, match=message) as error:
        Subnet(network("10.0.0.0/24")).give(Ip(text))
    assert error.value.status == status


def test_gateway_and_auxiliary_addresses_are_taken() -> None:
    subnet = Subnet(network("10.0.0.0/24"))

    gateway = fill(subnet, None, {"printer": "10.0.0.2"}, "lan")

    assert (str(gateway), str(subnet.give())) == ("10.0.0.1", "10.0.0.3")


@pytest.mark.parametrize(
    ("gateway", "auxiliary", "message"),
    [
        (
            "10.9.0.1",
            {},
            r"500 failed to allocate gateway \(10.9.0.1\): Requested address is out of range",
        ),
        (
            None,
            {"a": "10.0.0.1"},
            r"500 failed to allocate secondary ip address \(a:10.0.0.1\): Address already in use",
        ),
        (
            None,
            {"a": "10.9.0.1"},
            r"403 auxiliary address: \(a:10.9.0.1\) must belong to the master pool: 10.0.0.0/24",
        ),
        (None, {"a": "zz"}, r"500 non parsable secondary ip address \(a:zz\) passed for network lan"),
    ],
)
def test_what_a_subnet_cannot_be_filled_with(
    gateway: str | None, auxiliary: dict[str, str], message: str
) -> None:
    with pytest.raises(EngineError) as error:
        fill(Subnet(network("10.0.0.0/24")), Ip(gateway) if gateway else None, auxiliary, "lan")
    assert re.fullmatch(message, f"{error.value.status} {error.value.message}")


def test_hardware_addresses_end_in_the_ipv4_address() -> None:
    assert mac_of(Ip("172.17.0.2").packed) == "02:42:ac:11:00:02"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("foo=1", "unexpected key 'foo' in 'foo=1'"),
        (
            "base=10.0.0.0/16,size=q",
            'invalid size value: "q" (must be integer): strconv.Atoi: parsing "q": invalid syntax',
        ),
    ],
)
def test_pools_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        parse_pool(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (("x", 8), 'invalid base pool "x": invalid CIDR address: x'),
        (("10.0.0.0/16", 8), "invalid pools size: 8"),
        (("10.0.0.0/8", 0), "invalid pools size: 0"),
    ],
)
def test_pools_that_cannot_be(pool: tuple[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        check_pools([pool])
    assert str(error.value) == message
