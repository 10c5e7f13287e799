"""Containers as the API prints them: the inspect document, and the entries of the list."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.lifecycle import Status
from sixhops.dockerd.containers.specification.security import apparmor_is_on, security_of
from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.networks.documents import port_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.containers.model import Container, ContainerState

__all__ = ["ago", "duration", "inspect_document", "list_entry", "status_text"]

_SECOND = 10**9


def inspect_document(held: Held, graph: dict[str, str] | None, network: dict[str, Any]) -> dict[str, Any]:
    """Return GET /containers/{id}/json, with members in dockerd's order.

    `graph`: GraphDriver.Data, None when there is none left. `network`: NetworkSettings.
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
        "LogPath": str(held.log.path)
        if has_run and held.log is not None and held.log.driver == "json-file"
        else "",
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


def _quoted(word: str) -> str:
    """Words with blanks stand in quotes, as dockerd shows a command."""
    return json.dumps(word, ensure_ascii=False)[1:-1].join("''") if " " in word else word
