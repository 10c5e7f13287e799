"""The rules of the packet filter around the bridge, with Docker's chains, names and order (iptables-save of dockerd 20.10).

Each change is one run of `iptables-restore --noflush`, which takes all of its lines or none. Rules in chains that are not
ours are removed one by one, and only those that we put there.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import system

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Iterable, Sequence

__all__ = ["Firewall", "PublishedPort"]

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_FILTER_CHAINS = ("DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-USER")
_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the host that leads to a port of a container."""

    protocol: str
    host_address: str
    host_port: int
    address: str
    port: int


class Firewall:
    """The rules for one bridge. Methods block; call them on a worker thread."""

    def __init__(self, bridge: str, subnet: ipaddress.IPv4Network, *, masquerade: bool) -> None:
        self._bridge = bridge
        self._subnet = subnet
        self._masquerade = masquerade
        self._set_forwarding = False

    def install(self) -> None:
        """Put up chains and rules, whether or not some are there already. Raises EngineError 500."""
        if _FORWARDING.read_text().strip() != "1":
            _FORWARDING.write_text("1")
            self._set_forwarding = True
        present = _save()
        filter_lines = [
            "*filter",
            *(f":{chain} - [0:0]" for chain in _FILTER_CHAINS if chain != "DOCKER-USER"),
        ]
        # what users wrote into their own chain stays
        if ":DOCKER-USER " not in present:
            filter_lines += [":DOCKER-USER - [0:0]", "-A DOCKER-USER -j RETURN"]
        filter_lines += _deletions(self._forward_rules(), present)
        filter_lines += [f"-A {rule}" for rule in self._isolation_rules()]
        filter_lines += [f"-I {rule}" for rule in reversed(self._forward_rules())]
        if self._set_forwarding:
            filter_lines.append(":FORWARD DROP [0:0]")
        nat_lines = ["*nat", ":DOCKER - [0:0]", *_deletions(self._nat_rules(), present)]
        nat_lines += [f"-A {rule}" for rule in (*self._nat_rules(), f"DOCKER -i {self._bridge} -j RETURN")]
        _restore([*filter_lines, "COMMIT", *nat_lines, "COMMIT"])

    def remove(self) -> None:
        """Take down what `install` put up; what is gone already does not matter. Raises EngineError 500."""
        present = _save()
        if ":DOCKER " not in present:
            return
        lines = ["*filter", *_deletions(self._forward_rules(), present)]
        chains = [chain for chain in _FILTER_CHAINS if f":{chain} " in present and chain != "DOCKER-USER"]
        lines += [*(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains)]
        if _rules_of(present, "DOCKER-USER") == ["-A DOCKER-USER -j RETURN"]:
            lines += ["-F DOCKER-USER", "-X DOCKER-USER"]
        if self._set_forwarding:
            lines.append(":FORWARD ACCEPT [0:0]")
        lines += [
            "COMMIT",
            "*nat",
            *_deletions(self._nat_rules(), present),
            "-F DOCKER",
            "-X DOCKER",
            "COMMIT",
        ]
        _restore(lines)
        if self._set_forwarding:
            _FORWARDING.write_text("0")
            self._set_forwarding = False

    def publish(self, ports: Sequence[PublishedPort]) -> None:
        """Let the host's ports lead to a container. Raises EngineError 500."""
        self._change("-A", ports)

    def withdraw(self, ports: Sequence[PublishedPort]) -> None:
        """Undo `publish`. Raises EngineError 500."""
        self._change("-D", ports)

    def _change(self, action: str, ports: Sequence[PublishedPort]) -> None:
        ports = [port for port in ports if ":" not in port.host_address]
        if not ports:
            return
        lines = ["*filter"]
        lines += [
            f"{action} DOCKER -d {port.address}/32 ! -i {self._bridge} -o {self._bridge} -p {port.protocol} "
            f"-m {port.protocol} --dport {port.port} -j ACCEPT"
            for port in ports
        ]
        lines += ["COMMIT", "*nat"]
        for port in ports:
            to = f"-p {port.protocol} -m {port.protocol} --dport"
            where = "" if port.host_address == "0.0.0.0" else f"-d {port.host_address}/32 "
            lines += [
                f"{action} POSTROUTING -s {port.address}/32 -d {port.address}/32 {to} {port.port} -j MASQUERADE",
                (
                    f"{action} DOCKER {where}! -i {self._bridge} {to} {port.host_port} -j DNAT "
                    f"--to-destination {port.address}:{port.port}"
                ),
            ]
        _restore([*lines, "COMMIT"])

    def _forward_rules(self) -> tuple[str, ...]:
        bridge = self._bridge
        return (
            "FORWARD -j DOCKER-USER",
            "FORWARD -j DOCKER-ISOLATION-STAGE-1",
            f"FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            f"FORWARD -o {bridge} -j DOCKER",
            f"FORWARD -i {bridge} ! -o {bridge} -j ACCEPT",
            f"FORWARD -i {bridge} -o {bridge} -j ACCEPT",
        )

    def _isolation_rules(self) -> tuple[str, ...]:
        bridge = self._bridge
        return (
            f"DOCKER-ISOLATION-STAGE-1 -i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2",
            "DOCKER-ISOLATION-STAGE-1 -j RETURN",
            f"DOCKER-ISOLATION-STAGE-2 -o {bridge} -j DROP",
            "DOCKER-ISOLATION-STAGE-2 -j RETURN",
        )

    def _nat_rules(self) -> tuple[str, ...]:
        rules = [
            "PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
            "OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
        ]
        if self._masquerade:
            rules.append(f"POSTROUTING -s {self._subnet} ! -o {self._bridge} -j MASQUERADE")
        return tuple(rules)


def _deletions(rules: Iterable[str], present: str) -> list[str]:
    lines = present.splitlines()
    return [f"-D {rule}" for rule in rules for _ in range(lines.count(f"-A {rule}"))]


def _rules_of(present: str, chain: str) -> list[str]:
    return [line for line in present.splitlines() if line.startswith(f"-A {chain} ")]


def _save() -> str:
    return _run(["iptables-save"], "")


def _restore(lines: Sequence[str]) -> None:
    _run(["iptables-restore", "--noflush", "--wait"], "\n".join(lines) + "\n")


def _run(command: list[str], text: str) -> str:
    try:
        result = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise system(
            f"failed to find {command[0]}: install iptables, or start with --iptables=false"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise system(f"{command[0]} did not end within {_TIMEOUT:g} s") from error
    if result.returncode:
        raise system(f"{command[0]} failed: {result.stderr.strip()}")
    return result.stdout
