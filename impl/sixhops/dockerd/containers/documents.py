"""Containers as the API prints them: the inspect document, and the entries of the list with its filters."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.containers.security import apparmor_is_on, security_of
from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.errors import invalid
from sixhops.dockerd.networks.documents import port_list
from sixhops.dockerd.networks.ports import exposed, parse_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.model import Container, ContainerState

__all__ = ["ago", "duration", "inspect_document", "list_entry", "select", "status_text"]

_SECOND = 10**9
#: What filters of the list there are; the values are checked where they are used.
_FILTERS = frozenset(
    {
        "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
        "publish", "since", "status", "volume",
    }
)  # fmt: skip
_STATUSES = frozenset(str(status) for status in Status)


def inspect_document(held: Held, graph: dict[str, str], network: dict[str, Any]) -> dict[str, Any]:
    """Return GET /containers/{id}/json, with members in dockerd's order.

    `graph`: GraphDriver.Data, `network`: NetworkSettings.
    """
    container, files = held.container, held.files
    used = files.of(container.files_of) if container.files_of else files
    has_run = container.state.started_at > 0 or container.state.error != ""
    document: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": container.path,
        "Args": list(container.arguments),
        "State": container.state.document(),
        "Image": container.image,
        "ResolvConfPath": str(used.resolv_conf) if has_run else "",
        "HostnamePath": str(used.hostname) if has_run else "",
        "HostsPath": str(used.hosts) if has_run else "",
        "LogPath": str(files.log) if has_run and held.log is not None else "",
        "Name": f"/{container.name}",
        "RestartCount": container.state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": _apparmor(container, has_run=has_run),
        "ExecIDs": [identity for identity, exec_ in held.execs.items() if exec_.running] or None,
        "HostConfig": {
            key: value for key, value in container.host_config.items() if value or key != "Runtime"
        },
        "GraphDriver": {"Data": graph, "Name": "overlay2"},
        "Mounts": [point.document() for point in container.mounts],
        "Config": container.config,
        "NetworkSettings": network,
    }
    return document


def _apparmor(container: Container, *, has_run: bool) -> str:
    """Return the AppArmor profile that was asked for; once it has run, the one that it really got."""
    profile = security_of(container.host_config["SecurityOpt"] or []).apparmor
    return "" if has_run and not apparmor_is_on() else profile


def list_entry(held: Held, image: str, network: dict[str, Any]) -> dict[str, Any]:
    """Return one entry of GET /containers/json. `image`: the name to show for the image."""
    container = held.container
    words = [container.path, *(_quoted(word) for word in container.arguments)]
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": image,
        "ImageID": container.image,
        "Command": " ".join(words),
        "Created": container.created // _SECOND,
        "Ports": port_list(network.get("Ports") or {}),
        "Labels": container.config["Labels"] or {},
        "State": str(container.state.status),
        "Status": status_text(held),
        "HostConfig": {"NetworkMode": container.host_config["NetworkMode"]},
        "NetworkSettings": {
            "Networks": {
                name: entry | {"Links": None, "Aliases": None, "DriverOpts": None}
                for name, entry in (network.get("Networks") or {}).items()
            }
        },
        "Mounts": [point.document() for point in container.mounts],
    }


def status_text(held: Held, clock: Callable[[], int] = time.time_ns) -> str:
    """Return the state in words: `Up 3 minutes`, `Exited (0) 2 hours ago`."""
    state = held.container.state
    up = duration(clock() - state.started_at)
    match state.status:
        case Status.RUNNING:
            return f"Up {up}" + _health_text(state)
        case Status.PAUSED:
            return f"Up {up} (Paused)"
        case Status.RESTARTING:
            return f"Restarting ({state.exit_code}) {ago(clock() - state.finished_at)}"
        case Status.REMOVING:
            return "Removal In Progress"
        case Status.DEAD:
            return "Dead"
        case Status.CREATED:
            return "Created"
        case _:
            return f"Exited ({state.exit_code}) {ago(clock() - state.finished_at)}"


def _health_text(state: ContainerState) -> str:
    if state.health is None:
        return ""
    status = state.health["Status"]
    return " (health: starting)" if status == "starting" else f" ({status})"


def ago(nanoseconds: int) -> str:
    """Return a span that lies in the past."""
    return f"{duration(nanoseconds)} ago"


def duration(nanoseconds: int) -> str:
    """Return a span in words, as people expect it of `docker ps`."""
    seconds = nanoseconds // _SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = (seconds + 1800) // 3600
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for unit, size, limit in (
        ("days", 24, 24 * 14),
        ("weeks", 24 * 7, 24 * 60),
        ("months", 24 * 30, 24 * 365 * 2),
    ):
        if hours < limit:
            return f"{hours // size} {unit}"
    return f"{hours // (24 * 365)} years"


def select(
    everything: Iterable[Held], *, all_: bool, limit: int, filters: dict[str, list[str]], find: Callable[[str], Held],
    is_of_image: Callable[[Held, str], bool],
) -> list[Held]:  # fmt: skip
    """Return the containers that a list request wants, newest first. Raises EngineError 400 for a bad filter."""
    for key in filters:
        if key not in _FILTERS:
            raise invalid(f"Invalid filter '{key}'")
    for status in filters.get("status", []):
        if status not in _STATUSES:
            raise invalid(f"Unrecognised filter value for status: {status}")
    exits = set()
    for code in filters.get("exited", []):
        if not code.lstrip("-").isdigit():
            raise invalid(f'strconv.Atoi: parsing "{code}": invalid syntax')
        exits.add(int(code))
    before = [find(text).container.created for text in filters.get("before", [])]
    since = [find(text).container.created for text in filters.get("since", [])]
    with_stopped = all_ or limit > 0 or bool(before or since or exits or filters.get("status"))
    found = []
    for held in sorted(everything, key=lambda held: held.container.created, reverse=True):
        container, state = held.container, held.container.state
        if not with_stopped and not state.is_running:
            continue
        if exits and (state.exit_code not in exits or state.is_running or not state.finished_at):
            continue
        if any(container.created >= limit_ for limit_ in before) or any(
            container.created <= limit_ for limit_ in since
        ):
            continue
        if not _fits(held, filters) or not all(
            any(is_of_image(held, text) for text in filters[key]) for key in ("ancestor",) if filters.get(key)
        ):
            continue
        found.append(held)
        if limit > 0 and len(found) == limit:
            break
    return found


def _fits(held: Held, filters: dict[str, list[str]]) -> bool:
    container = held.container
    labels = container.config["Labels"] or {}
    checks: dict[str, Callable[[str], bool]] = {
        "id": container.id.startswith,
        "name": lambda text: text.removeprefix("/") in container.name,
        "status": lambda text: str(container.state.status) == text,
        "network": lambda text: text in _networks(held),
        "volume": lambda text: any(
            text in (point.name, point.destination, point.source) for point in container.mounts
        ),
        "health": lambda text: text == (container.state.health or {"Status": "none"})["Status"],
        "is-task": lambda text: text in {"false", "0"},
        "isolation": lambda text: text in {"", "default"},
        "expose": lambda text: _names_port(text, exposed(container.config)),
        "publish": lambda text: _names_port(
            text, [(port.host_port, port.protocol) for port in held.sandbox.ports] if held.sandbox else []
        ),
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


def _networks(held: Held) -> set[str]:
    """Names and ids of the networks that a container is on."""
    settings = held.container.networking.get("EndpointsConfig") or {}
    return {*settings, *(entry.get("NetworkID") or "" for entry in settings.values())} - {""}


def _names_port(text: str, ports: Iterable[tuple[int, str]]) -> bool:
    """Return whether `80`, `80/udp` or `80-90/tcp` means one of these ports. Raises EngineError 400."""
    number, _, protocol = text.partition("/")
    try:
        first, last = parse_range(number)
    except ValueError as error:
        raise invalid(
            f'error while looking up for publish {text}: strconv.ParseUint: parsing "{number}": invalid syntax'
        ) from error
    return any(first <= port <= last and kind == (protocol or "tcp") for port, kind in ports)


def _quoted(word: str) -> str:
    """Words with blanks stand in quotes, as dockerd shows a command."""
    return json.dumps(word, ensure_ascii=False)[1:-1].join("''") if " " in word else word
