"""Published ports: what a request says, and which ports of the host it gets.

A port of the host is held by a bound socket for as long as it is published, so nobody else can take it, and the error for
one that somebody has is the kernel's. The sockets are what the userland proxies serve. Rules, order and messages are
those of dockerd 20.10 and its go-connections (nat).
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.networks.model import PublishedPort

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Binding", "PortError", "Ports", "asked_ports", "exposed", "parse_range"]

_LOCAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_HIGHEST = 65535
_SCTP = 132
#: How many ports that other programs have are passed over where any port will do.
_RETRIES = 9
_ANY = {4: "0.0.0.0", 6: "::"}
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


class PortError(Exception):
    """A port can't be published; the message is what follows the endpoint in the engine's own.

    `is_allocated`: a container of this engine has it.
    """

    def __init__(self, message: str, *, is_allocated: bool = False) -> None:
        super().__init__(message)
        self.is_allocated = is_allocated


@dataclass(frozen=True, slots=True)
class Binding:
    """What a request says of one port: `host` "" for any address, `first` 0 for any port, else up to `last`."""

    port: int
    protocol: str
    host: str = ""
    first: int = 0
    last: int = 0


def parse_range(text: str) -> tuple[int, int]:
    """Return first and last port of `80` or `80-90`, (0, 0) for "". Raises ValueError."""
    if not text:
        return 0, 0
    parts = text.split("-")
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]+", part) for part in parts):
        raise ValueError(text)
    first, last = int(parts[0]), int(parts[-1])
    if not 0 <= first <= last <= _HIGHEST:
        raise ValueError(text)
    return first, last


def exposed(config: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return (number, protocol) of the exposed ports; one that is no single number counts as 0, as upstream."""
    return [_split(key) for key in (config.get("ExposedPorts") or {})]


def asked_ports(config: Mapping[str, Any], host: Mapping[str, Any]) -> list[Binding]:
    """Return what is to be published, in the order in which ports are given out: only of ports that are exposed too."""
    bindings = host.get("PortBindings") or {}
    found: list[Binding] = []
    for key in config.get("ExposedPorts") or {}:
        port, protocol = _split(key)
        entries = bindings.get(key) or []
        for entry in entries:
            first, last = parse_range(entry.get("HostPort") or "")
            found.append(Binding(port, protocol, _address(entry.get("HostIp") or ""), first, last))
        if not entries and host.get("PublishAllPorts"):
            found.append(Binding(port, protocol))
    ordered: list[Binding] = []
    for binding in found:
        at = len(ordered)
        while at and _goes_first(binding, ordered[at - 1]):
            at -= 1
        ordered.insert(at, binding)
    return ordered


class Ports:
    """The ports of the host that are published. Methods block for no longer than a bind(2) does."""

    def __init__(self, local_range: Path = _LOCAL_RANGE) -> None:
        self._taken: dict[tuple[str, str, int], socket.socket] = {}
        self._last: dict[tuple[str, str, int, int], int] = {}
        self._range = local_range

    def bind(
        self, bindings: list[Binding], default: str, address: str, address6: str, *, proxied: bool
    ) -> list[PublishedPort]:
        """Publish ports of a container with `address` and perhaps `address6`; all or none. Raises PortError.

        `default` stands for an unsaid address of the host; `proxied`: there are userland proxies, which lead IPv6 to
        containers that have none.
        """
        done: list[PublishedPort] = []
        try:
            for binding in bindings:
                done += self._bind(binding, default, address, address6, proxied=proxied)
        except BaseException:
            self.free(done)
            raise
        return done

    def hold(self, ports: list[PublishedPort]) -> list[PublishedPort]:
        """Take just these ports again; all or none. Raises PortError."""
        done: list[PublishedPort] = []
        try:
            for port in ports:
                done.append(self._take(port))  # noqa: PERF401 - those before a failure are to be given back
        except BaseException:
            self.free(done)
            raise
        return done

    def free(self, ports: list[PublishedPort]) -> None:
        """Give ports back."""
        for port in ports:
            listener = self._taken.pop(_key(port), None)
            if listener is not None:
                listener.close()

    def socket(self, port: PublishedPort) -> socket.socket:
        """Return the bound socket of a published port."""
        return self._taken[_key(port)]

    def _bind(
        self, binding: Binding, default: str, address: str, address6: str, *, proxied: bool
    ) -> list[PublishedPort]:
        if binding.protocol not in _PROTOCOLS:
            raise PortError("invalid transport protocol: 0")
        pairs: list[tuple[str, str]] = []
        inner6 = address6 or (address if proxied else "")
        host = binding.host or (default if default not in {"", "0.0.0.0"} else "")
        if not host:
            pairs = [(_ANY[4], address), (_ANY[6], inner6)]
        else:
            is_six = ipaddress.ip_address(host).version == 6
            pairs = [(host, inner6 if is_six else address)]
        pairs = [(outer, inner) for outer, inner in pairs if inner and not (":" in outer and not _has_ipv6())]
        done: list[PublishedPort] = []
        try:
            # each address by itself, so that the two may get different ports of a range, as upstream
            for outer, inner in pairs:
                done.append(self._first_free(binding, outer, inner))
        except PortError:
            self.free(done)
            raise
        return done

    def _first_free(self, binding: Binding, outer: str, inner: str) -> PublishedPort:
        """Take the next port of a range that is free, after the one that was given out last."""
        first, last = (binding.first, binding.last) if binding.first else self._ephemeral()
        key = (outer, binding.protocol, first, last)
        start = self._last.get(key, last) + 1
        refused = 0
        failure: PortError | None = None
        for candidate in (*range(start, last + 1), *range(first, min(start, last + 1))):
            port = PublishedPort(binding.protocol, outer, candidate, inner, binding.port)
            try:
                self._take(port)
            except PortError as error:
                if first == last:
                    raise
                failure = error
                if error.is_allocated:
                    continue
                # one that another program has ends it where ports were asked for, as upstream
                self._last[key] = candidate
                refused += 1
                if binding.first or refused > _RETRIES:
                    raise
            else:
                if first != last:
                    self._last[key] = candidate
                return port
        raise PortError("all ports are allocated") from failure

    def _take(self, port: PublishedPort) -> PublishedPort:
        # one address for all and one address are different things here, as upstream: the bind tells
        if _key(port) in self._taken:
            raise PortError(f"Bind for {_shown(port)} failed: port is already allocated", is_allocated=True)
        self._taken[_key(port)] = _listen(port)
        return port

    def _ephemeral(self) -> tuple[int, int]:
        first, last = self._range.read_text().split()
        return int(first), int(last)


def _listen(port: PublishedPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in port.host_address else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    try:
        listener = socket.socket(family, kind, _SCTP if port.protocol == "sctp" else 0)
    except OSError as error:
        raise PortError(f"Error starting userland proxy: {os.strerror(error.errno or 0).lower()}") from error
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((port.host_address, port.host_port))
        if kind == socket.SOCK_STREAM:
            listener.listen(4096)
    except OSError as error:
        listener.close()
        name = f"{port.protocol}{6 if family == socket.AF_INET6 else 4}"
        reason = os.strerror(error.errno or 0).lower()
        raise PortError(
            f"Error starting userland proxy: listen {name} {_shown(port)}: bind: {reason}"
        ) from error
    return listener


def _shown(port: PublishedPort) -> str:
    host = f"[{port.host_address}]" if ":" in port.host_address else port.host_address
    return f"{host}:{port.host_port}"


def _key(port: PublishedPort) -> tuple[str, str, int]:
    return port.protocol, port.host_address, port.host_port


def _has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists()


def _split(key: str) -> tuple[int, str]:
    number, _, protocol = key.partition("/")
    try:
        first, last = parse_range(number)
    except ValueError:
        return 0, protocol or "tcp"
    return (first if first == last else 0), protocol.lower() or "tcp"


def _address(text: str) -> str:
    """An address that is none counts as no address, as Go's ParseIP makes it."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _goes_first(one: Binding, other: Binding) -> bool:
    """The order of nat.SortPortMap: high ports of the host first, then high ports; it is not symmetric there either."""
    return (
        one.first > other.first or one.port > other.port or (one.port == other.port and one.protocol == "tcp")
    )
