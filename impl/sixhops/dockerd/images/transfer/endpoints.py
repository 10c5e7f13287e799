"""Where a registry is to be found: the addresses to try for a name, and which of them may be spoken to without TLS."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Endpoint", "endpoints_for", "is_insecure"]

_HUB: Final = "registry-1.docker.io"
_HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One base URL to try: `http://127.0.0.1:5000`. A mirror's failure is never final."""

    url: str
    mirror: bool = False
    verify: bool = True


def endpoints_for(domain: str, mirrors: Sequence[str], insecure: Sequence[str]) -> list[Endpoint]:
    """Return the endpoints of a registry in the order of trying.

    docker.io: the mirrors, then the Hub. A registry on the loopback, or one named by --insecure-registry
    (host, or network in CIDR form): https without verification, then plain http. Any other: https.
    """
    if domain in _HUB_NAMES:
        return [*(Endpoint(url.rstrip("/"), mirror=True) for url in mirrors), Endpoint(f"https://{_HUB}")]
    if is_insecure(domain, insecure):
        return [Endpoint(f"https://{domain}", verify=False), Endpoint(f"http://{domain}")]
    return [Endpoint(f"https://{domain}")]


def is_insecure(domain: str, insecure: Sequence[str]) -> bool:
    """Tell whether plain http will do for a registry."""
    host = domain.rsplit(":", 1)[0].strip("[]")
    if domain in insecure or host in insecure:
        return True
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):  # the latter for what can be no name of a host
        return False
    networks = ["127.0.0.0/8", *(entry for entry in insecure if "/" in entry)]
    return any(
        ipaddress.ip_address(address) in ipaddress.ip_network(network)
        for address in addresses
        for network in networks
    )
