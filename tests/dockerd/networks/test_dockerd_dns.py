"""Messages of the embedded DNS server, and what it finds for which name."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from sixhops.dockerd.networks import dnsmessage
from sixhops.dockerd.networks.dnsmessage import TYPE_A, TYPE_AAAA, TYPE_PTR
from sixhops.dockerd.networks.model import Endpoint, Sandbox
from sixhops.dockerd.networks.resolver import (
    Forwarding,
    Names,
    Resolver,
    add_names,
    remove_names,
    resolve,
    reverse,
)


def question(name: str, kind: int = TYPE_A, *, number: int = 7, tail: bytes = b"") -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1 if tail else 0)
    return header + labels + b"\0" + struct.pack("!HH", kind, 1) + tail


def endpoint(network: str, address: str, *names: str, address6: str = "", links: str = "") -> Endpoint:
    found = Endpoint(
        f"{network}-{address}",
        network,
        f"id-{network}",
        "bridge",
        address,
        address6=address6,
        names=list(names),
    )
    if links:
        name, _, alias = links.partition(":")
        found.links = {alias: name}
    return found


@pytest.fixture
def names() -> Names:
    found: Names = {}
    add_names(found, endpoint("lan", "10.0.0.2", "web", "www", address6="fd00::2"))
    add_names(found, endpoint("lan", "10.0.0.3", "db", "store"))
    add_names(found, endpoint("lan", "10.0.0.4", "db2", "store"))
    add_names(found, endpoint("other", "10.1.0.2", "web"))
    return found


LAN = Sandbox("c", "s", "/x", [endpoint("lan", "10.0.0.9", "me", links="db:database")])
BOTH = Sandbox("c", "s", "/x", [endpoint("lan", "10.0.0.9", "me"), endpoint("other", "10.1.0.9", "me")])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("web", ["10.0.0.2"]),
        ("WWW", ["10.0.0.2"]),
        ("web.lan", ["10.0.0.2"]),
        ("web.other", None),
        ("database", ["10.0.0.3"]),
        ("nobody", None),
        ("web.example.org", None),
    ],
)
def test_names_on_one_network(names: Names, name: str, found: list[str] | None) -> None:
    assert resolve(name, TYPE_A, LAN, names) == found


def test_a_name_on_two_networks_is_the_first_s_and_each_network_s(names: Names) -> None:
    assert resolve("web", TYPE_A, BOTH, names) == ["10.0.0.2"]
    assert resolve("web.other", TYPE_A, BOTH, names) == ["10.1.0.2"]


def test_a_shared_alias_gives_all_addresses(names: Names) -> None:
    found = resolve("store", TYPE_A, LAN, names)

    assert found is not None
    assert sorted(found) == ["10.0.0.3", "10.0.0.4"]


def test_addresses_of_the_other_kind_make_the_answer_empty(names: Names) -> None:
    assert resolve("web", TYPE_AAAA, LAN, names) == ["fd00::2"]
    assert resolve("db", TYPE_AAAA, LAN, names) == []


def test_names_go_with_their_endpoint(names: Names) -> None:
    remove_names(names, endpoint("lan", "10.0.0.3", "db", "store"))

    assert resolve("db", TYPE_A, LAN, names) is None
    assert resolve("store", TYPE_A, LAN, names) == ["10.0.0.4"]


def test_the_name_of_an_address(names: Names) -> None:
    assert reverse("10.0.0.3", LAN, names) == "db.lan"
    assert reverse("fd00::2", LAN, names) == "web.lan"
    assert reverse("10.1.0.2", LAN, names) == ""


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.0.10.in-addr.arpa", "10.0.0.2"),
        (f"2.{'0.' * 27}0.d.f.ip6.arpa".replace("0.0.d.f", "0.0.d.f"), "fd00::2"),
        ("x.in-addr.arpa", ""),
        ("example.org", ""),
    ],
)
def test_reverse_names(name: str, address: str) -> None:
    assert dnsmessage.reverse_address(name) == address


def test_an_answer_repeats_the_question_and_has_the_addresses() -> None:
    query = dnsmessage.parse(question("web"))

    data = dnsmessage.answer(query, ["10.0.0.2"])

    assert data[:12] == struct.pack("!HHHHHH", 7, 0x8180, 1, 1, 0, 0)
    assert data.endswith(b"\xc0\x0c\0\1\0\1\0\0\x02\x58\0\4\x0a\0\0\2")


def test_a_name_is_answered_as_one() -> None:
    query = dnsmessage.parse(question("2.0.0.10.in-addr.arpa", TYPE_PTR))

    assert dnsmessage.answer(query, ["db.lan"]).endswith(b"\0\x08\x02db\x03lan\0")


def test_an_answer_too_long_for_udp_says_so() -> None:
    plain = dnsmessage.parse(question("web"))
    large = dnsmessage.parse(question("web", tail=b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0)))
    addresses = [f"10.0.0.{number}" for number in range(1, 60)]

    assert dnsmessage.truncated(plain, dnsmessage.answer(plain, addresses))[2] & 0x02
    assert not dnsmessage.truncated(large, dnsmessage.answer(large, addresses))[2] & 0x02


@pytest.mark.parametrize("length", range(len(question("web"))))
def test_torn_queries_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        dnsmessage.parse(question("web")[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"\0\7\x81\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1",
        b"\0\7\1\0\0\2\0\0\0\0\0\0\3web\0\0\1\0\1",
        b"\0\7\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
    ],
)
def test_what_is_no_query(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        dnsmessage.parse(data)


def serve(names: Names, forwarding: Forwarding, data: bytes, kind: int) -> bytes | None:
    async def ask() -> bytes | None:
        return await Resolver(LAN, names, forwarding).answer(data, kind)

    return asyncio.run(ask())


def nowhere(_server: str, _kind: int) -> socket.socket:
    raise OSError("no way out")


def test_a_known_name_is_not_passed_on(names: Names) -> None:
    data = serve(names, Forwarding(["192.0.2.1"], nowhere), question("web"), socket.SOCK_DGRAM)

    assert data is not None
    assert data.endswith(b"\x0a\0\0\2")


def test_no_server_no_answer(names: Names) -> None:
    assert serve(names, Forwarding(["192.0.2.1"], nowhere), question("nobody"), socket.SOCK_DGRAM) is None


def test_single_words_stay_inside_when_ndots_is_set(names: Names) -> None:
    forwarding = Forwarding(["192.0.2.1"], nowhere, has_ndots=True)

    data = serve(names, forwarding, question("nobody"), socket.SOCK_DGRAM)

    assert data is not None
    assert data[3] & 0xF == 0
    assert data[6:8] == b"\0\0"
