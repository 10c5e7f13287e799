"""Links on the default bridge: one container gets another one's address in its /etc/hosts and its environment.

They are kept in HostConfig.Links as `ID:alias`, so that renaming either end changes what is shown; inspect shows
`/child:/parent/alias`. On other networks links are a matter of names (see `networks.resolver`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, invalid, system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sixhops.dockerd.containers.held import Held

__all__ = ["Links", "names_through_links", "register", "remove_link", "resolve", "shown"]

_BRIDGE_MODES = frozenset({"", "default", "bridge"})
_OTHER_MODES = frozenset({*_BRIDGE_MODES, "host", "none"})


@dataclass(frozen=True, slots=True)
class Links:
    """What links give a container at its start: lines of /etc/hosts, variables, and (address, exposed ports) of each end."""

    hosts: tuple[tuple[str, str], ...] = ()
    environment: tuple[str, ...] = ()
    ends: tuple[tuple[str, tuple[str, ...]], ...] = ()


def register(host: dict[str, Any], find: Callable[[str], Held]) -> None:
    """Replace the names in HostConfig.Links by ids. Raises EngineError: 400 for no such container, 500 for a bad form."""
    asked = host["Links"] or []
    mode = host["NetworkMode"]
    if not asked:
        return
    if mode not in _OTHER_MODES and not mode.startswith("container:"):
        host["Links"] = None
        return
    found = []
    for text in asked:
        parts = text.split(":")
        if len(parts) > 2 or not all(parts):
            raise system(f"bad format for links: {text}")
        name, alias = parts[0], parts[-1].rsplit("/", 1)[-1]
        try:
            child = find(name)
        except EngineError as error:
            raise invalid(f"could not get container for {name}: {error.message}") from error
        if child.container.host_config["NetworkMode"] == "host":
            raise invalid(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
            )
        found.append(f"{child.container.id}:{alias}")
    host["Links"] = found


def shown(held: Held, find: Callable[[str], Held]) -> list[str] | None:
    """Return HostConfig.Links as inspect shows them; links to containers that have gone are none any more."""
    links = held.container.host_config["Links"]
    if not links:
        return None
    found = [
        f"/{child.container.name}:/{held.container.name}/{alias}" for child, alias in _children(links, find)
    ]
    return found or None


def names_through_links(held: Held, everything: Iterable[Held]) -> list[str]:
    """Return the further names that a container has in the list: `/parent/alias` of all that link to it."""
    prefix = f"{held.container.id}:"
    return sorted(
        f"/{other.container.name}/{link.removeprefix(prefix)}"
        for other in everything
        for link in other.container.host_config["Links"] or []
        if link.startswith(prefix)
    )


def remove_link(text: str, find: Callable[[str], Held]) -> Held:
    """Take the link `parent/alias` away; return the parent. Raises EngineError."""
    parent_name, _, alias = text.strip("/").partition("/")
    if not alias:
        raise system("Conflict, cannot remove the default link name of the container")
    parent = find(parent_name)
    links = list(parent.container.host_config["Links"] or [])
    kept = [link for link in links if link.partition(":")[2] != alias]
    if len(kept) == len(links):
        raise system(f"Could not get parent container for {parent.container.name}/{alias}")
    parent.container.host_config["Links"] = kept or None
    return parent


def resolve(held: Held, find: Callable[[str], Held]) -> Links:
    """Return what the links of a container that starts give it. Raises EngineError 500 for one that can't be."""
    container = held.container
    if container.host_config["NetworkMode"] not in _BRIDGE_MODES:
        return Links()
    hosts: list[tuple[str, str]] = []
    variables: list[str] = []
    ends: list[tuple[str, tuple[str, ...]]] = []
    for child, alias in _children(container.host_config["Links"] or [], find):
        other = child.container
        if not other.state.has_process or child.sandbox is None:
            raise system(
                f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}"
            )
        endpoint = next((entry for entry in child.sandbox.endpoints if entry.network == "bridge"), None)
        if endpoint is None:
            raise system(f"Cannot link to /{other.name}, as it does not belong to the default network")
        ports = tuple(sorted(other.config.get("ExposedPorts") or {}, key=_port_order))
        own = other.id[:12] if other.config["Hostname"] == other.id[:12] else other.config["Hostname"]
        # the other names are left out where they are the alias
        rest = " ".join(name for name in (own, other.name) if name != alias)
        hosts.append((endpoint.address, f"{alias} {rest}".rstrip()))
        variables += _environment(container.name, alias, endpoint.address, ports, other.config["Env"] or [])
        ends.append((endpoint.address, ports))
    return Links(tuple(hosts), tuple(variables), tuple(ends))


def _children(links: Sequence[str], find: Callable[[str], Held]) -> list[tuple[Held, str]]:
    found = []
    for link in links:
        identity, _, alias = link.partition(":")
        try:
            found.append((find(identity), alias))
        except EngineError:
            continue  # it has been removed, and the link with it
    return found


def _environment(
    parent: str, alias: str, address: str, ports: Sequence[str], child: Sequence[str]
) -> list[str]:
    """The variables of one link (moby, links.Link.ToEnv): first port, each port, name, the child's own."""
    prefix = alias.upper().replace("-", "_")
    found = []
    if ports:
        number, _, protocol = ports[0].partition("/")
        found.append(f"{prefix}_PORT={protocol}://{address}:{number}")
    for port in ports:
        number, _, protocol = port.partition("/")
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        found += [
            f"{name}={protocol}://{address}:{number}",
            f"{name}_ADDR={address}",
            f"{name}_PORT={number}",
            f"{name}_PROTO={protocol}",
        ]
    found.append(f"{prefix}_NAME=/{parent}/{alias}")
    for variable in child:
        key, has_value, _value = variable.partition("=")
        if has_value and key not in {"HOME", "PATH"}:
            found.append(f"{prefix}_ENV_{variable}")
    return found


def _port_order(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return (int(number) if number.isdigit() else 0), protocol
