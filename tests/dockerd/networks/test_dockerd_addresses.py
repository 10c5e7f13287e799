from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

import pytest

from sixhops.dockerd.errors import EngineError
from sixhops.dockerd.networks.addresses import AddressPool, choose_subnet, mac_of


def test_choose_subnet_takes_the_first_free_pool() -> None:
    used = [IPv4Network("0.0.0.0/0"), IPv4Network("172.17.5.0/24"), IPv4Network("172.18.0.0/16")]

    assert str(choose_subnet("", [])) == "172.17.0.1/16"
    assert str(choose_subnet("", used)) == "172.19.0.1/16"


def test_choose_subnet_follows_bip() -> None:
    assert str(choose_subnet("10.9.0.5/24", [])) == "10.9.0.5/24"
    with pytest.raises(EngineError, match="invalid CIDR address: x"):
        choose_subnet("x", [])


def test_mac_ends_in_the_address() -> None:
    assert mac_of(bytes([172, 17, 0, 2])) == "02:42:ac:11:00:02"


def test_pool_gives_each_address_once_and_never_the_bridge_s_own() -> None:
    pool = AddressPool(IPv4Interface("10.0.0.1/30"))

    assert pool.give() == "10.0.0.2"
    with pytest.raises(EngineError, match="no available IPv4 addresses"):
        pool.give()
    for text in ("10.0.0.2", "10.0.0.1"):
        pool.take_back(text)
    assert pool.give() == "10.0.0.2"
    with pytest.raises(EngineError):
        pool.give()


def test_pool_gives_what_is_asked_for_if_it_can() -> None:
    pool = AddressPool(IPv4Interface("10.0.0.1/24"))

    assert pool.give("10.0.0.7") == "10.0.0.7"
    for text, message in (
        ("10.0.0.7", "Address already in use"),
        ("11.0.0.1", "no configured subnet"),
        ("x", "invalid IP"),
    ):
        with pytest.raises(EngineError, match=message):
            pool.give(text)


def test_pool_notes_what_survived_a_restart() -> None:
    pool = AddressPool(IPv4Interface("10.0.0.1/24"))
    pool.take("10.0.0.2")

    assert pool.give() == "10.0.0.3"
