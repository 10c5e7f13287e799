"""Which containers a list shows: GET /containers/json with its filters.

Source: moby 20.10, daemon/list.go. A filter's values are alternatives, but for labels, which must all be there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.networks.documents import port_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sixhops.dockerd.containers.held import Held

__all__ = ["select"]

_FILTERS = frozenset(
    {
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
        "publish", "since", "status", "volume",
    }
)  # fmt: skip
_STATUSES = frozenset(str(status) for status in Status)
_HEALTH = frozenset({"starting", "healthy", "unhealthy", "none"})
_PORT = re.compile(r"[0-9]+", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


def select(
    everything: Iterable[Held],
    *,
    all_: bool,
    limit: int,
    filters: dict[str, list[str]],
    find: Callable[[str], Held],
    is_of_image: Callable[[Held, str], bool],
    network_of: Callable[[Held], dict[str, Any]],
) -> list[Held]:
    """Return the containers that a list request wants, newest first.

    `network_of` gives a container's NetworkSettings. Raises EngineError 400 and 500 for a filter that makes no sense.
    """
    exits, task, published, exposed = _check(filters)
    before = [_created(find, text) for text in filters.get("before", [])][-1:]
    since = [_created(find, text) for text in filters.get("since", [])][-1:]
    with_stopped = all_ or limit > 0 or bool(filters.get("status"))
    found: list[Held] = []
    for held in sorted(everything, key=lambda held: held.container.created, reverse=True):
        state, created = held.container.state, held.container.created
        if any(created >= bound for bound in before) or any(created <= bound for bound in since):
            continue
        if not with_stopped and not state.is_running:
            continue
        if not _fits(held, filters) or task:
            continue
        if limit > 0 and len(found) == limit:
            break
        if exits and (state.exit_code not in exits or state.is_running or not state.started_at):
            continue
        if filters.get("ancestor") and not any(is_of_image(held, text) for text in filters["ancestor"]):
            continue
        if (filters.get("network") or published or exposed) and not _fits_network(
            network_of(held), filters.get("network", []), published, exposed
        ):
            continue
        found.append(held)
    return found


def _check(filters: dict[str, list[str]]) -> tuple[set[int], bool, set[str], set[str]]:
    """Return exit codes, whether only tasks of a swarm are wanted (there are none), published and exposed ports."""
    for key in filters:
        if key not in _FILTERS:
            raise invalid(f"Invalid filter '{key}'")
    exits = set()
    for code in filters.get("exited", []):
        if not _INTEGER.fullmatch(code):
            raise system(f"strconv.Atoi: parsing {quote(code)}: invalid syntax")
        exits.add(int(code))
    for status in filters.get("status", []):
        if status not in _STATUSES:
            raise invalid(f"Invalid filter 'status={status}'")
    task = filters.get("is-task", [])
    if task and not {"true", "false"} & set(task):
        raise invalid(f"Invalid filter 'is-task=[{' '.join(task)}]'")
    for health in filters.get("health", []):
        if str(health) not in _HEALTH:
            raise invalid(f"Unrecognised filter value for health: {health}")
    ports = {
        key: {port for text in filters.get(key, []) for port in _ports(key, text)}
        for key in ("publish", "expose")
    }
    return exits, "true" in task, ports["publish"], ports["expose"]


def _created(find: Callable[[str], Held], text: str) -> int:
    try:
        return find(text).container.created
    except EngineError:
        raise system(f"no such container {text}") from None


def _ports(key: str, text: str) -> list[str]:
    """Return the ports that `80`, `80/udp` or `80-90/tcp` means. Raises EngineError 500."""
    if ":" in text:
        raise system(f"filter for '{key}' should not contain ':': {text}")
    numbers, slash, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    for number in (first, last if dash else first):
        if not _PORT.fullmatch(number):
            reason = f"strconv.ParseUint: parsing {quote(number)}: invalid syntax"
            raise system(
                f"error while looking up for {key} {text}: {reason if numbers else 'empty string specified for ports.'}"
            )
    low, high = int(first), int(last if dash else first)
    if high < low:
        raise system(
            f"error while looking up for {key} {text}: Invalid range specified for the Port: {numbers}"
        )
    return [
        f"{number}/{protocol if slash and protocol else 'tcp'}" for number in range(low, min(high, 65535) + 1)
    ]


def _fits(held: Held, filters: dict[str, list[str]]) -> bool:
    container = held.container
    labels = container.config["Labels"] or {}
    mounts = {point.name or point.source for point in container.mounts}
    mounts |= {point.destination for point in container.mounts}
    checks: dict[str, Callable[[str], bool]] = {
        "id": lambda text: _matches(text, container.id),
        "name": lambda text: _matches(text, f"/{container.name}") or _matches(text, container.name),
        "status": lambda text: _matches(text, str(container.state.status)),
        "volume": mounts.__contains__,
        "health": lambda text: text == (container.state.health or {"Status": "none"})["Status"],
    }
    for key, check in checks.items():
        values = filters.get(key)
        if values and not any(check(value) for value in values):
            return False
    for wanted in filters.get("label", []):
        name, has_value, value = wanted.partition("=")
        if name not in labels or (has_value and labels[name] != value):
            return False
    return True


def _fits_network(
    network: dict[str, Any], names: Sequence[str], published: set[str], exposed: set[str]
) -> bool:
    networks = network.get("Networks") or {}
    if names and not any(
        name in networks or any(entry["NetworkID"].startswith(name) for entry in networks.values() if entry)
        for name in names
    ):
        return False
    if not published and not exposed:
        return True
    return any(
        f"{port.get('PublicPort', 0)}/{port['Type']}" in published
        or f"{port['PrivatePort']}/{port['Type']}" in exposed
        for port in port_list(network.get("Ports") or {})
    )


def _matches(pattern: str, text: str) -> bool:
    """These filters are regular expressions; what is none passes nothing but itself."""
    try:
        return pattern == text or re.search(pattern, text) is not None
    except re.error:
        return False
