"""The rules of the packet filter around the bridges, with Docker's chains, names and order (iptables-save of dockerd 20.10).

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
    from collections.abc import Iterable, Sequence

    from sixhops.dockerd.networks.model import PublishedPort

__all__ = ["BridgeRules", "Firewall", "link_rules", "restore_rules"]

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_FILTER_CHAINS = ("DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-USER")
_JUMPS = ("FORWARD -j DOCKER-USER", "FORWARD -j DOCKER-ISOLATION-STAGE-1")
_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class BridgeRules:
    """What the rules of one bridge depend on: its interface, its IPv4 subnet, and what containers on it may do.

    `hairpin`: there is no userland proxy, so the host and the containers reach published ports through the rules alone.
    """

    bridge: str
    subnet: str
    masquerade: bool = True
    icc: bool = True
    internal: bool = False
    hairpin: bool = False

    def forward(self) -> list[str]:
        """Return the rules at the head of FORWARD."""
        bridge = self.bridge
        inner = [f"FORWARD -i {bridge} -o {bridge} -j ACCEPT"] if self.icc else []
        if self.internal:
            return inner
        return [
            f"FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            f"FORWARD -o {bridge} -j DOCKER",
            f"FORWARD -i {bridge} ! -o {bridge} -j ACCEPT",
            *inner,
        ]

    def forward_last(self) -> list[str]:
        """Return the rules at the end of FORWARD."""
        return [] if self.icc else [f"FORWARD -i {self.bridge} -o {self.bridge} -j DROP"]

    def isolation(self) -> list[str]:
        """Return the rules at the head of the two stages of isolation."""
        bridge, subnet = self.bridge, self.subnet
        if self.internal:
            return [
                f"DOCKER-ISOLATION-STAGE-1 ! -s {subnet} -o {bridge} -j DROP",
                f"DOCKER-ISOLATION-STAGE-1 ! -d {subnet} -i {bridge} -j DROP",
            ]
        return [
            f"DOCKER-ISOLATION-STAGE-1 -i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2",
            f"DOCKER-ISOLATION-STAGE-2 -o {bridge} -j DROP",
        ]

    def nat(self) -> list[str]:
        """Return the rules at the head of POSTROUTING and of DOCKER."""
        if self.internal:
            return []
        rules = []
        if self.masquerade:
            rules.append(f"POSTROUTING -s {self.subnet} ! -o {self.bridge} -j MASQUERADE")
        if self.hairpin:
            rules.append(f"POSTROUTING -o {self.bridge} -m addrtype --src-type LOCAL -j MASQUERADE")
        elif self.masquerade:
            rules.append(f"DOCKER -i {self.bridge} -j RETURN")
        return rules


class Firewall:
    """The rules of one engine. Methods block; call them on a worker thread."""

    def __init__(self, *, hairpin: bool = False) -> None:
        self._hairpin = hairpin
        self._set_forwarding = False

    def install(self) -> None:
        """Put up the chains and the jumps to them, whether or not some are there already. Raises EngineError 500."""
        if _FORWARDING.read_text().strip() != "1":
            _FORWARDING.write_text("1")
            self._set_forwarding = True
        present = _save()
        lines = ["*filter", *(f":{chain} - [0:0]" for chain in _FILTER_CHAINS if chain != "DOCKER-USER")]
        # what users wrote into their own chain stays
        if ":DOCKER-USER " not in present:
            lines += [":DOCKER-USER - [0:0]", "-A DOCKER-USER -j RETURN"]
        lines += _deletions(_JUMPS, present)
        lines += ["-A DOCKER-ISOLATION-STAGE-1 -j RETURN", "-A DOCKER-ISOLATION-STAGE-2 -j RETURN"]
        lines += [f"-I {rule}" for rule in reversed(_JUMPS)]
        if self._set_forwarding:
            lines.append(":FORWARD DROP [0:0]")
        lines += ["COMMIT", "*nat", ":DOCKER - [0:0]", *_deletions(self._nat_jumps(), present)]
        lines += [f"-A {rule}" for rule in self._nat_jumps()]
        restore_rules([*lines, "COMMIT"])

    def remove(self) -> None:
        """Take down what `install` put up; what is gone already does not matter. Raises EngineError 500."""
        present = _save()
        if ":DOCKER " not in present:
            return
        lines = ["*filter", *_deletions(_JUMPS, present)]
        chains = [chain for chain in _FILTER_CHAINS if f":{chain} " in present and chain != "DOCKER-USER"]
        lines += [*(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains)]
        if _rules_of(present, "DOCKER-USER") == ["-A DOCKER-USER -j RETURN"]:
            lines += ["-F DOCKER-USER", "-X DOCKER-USER"]
        if self._set_forwarding:
            lines.append(":FORWARD ACCEPT [0:0]")
        nat = ["*nat", *_deletions(self._nat_jumps(), present), "-F DOCKER", "-X DOCKER", "COMMIT"]
        restore_rules([*lines, "COMMIT", *nat])
        if self._set_forwarding:
            _FORWARDING.write_text("0")
            self._set_forwarding = False

    def add_bridge(self, rules: BridgeRules) -> None:
        """Put up the rules of a bridge, in front of other bridges'; the users' chain stays first. Raises EngineError 500."""
        present = _save()
        lines = ["*filter", *_deletions((*_JUMPS, *_filter_rules(rules)), present)]
        lines += [f"-I {rule}" for rule in reversed(rules.isolation())]
        lines += [f"-I {rule}" for rule in reversed([*_JUMPS, *rules.forward()])]
        lines += [f"-A {rule}" for rule in rules.forward_last()]
        nat = ["*nat", *_deletions(rules.nat(), present), *(f"-I {rule}" for rule in rules.nat())]
        restore_rules([*lines, "COMMIT", *nat, "COMMIT"])

    def remove_bridge(self, rules: BridgeRules) -> None:
        """Undo `add_bridge`, and take away whatever else our chains say of the bridge. Raises EngineError 500."""
        present = _save()
        own = {
            table: [
                line[3:]
                for line in _table(present, table)
                if line.startswith("-A DOCKER") and f" {rules.bridge} " in f"{line} "
            ]
            for table in ("filter", "nat")
        }
        lines = ["*filter", *_deletions((*rules.forward(), *rules.forward_last()), present)]
        lines += [f"-D {rule}" for rule in own["filter"]]
        nat = ["*nat", *(f"-D {rule}" for rule in own["nat"])]
        nat += _deletions([rule for rule in rules.nat() if not rule.startswith("DOCKER ")], present)
        restore_rules([*lines, "COMMIT", *nat, "COMMIT"])

    def publish(self, bridge: str, ports: Sequence[PublishedPort]) -> None:
        """Let the host's ports lead to a container on a bridge. Raises EngineError 500."""
        self._change("-A", bridge, ports)

    def withdraw(self, bridge: str, ports: Sequence[PublishedPort]) -> None:
        """Undo `publish`. Raises EngineError 500."""
        self._change("-D", bridge, ports)

    def forget(self, ports: Sequence[PublishedPort]) -> None:
        """Remove what the last engine's rules say of ports outside of our own chains. Raises EngineError 500."""
        present = _save()
        rules = dict.fromkeys(
            f"POSTROUTING -s {port.address}/32 -d {port.address}/32 {_to(port)} {port.port} -j MASQUERADE"
            for port in ports
        )
        restore_rules(["*nat", *_deletions(rules, present), "COMMIT"])

    def link(self, rules: Sequence[str]) -> None:
        """Put up rules of `link_rules`. Raises EngineError 500."""
        restore_rules(["*filter", *(f"-I {rule}" for rule in rules), "COMMIT"])

    def unlink(self, rules: Sequence[str]) -> None:
        """Undo `link`; what is gone already does not matter. Raises EngineError 500."""
        present = _save()
        restore_rules(["*filter", *_deletions(rules, present), "COMMIT"])

    def _change(self, action: str, bridge: str, ports: Sequence[PublishedPort]) -> None:
        ports = [port for port in ports if ":" not in port.host_address and ":" not in port.address]
        if not ports:
            return
        # two ports of the host may lead to one of the container, which then has one rule (iptables -C before -A upstream)
        accepts = dict.fromkeys(
            f"{action} DOCKER -d {port.address}/32 ! -i {bridge} -o {bridge} -p {port.protocol} "
            f"-m {port.protocol} --dport {port.port} -j ACCEPT"
            for port in ports
        )
        masquerades = dict.fromkeys(
            f"{action} POSTROUTING -s {port.address}/32 -d {port.address}/32 {_to(port)} {port.port} -j MASQUERADE"
            for port in ports
        )
        lines = ["*filter", *accepts, "COMMIT", "*nat", *masquerades]
        inner = "" if self._hairpin else f"! -i {bridge} "
        for port in ports:
            where = "" if port.host_address == "0.0.0.0" else f"-d {port.host_address}/32 "
            lines.append(
                f"{action} DOCKER {where}{inner}{_to(port)} {port.host_port} -j DNAT "
                f"--to-destination {port.address}:{port.port}"
            )
        # a veth leaves the checksums of SCTP to the network card, which may not know them (libnetwork, iptables.Forward)
        checksums = dict.fromkeys(
            f"{action} POSTROUTING -p sctp -m sctp --sport {port.port} -j CHECKSUM --checksum-fill"
            for port in ports
            if port.protocol == "sctp"
        )
        mangle = ["*mangle", *checksums, "COMMIT"] if checksums else []
        restore_rules([*lines, "COMMIT", *mangle])

    def _nat_jumps(self) -> tuple[str, str]:
        beyond = "" if self._hairpin else "! -d 127.0.0.0/8 "
        return (
            "PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
            f"OUTPUT {beyond}-m addrtype --dst-type LOCAL -j DOCKER",
        )


def link_rules(bridge: str, one: str, other: str, ports: Iterable[tuple[str, int]]) -> list[str]:
    """Return the rules that let `one` reach ports (protocol, number) of `other` where containers may not otherwise speak."""
    rules = []
    for protocol, port in ports:
        which = f"-p {protocol} -m {protocol}"
        rules += [
            f"DOCKER -s {one}/32 -d {other}/32 -i {bridge} -o {bridge} {which} --dport {port} -j ACCEPT",
            f"DOCKER -s {other}/32 -d {one}/32 -i {bridge} -o {bridge} {which} --sport {port} -j ACCEPT",
        ]
    return rules


def restore_rules(lines: Sequence[str]) -> None:
    """Carry out lines of iptables-restore, in the network of the calling thread. Raises EngineError 500."""
    _run(["iptables-restore", "--noflush", "--wait"], "\n".join(lines) + "\n")


def _to(port: PublishedPort) -> str:
    return f"-p {port.protocol} -m {port.protocol} --dport"


def _filter_rules(rules: BridgeRules) -> list[str]:
    return [*rules.forward(), *rules.forward_last(), *rules.isolation()]


def _deletions(rules: Iterable[str], present: str) -> list[str]:
    lines = present.splitlines()
    return [f"-D {rule}" for rule in rules for _ in range(lines.count(f"-A {rule}"))]


def _table(present: str, name: str) -> list[str]:
    """Return the lines of one table."""
    _, _, rest = present.partition(f"*{name}\n")
    return rest.partition("COMMIT\n")[0].splitlines()


def _rules_of(present: str, chain: str) -> list[str]:
    return [line for line in present.splitlines() if line.startswith(f"-A {chain} ")]


def _save() -> str:
    return _run(["iptables-save"], "")


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
