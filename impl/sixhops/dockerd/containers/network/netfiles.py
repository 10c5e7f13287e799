"""The files of a container that its networks decide: hostname, hosts and resolv.conf, at its start and while it runs."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.files import embedded_resolv_conf, hosts_text, resolv_conf_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.network.links import Links
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.networks.model import Endpoint

__all__ = ["add_endpoint", "remove_endpoint", "use_embedded_server", "write_files"]


def write_files(
    held: Held, settings: ContainerSettings, find: Callable[[str], Held], host_gateway: str, links: Links
) -> dict[str, str]:
    """Write the three files; return place -> file. A container in another's network uses the other's."""
    container, files = held.container, held.files
    config, host = container.config, container.host_config
    mode = host["NetworkMode"]
    if mode.startswith("container:"):
        # with the network comes the name: dockerd copies it into the document
        other = find(mode.partition(":")[2])
        config["Hostname"] = other.container.config["Hostname"]
        config["Domainname"] = other.container.config["Domainname"]
        container.files_of = other.container.id
        files = other.files
    else:
        own = mode != "host"
        resolv = resolv_conf_text(
            _read("/etc/resolv.conf"),
            host["Dns"] or settings.dns,
            host["DnsSearch"] or settings.dns_search,
            host["DnsOptions"] or settings.dns_options,
            own_network=own and mode != "none",
        )
        if held.sandbox is not None and held.sandbox.has_resolver:
            resolv = embedded_resolv_conf(resolv)
        addresses = _addresses(held.sandbox.endpoints) if held.sandbox else []
        extra = _extra(host["ExtraHosts"] or [], host_gateway) + list(links.hosts)
        if own or extra:
            hosts = hosts_text(addresses, config["Hostname"], config["Domainname"], extra)
        else:
            hosts = _read("/etc/hosts")
        files.write(config["Hostname"] or socket.gethostname(), hosts, resolv)
    if config.get("NetworkDisabled"):
        return {"/etc/hostname": str(files.hostname)}
    return {
        "/etc/resolv.conf": str(files.resolv_conf),
        "/etc/hostname": str(files.hostname),
        "/etc/hosts": str(files.hosts),
    }


def add_endpoint(held: Held, endpoint: Endpoint) -> None:
    """A running container has come onto a network: its name is known at the new addresses too."""
    config = held.container.config
    lines = hosts_text(_addresses([endpoint]), config["Hostname"], config["Domainname"], [], local=False)
    _rewrite(held.files.hosts, _read(str(held.files.hosts)) + lines)


def remove_endpoint(held: Held, endpoint: Endpoint) -> None:
    """A running container has left a network; its name goes at its other addresses as well, as in dockerd 20.10."""
    if not _addresses([endpoint]):
        return
    config = held.container.config
    own = hosts_text([""], config["Hostname"], config["Domainname"], [], local=False)
    lines = _read(str(held.files.hosts)).splitlines(keepends=True)
    _rewrite(held.files.hosts, "".join(line for line in lines if not line.endswith(own)))


def use_embedded_server(held: Held) -> None:
    """A running container has got an embedded name server."""
    _rewrite(held.files.resolv_conf, embedded_resolv_conf(_read(str(held.files.resolv_conf))))


def _addresses(endpoints: Sequence[Endpoint]) -> list[str]:
    return [address for endpoint in endpoints for address in (endpoint.address, endpoint.address6) if address]


def _extra(entries: Sequence[str], host_gateway: str) -> list[tuple[str, str]]:
    pairs = [entry.partition(":") for entry in entries]
    return [(host_gateway if target == "host-gateway" else target, name) for name, _, target in pairs]


def _rewrite(path: Path, text: str) -> None:
    # in place: the container has this very file mounted
    path.write_text(text)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
