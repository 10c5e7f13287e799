"""`prune` of containers, images, networks and volumes, and of all of them: what nothing uses is removed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sixhops.docker.command import Command, Context
from sixhops.docker.confirm import confirmed
from sixhops.docker.engine.contexts import natural
from sixhops.docker.errors import DockerError
from sixhops.docker.filters import encode
from sixhops.docker.flags import Flag, flag
from sixhops.docker.screen import human

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.docker.engine.client import Client

__all__ = ["PRUNE_CONTAINERS", "PRUNE_IMAGES", "PRUNE_NETWORKS", "PRUNE_SYSTEM", "PRUNE_VOLUMES"]

_SURE = "Are you sure you want to continue?"
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of thing: the engine's path, what its answer calls the removed ones, and how they are headed.

    `removed` names what goes, in the warning; `all` when --all was given.
    """

    path: str
    key: str
    heading: str
    removed: str
    removed_all: str = ""
    frees: bool = True


_CONTAINERS = _Kind("/containers/prune", "ContainersDeleted", "Deleted Containers:", "all stopped containers")
_NETWORKS = _Kind(
    "/networks/prune",
    "NetworksDeleted",
    "Deleted Networks:",
    "all custom networks not used by at least one container",
    frees=False,
)
_VOLUMES = _Kind(
    "/volumes/prune",
    "VolumesDeleted",
    "Deleted Volumes:",
    "all local volumes not used by at least one container",
)
_IMAGES = _Kind(
    "/images/prune",
    "ImagesDeleted",
    "Deleted Images:",
    "all dangling images",
    "all images without at least one container associated to them",
)
_BUILD_CACHE = _Kind(
    "/build/prune", "CachesDeleted", "Deleted build cache objects:", "all dangling build cache"
)


def _run(kind: _Kind) -> Callable[[Context], int]:
    def run(context: Context) -> int:
        options = context.options
        everything = bool(kind.removed_all) and options["all"]
        filters = _with_configured(context, options["filter"])
        removed = kind.removed_all if everything else kind.removed
        if not options["force"] and not confirmed(f"WARNING! This will remove {removed}.\n{_SURE}"):
            space, output = 0, ""
        else:
            space, output = _prune(context.client, kind, filters, everything=everything)
        if output:
            sys.stdout.write(f"{output}\n")
        if kind.frees:
            sys.stdout.write(f"Total reclaimed space: {human.decimal_size(space)}\n")
        return 0

    return run


def _prune(client: Client, kind: _Kind, filters: list[Pair], *, everything: bool) -> tuple[int, str]:
    """Remove; return the bytes that are free now, and what to print. Raises as `Client.call`."""
    query: dict[str, str] = {}
    if kind is _IMAGES:
        filters = [*filters, ("dangling", str(not everything).lower())]
    if kind is _BUILD_CACHE:
        query = {"keep-storage": "0", "filters": ""} | ({"all": "1"} if everything else {})
    if filters:
        query["filters"] = encode(filters)
    answer = client.json("POST", kind.path, query)
    gone = answer.get(kind.key) or []
    space = int(answer.get("SpaceReclaimed") or 0)
    if not gone:
        return (space if kind is _BUILD_CACHE else 0), ""
    return space, "".join(f"{line}\n" for line in (kind.heading, *(_line(item) for item in gone)))


def _line(item: Any) -> str:
    if isinstance(item, str):
        return item
    return f"untagged: {item['Untagged']}" if item.get("Untagged") else f"deleted: {item.get('Deleted', '')}"


def _with_configured(context: Context, given: list[Pair]) -> list[Pair]:
    """Return the filters with those of config.json, which give way where they say the opposite."""
    found = list(given)
    configured = context.client.settings.document.get("pruneFilters")
    for text in configured if isinstance(configured, list) else []:
        name, equals, value = str(text).partition("=")
        opposite = {"label": "label!", "label!": "label"}.get(name)
        if equals and (opposite, value) not in given:
            found.append((name, value))
    return found


def _system(context: Context) -> int:
    client, options = context.client, context.options
    everything, volumes = options["all"], options["volumes"]
    if volumes and any(name == "until" for name, _ in options["filter"]):
        raise DockerError('ERROR: The "until" filter is not supported with "--volumes"')
    cache = client.at_least("1.31")
    if not options["force"] and not confirmed(_question(context, cache=cache)):
        return 0
    kinds = [
        _CONTAINERS,
        _NETWORKS,
        *([_VOLUMES] if volumes else []),
        _IMAGES,
        *([_BUILD_CACHE] if cache else []),
    ]
    filters = _with_configured(context, options["filter"])
    total = 0
    for kind in kinds:
        space, output = _prune(client, kind, filters, everything=everything)
        total += space if kind.frees else 0
        if output:
            sys.stdout.write(f"{output}\n")
    sys.stdout.write(f"Total reclaimed space: {human.decimal_size(total)}\n")
    return 0


def _question(context: Context, *, cache: bool) -> str:
    everything = context.options["all"]
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if context.options["volumes"]:
        lines.append("all volumes not used by at least one container")
    lines.append(_IMAGES.removed_all if everything else _IMAGES.removed)
    if cache:
        lines.append("all build cache" if everything else "all dangling build cache")
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    filters = [
        f"{name}={value}"
        for name, value in _with_configured(context, context.options["filter"])
        if name in ("label", "label!", "until")
    ]
    if filters:
        listed = "".join(f"  - {item}\n" for item in sorted(filters, key=natural))
        text += f"\n  Items to be pruned will be filtered with:\n{listed}"
    return f"{text}\n{_SURE}"


_ALL = flag("all", short="a", help="Also images with a name that no container uses")


def _command(summary: str, run: Callable[[Context], int], example: str, *more: Flag) -> Command:
    flags = (
        flag("filter", "filter", help=f"Only those that meet the condition ({example})"),
        flag("force", short="f", help="Don't ask"),
    )
    return Command(usage="", summary=summary, run=run, most=0, flags=(*flags, *more))


PRUNE_CONTAINERS = _command("Remove all stopped containers", _run(_CONTAINERS), "until=<timestamp>")
PRUNE_IMAGES = _command("Remove unused images", _run(_IMAGES), "until=<timestamp>", _ALL)
PRUNE_NETWORKS = _command("Remove all unused networks", _run(_NETWORKS), "until=<timestamp>")
PRUNE_VOLUMES = _command("Remove all unused local volumes", _run(_VOLUMES), "label=<label>")
PRUNE_SYSTEM = _command(
    "Remove unused data", _system, "label=<key>=<value>", _ALL, flag("volumes", help="Also volumes")
)
