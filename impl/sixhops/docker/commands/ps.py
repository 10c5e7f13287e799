"""`ps`: the table of containers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sixhops.docker.command import Command, Context
from sixhops.docker.filters import encode
from sixhops.docker.flags import flag
from sixhops.docker.screen import human, table

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LS", "PS", "listing_of"]

_SHORT = 12
_COMMAND = 20


def _ps(context: Context) -> int:
    client, options = context.client, context.options
    query: dict[str, str] = {}
    last = options["last"]
    if options["all"]:
        query["all"] = "1"
    limit = 1 if options["latest"] and last == -1 else last
    if limit != -1:
        query["limit"] = str(limit)
    chosen = options["format"] or ("" if options["quiet"] else client.settings.text("psFormat"))
    if options["size"] or (chosen and ".Size" in chosen):
        query["size"] = "1"
    if options["filter"]:
        query["filters"] = encode(options["filter"])
    listing = listing_of(full=options["no-trunc"], size=options["size"])
    table.check(listing, chosen)
    containers = client.json("GET", "/containers/json", query)
    table.write(listing, containers, chosen, quiet=options["quiet"])
    return 0


def listing_of(*, full: bool, size: bool) -> table.Listing:
    """Return how containers are listed; `full` cuts nothing, `size` adds the column of sizes."""
    fields: dict[str, Callable[..., Any]] = {
        "Command": lambda c: '"' + _cut(c["Command"], _COMMAND, full=full) + '"',
        "CreatedAt": lambda c: human.local_time(c["Created"]),
        "ID": lambda c: c["Id"] if full else c["Id"][:_SHORT],
        "Image": lambda c: _image(c, full=full),
        "Label": lambda c, name: (c.get("Labels") or {}).get(name, ""),
        "Labels": lambda c: ",".join(f"{k}={v}" for k, v in (c.get("Labels") or {}).items()),
        "LocalVolumes": lambda c: str(sum(1 for m in c.get("Mounts") or [] if m.get("Driver") == "local")),
        "Mounts": lambda c: _mounts(c, full=full),
        "Names": lambda c: _names(c, full=full),
        "Networks": lambda c: ",".join((c.get("NetworkSettings") or {}).get("Networks") or {}),
        "Ports": lambda c: _ports(c.get("Ports") or []),
        "RunningFor": lambda c: human.ago(c["Created"]),
        "Size": _size,
        "State": lambda c: c["State"],
        "Status": lambda c: c["Status"],
    }
    titles = {
        "ID": "CONTAINER ID",
        "RunningFor": "CREATED",
        "CreatedAt": "CREATED AT",
        "LocalVolumes": "LOCAL VOLUMES",
    }
    default = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
    raw = (
        "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n"
        "state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\n"
        "labels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n"
    )
    return table.Listing(
        fields,
        titles,
        default + ("\t{{.Size}}" if size else ""),
        kind="*formatter.ContainerContext",
        raw=raw + ("size: {{.Size}}\n" if size else ""),
        raw_quiet="container_id: {{.ID}}",
    )


def _cut(text: str, width: int, *, full: bool) -> str:
    text = json.dumps(text, ensure_ascii=False)[1:-1]
    return text if full or len(text) <= width else f"{text[: width - 1]}…"


def _image(container: dict[str, Any], *, full: bool) -> str:
    image = str(container["Image"])
    if not image:
        return "<no image>"
    if full:
        return image
    if image.startswith("sha256:"):
        return image.removeprefix("sha256:")[:_SHORT]
    if container.get("ImageID") == f"sha256:{image}":
        return image[:_SHORT]
    name, at, _ = image.partition("@")
    return name if at else image


def _names(container: dict[str, Any], *, full: bool) -> str:
    names = [name.removeprefix("/") for name in container.get("Names") or []]
    if not full:
        # names with another slash are those that links give
        names = [name for name in names if "/" not in name]
    return ",".join(names)


def _mounts(container: dict[str, Any], *, full: bool) -> str:
    found = []
    for mount in container.get("Mounts") or []:
        name = mount.get("Name") or mount.get("Source") or ""
        found.append(name if full or len(name) <= 15 else f"{name[:14]}…")
    return ",".join(found)


def _size(container: dict[str, Any]) -> str:
    writable, root = container.get("SizeRw", 0), container.get("SizeRootFs", 0)
    text = human.decimal_size(writable, 3)
    return f"{text} (virtual {human.decimal_size(root, 3)})" if root > 0 else text


def _ports(ports: list[dict[str, Any]]) -> str:
    """Return ports as docker groups them: ranges where inside and outside count up together."""
    groups: dict[str, tuple[int, int]] = {}
    plain: list[str] = []
    mappings: list[str] = []
    keys: list[str] = []

    def key_of(port: dict[str, Any]) -> tuple[Any, ...]:
        return port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]

    for port in sorted(ports, key=key_of):
        current, kind = port["PrivatePort"], port["Type"]
        key = kind
        if port.get("IP"):
            if port.get("PublicPort") != current:
                mappings.append(f"{port['IP']}:{port['PublicPort']}->{current}/{kind}")
                continue
            key = f"{port['IP']}/{kind}"
        if key not in groups:
            groups[key] = (current, current)
            keys.append(key)
        elif current == groups[key][1] + 1:
            groups[key] = (groups[key][0], current)
        else:
            plain.append(_group(key, *groups[key]))
            groups[key] = (current, current)
    plain += [_group(key, *groups[key]) for key in keys]
    return ", ".join(plain + mappings)


def _group(key: str, first: int, last: int) -> str:
    address, _, kind = key.rpartition("/")
    span = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{span}->{span}/{kind}" if address else f"{span}/{kind}"


_FLAGS = (
    flag("all", short="a", help="Also containers that don't run"),
    flag("filter", "filter", "f", "Only containers that meet the condition"),
    flag("format", "string", help="Go template for each line"),
    flag("last", "int", "n", "The last n that were created, running or not", default=-1, shown="-1"),
    flag("latest", short="l", help="The last that was created, running or not"),
    flag("no-trunc", help="Print everything in full length"),
    flag("quiet", short="q", help="Print IDs only"),
    flag("size", short="s", help="Show sizes"),
)

PS = Command(usage="", summary="List containers", run=_ps, most=0, flags=_FLAGS)
LS = Command(usage="", summary="List containers", run=_ps, most=0, flags=_FLAGS, aliases=("ls", "ps", "list"))
