"""Rules of published ports in a packet filter of the test's own, written and taken away again."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from sixhops.dockerd.networks.firewall import Firewall
from sixhops.dockerd.networks.model import PublishedPort
from sixhops.linux.namespaces import FLAGS, unshare

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]

_PORTS = [
    PublishedPort("sctp", "0.0.0.0", 8080, "10.0.0.2", 80),
    PublishedPort("sctp", "127.0.0.1", 8081, "10.0.0.2", 80),
    PublishedPort("udp", "0.0.0.0", 8080, "10.0.0.2", 53),
    PublishedPort("sctp", "::", 8080, "10.0.0.2", 80),
]


def rules() -> list[str]:
    saved = subprocess.run(["iptables-save"], check=True, capture_output=True, text=True).stdout
    return [
        line
        for line in saved.splitlines()
        if (line.startswith("-A") and "10.0.0.2" in line) or "sctp" in line
    ]


def in_own_network(scene: Callable[[], None]) -> None:
    failure: list[BaseException] = []

    def run() -> None:
        try:
            unshare(FLAGS["network"])
            scene()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    if failure:
        raise failure[0]


def test_published_ports_of_sctp_have_rules_as_others_and_their_checksums_filled() -> None:
    def scene() -> None:
        firewall = Firewall()
        firewall.install()
        firewall.publish("br", _PORTS)
        assert sorted(rules()) == [
            "-A DOCKER ! -i br -p sctp -m sctp --dport 8080 -j DNAT --to-destination 10.0.0.2:80",
            "-A DOCKER ! -i br -p udp -m udp --dport 8080 -j DNAT --to-destination 10.0.0.2:53",
            "-A DOCKER -d 10.0.0.2/32 ! -i br -o br -p sctp -m sctp --dport 80 -j ACCEPT",
            "-A DOCKER -d 10.0.0.2/32 ! -i br -o br -p udp -m udp --dport 53 -j ACCEPT",
            "-A DOCKER -d 127.0.0.1/32 ! -i br -p sctp -m sctp --dport 8081 -j DNAT --to-destination 10.0.0.2:80",
            "-A POSTROUTING -p sctp -m sctp --sport 80 -j CHECKSUM --checksum-fill",
            "-A POSTROUTING -s 10.0.0.2/32 -d 10.0.0.2/32 -p sctp -m sctp --dport 80 -j MASQUERADE",
            "-A POSTROUTING -s 10.0.0.2/32 -d 10.0.0.2/32 -p udp -m udp --dport 53 -j MASQUERADE",
        ]
        firewall.withdraw("br", _PORTS)
        assert rules() == []

    in_own_network(scene)
