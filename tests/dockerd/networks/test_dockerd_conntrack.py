"""What the kernel remembers of connections is forgotten for some addresses and ports, and for no others."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading

import pytest

from sixhops.dockerd.networks import conntrack
from sixhops.dockerd.networks.netlinkmessages import DUMP, Messages
from sixhops.linux import loopback
from sixhops.linux.namespaces import FLAGS, unshare

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables") is None, reason="iptables is not installed"),
]


def remembered() -> int:
    with Messages(12) as messages:
        return len(messages.ask(0x101, bytes([socket.AF_INET, 0, 0, 0]), DUMP))


def test_connections_of_addresses_and_ports_are_forgotten() -> None:
    counted = []

    def run() -> None:
        unshare(FLAGS["network"])
        loopback.bring_up()
        rule = ["iptables", "-w", "-A", "OUTPUT", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"]
        subprocess.run(rule, check=True, capture_output=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for host, port in (("127.0.0.2", 9000), ("127.0.0.3", 9000), ("127.0.0.4", 9001)):
                sender.sendto(b"x", (host, port))
        counted.append(remembered())
        for forget, what in (
            (conntrack.forget_addresses, []),
            (conntrack.forget_addresses, ["127.0.0.9", "fd00::1"]),
            (conntrack.forget_addresses, ["127.0.0.2"]),
            (conntrack.forget_datagrams, {9002}),
            (conntrack.forget_datagrams, {9001}),
        ):
            forget(what)
            counted.append(remembered())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)

    assert counted == [3, 3, 3, 2, 2, 1]


def test_a_kernel_that_can_not_be_asked_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(protocol: int) -> Messages:
        raise OSError(93, "Protocol not supported", protocol)

    monkeypatch.setattr(conntrack, "Messages", refuse)

    conntrack.forget_addresses(["10.0.0.1"])
