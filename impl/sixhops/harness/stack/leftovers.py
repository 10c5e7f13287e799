"""What an engine and its host hold beyond what they held before: the verdict on what a scenario leaves
behind.

`Residue` is a snapshot, `difference` compares two of them without I/O, `settled_difference` allows for what
is still being cleared away: dockerd answers a removal before the shim has ended and before its mounts and
links are gone.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from sixhops.harness.errors import TargetError
from sixhops.harness.stack.facts import engine_client
from sixhops.harness.target import HostLook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.harness.exchange import Json
    from sixhops.harness.target import Host, Target

__all__ = ["Residue", "difference", "settled_difference"]

_REQUEST_TIMEOUT = 30.0

# On a machine that others use as well, only what an engine makes counts.
_ENGINE_PROCESSES = ("containerd-shim", "runc", "docker-proxy", "docker-init", "sixhops-runc")
_OWN_NETWORKS = ("bridge", "host", "none")
_ENGINE_LINKS = ("veth", "br-", "docker")


@dataclass(frozen=True, slots=True)
class Residue:
    """What there is: the engine's objects by id with the name that people know, and the host's by what
    identifies them.

    `processes` have (pid, start) as key, so that a reused pid is another process, and `mounts` what tells the mount: where
    it is changes when somebody renames a directory above it, in another mount namespace as well. The host's
    fields stay empty at a target whose host can't be seen.
    """

    containers: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    processes: dict[tuple[int, int], str] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()

    @classmethod
    def take(cls, target: Target) -> Residue:
        """Take a snapshot of a target now. Raises TargetError when the engine or its host doesn't answer."""
        found = _ask_engine(target)
        if target.host is not None:
            found |= _look_at_host(
                target.host, private=_is_private(target), data_root=_data_root(target), own=_own(target)
            )
        return cls(**found)


def difference(before: Residue, after: Residue) -> list[str]:
    """Return a line for everything that `after` holds and `before` doesn't, as `kind: what`."""
    lines = []
    for kind, old, new in (
        ("container", before.containers, after.containers),
        ("image", before.images, after.images),
        ("volume", before.volumes, after.volumes),
        ("network", before.networks, after.networks),
        ("process", before.processes, after.processes),
    ):
        lines += [f"{kind}: {name}" for key, name in new.items() if key not in old]
    # Of an image that was there before, new names are left behind as well.
    lines += [
        f"image name: {name} ({key[:19]})"
        for key, names in after.images.items()
        if key in before.images
        for name in names.split(", ")
        if name not in before.images[key].split(", ")
    ]
    mounted = Counter(point for mount, point in after.mounts.items() if mount not in before.mounts)
    # what was mounted anew at its place
    mounted -= Counter(point for mount, point in before.mounts.items() if mount not in after.mounts)
    lines += [f"mount: {point}" for point in mounted.elements()]
    for kind, had, has in (
        ("network interface", before.links, after.links),
        ("control group", before.cgroups, after.cgroups),
        ("packet filter rule", before.rules, after.rules),
        ("socket", before.sockets, after.sockets),
    ):
        lines += [f"{kind}: {item}" for item in (Counter(has) - Counter(had)).elements()]
    return lines


def settled_difference(before: Residue, target: Target, timeout: float = 15.0) -> list[str]:
    """Return what is left since `before` once nothing is, or `timeout` seconds have passed. Raises
    TargetError.

    No event tells of the last of it (the shim's socket, its mounts, the control group), so the snapshot is
    repeated, at growing intervals.
    """
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        lines = difference(before, Residue.take(target))
        if not lines or time.monotonic() >= deadline:
            return lines
        time.sleep(pause)
        pause = min(pause * 2, 0.2)


def _ask_engine(target: Target) -> dict[str, Any]:
    with engine_client(target.engine, _REQUEST_TIMEOUT) as client:
        try:
            containers = _list(client, "/containers/json?all=1")
            images = _list(client, "/images/json?all=1")
            networks = _list(client, "/networks")
            volumes = _list(client, "/volumes", "Volumes")
        except httpx.HTTPError as error:
            raise TargetError(f"can't ask {target.engine.text} what it holds: {error}") from error
    return {
        "containers": {
            c["Id"]: f"{', '.join(c['Names'])} ({c['Id'][:12]}, {c['State']})" for c in containers
        },
        "images": {
            i["Id"]: ", ".join([*(i.get("RepoTags") or []), *(i.get("RepoDigests") or [])]) or i["Id"]
            for i in images
        },
        "volumes": {v["Name"]: v["Name"] for v in volumes},
        # The engine makes its own networks itself, the bridge with another id at each start.
        "networks": {
            n["Id"]: f"{n['Name']} ({n['Id'][:12]})" for n in networks if n["Name"] not in _OWN_NETWORKS
        },
    }


def _list(client: httpx.Client, path: str, key: str | None = None) -> list[dict[str, Any]]:
    answer = client.get(path)
    if answer.status_code != 200:
        raise TargetError(f"GET {path} answered {answer.status_code}: {answer.text[:200]}")
    value = answer.json()
    found: list[dict[str, Any]] | None = value[key] if key else value
    return found or []


def _look_at_host(host: Host, *, private: bool, data_root: str, own: frozenset[int]) -> dict[str, Any]:
    seen = _look(host)
    table = seen.processes
    # a daemon of the stack, or a helper that it forked from itself and that therefore bears its command line
    known = {_number(row, "pid"): row["argv"] for row in table if row["pid"] in own}
    for row in table * 2:  # a helper of a helper may come before it in the table
        if known.get(_number(row, "ppid")) == row["argv"]:
            known[_number(row, "pid")] = row["argv"]
    processes = {
        (_number(process, "pid"), _number(process, "start")): _describe(process)
        for process in table
        if process["state"] != "Z" and (private or _of_engine(process)) and process["pid"] not in known
    }
    # dockerd binds its own network namespace there for the first container that shares it, and keeps it.
    mounts = {mount: point for mount, point in seen.mounts.items() if not point.endswith("/netns/default")}
    links, rules = seen.links, seen.rules
    if not private:
        below = (f"{data_root}/", "/run/docker/", "/run/containerd/")
        mounts = {mount: point for mount, point in mounts.items() if point.startswith(below)}
        links = [link for link in links if link.startswith(_ENGINE_LINKS)]
        rules = [rule for rule in rules if "docker" in rule.lower() or "br-" in rule]
    return {
        "processes": processes,
        "mounts": mounts,
        "links": tuple(links),
        "cgroups": tuple(seen.cgroups),
        "rules": tuple(rules),
        "sockets": tuple(seen.sockets),
    }


def _look(host: Host) -> HostLook:
    """Look at everything: by one question where the host takes it so."""
    at_once = getattr(host, "look", None)
    if at_once is not None:
        found: HostLook = at_once()
        return found
    listing = getattr(host, "sockets", None)
    return HostLook(
        host.processes(),
        host.mounts(),
        host.links(),
        host.cgroups(),
        host.rules(),
        listing() if listing is not None else [],
    )


def _of_engine(process: Mapping[str, Json]) -> bool:
    comm, cgroup = process["comm"], process["cgroup"]
    if isinstance(comm, str) and comm.startswith(tuple(name[:15] for name in _ENGINE_PROCESSES)):
        return True
    return isinstance(cgroup, dict) and any(
        isinstance(path, str) and ("/docker/" in path or "/docker-" in path) for path in cgroup.values()
    )


def _describe(process: Mapping[str, Json]) -> str:
    argv = process["argv"]
    words = " ".join(str(word) for word in argv) if isinstance(argv, list) else ""
    return f"{process['pid']} {process['comm']} ({words[:120]})"


def _number(process: Mapping[str, Json], key: str) -> int:
    value = process[key]
    assert isinstance(value, int)
    return value


def _own(target: Target) -> frozenset[int]:
    """Return the pids of the stack's own daemons, which a scenario may have started anew."""
    control = getattr(target, "faults", None)
    return control.daemon_pids() if control is not None else frozenset()


def _is_private(target: Target) -> bool:
    return bool(getattr(target, "private", False))


def _data_root(target: Target) -> str:
    return str(target.facts.variables.get("data_root") or "/var/lib/docker")
