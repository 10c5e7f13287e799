"""`volume create`, `ls`, `rm`."""

from __future__ import annotations

import sys
from typing import Any

from sixhops.docker.command import Command, Context
from sixhops.docker.documents import hostspec
from sixhops.docker.engine.contexts import natural
from sixhops.docker.errors import DockerError
from sixhops.docker.filters import encode
from sixhops.docker.flags import flag
from sixhops.docker.screen import human, table

__all__ = ["CREATE", "LISTING", "LS", "RM"]


def _labels(volume: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in (volume.get("Labels") or {}).items())


LISTING = table.Listing(
    {
        "Name": lambda v: v["Name"],
        "Driver": lambda v: v["Driver"],
        "Scope": lambda v: v["Scope"],
        "Mountpoint": lambda v: v["Mountpoint"],
        "Labels": _labels,
        "Label": lambda v, name: (v.get("Labels") or {}).get(name, ""),
        "Links": lambda v: str(v["UsageData"]["RefCount"]) if v.get("UsageData") else "N/A",
        "Size": lambda v: human.decimal_size(v["UsageData"]["Size"]) if v.get("UsageData") else "N/A",
    },
    {"Name": "VOLUME NAME"},
    "{{.Driver}}\t{{.Name}}",
    quiet="{{.Name}}",
    kind="*formatter.volumeContext",
    raw="name: {{.Name}}\ndriver: {{.Driver}}\n",
    raw_quiet="name: {{.Name}}",
)


def _create(context: Context) -> int:
    options = context.options
    name = options["name"]
    if options.arguments:
        if name:
            raise DockerError(
                "conflicting options: either specify --name or provide positional arg, not both"
            )
        name = options.arguments[0]
    document = {
        "Driver": options["driver"],
        "DriverOpts": dict(options["opt"]),
        "Labels": dict(hostspec.key_value(label) for label in options["label"]),
        "Name": name,
    }
    sys.stdout.write(f"{context.client.json('POST', '/volumes/create', None, document)['Name']}\n")
    return 0


def _list(context: Context) -> int:
    client, options = context.client, context.options
    query = {"filters": encode(options["filter"])} if options["filter"] else {}
    volumes = client.json("GET", "/volumes", query)["Volumes"] or []
    chosen = options["format"] or ("" if options["quiet"] else client.settings.text("volumesFormat"))
    volumes.sort(key=lambda volume: natural(volume["Name"]))
    table.write(LISTING, volumes, chosen, quiet=options["quiet"])
    return 0


def _remove(context: Context) -> int:
    options = context.options
    query = {"force": "1"} if options["force"] and context.client.at_least("1.25") else {}
    problems = []
    for name in options.arguments:
        try:
            context.client.call("DELETE", f"/volumes/{name}", query, missing=("volume", name)).body()
        except DockerError as error:
            problems.append(str(error))
            continue
        sys.stdout.write(f"{name}\n")
    if problems:
        raise DockerError("\n".join(problems))
    return 0


CREATE = Command(
    usage="[VOLUME]",
    summary="Create a volume",
    run=_create,
    most=1,
    flags=(
        flag("driver", "string", "d", "Driver of the volume", default="local", shown='"local"'),
        flag("label", "list", help="Label of the volume", read=hostspec.label),
        flag("name", "string", hidden=True),
        flag("opt", "map", "o", "Option of the driver", read=hostspec.key_value, shown="map[]"),
    ),
)
LS = Command(
    usage="",
    summary="List volumes",
    run=_list,
    most=0,
    aliases=("ls", "list"),
    flags=(
        flag("filter", "filter", "f", "Only volumes that meet the condition"),
        flag("format", "string", help="Go template for each line"),
        flag("quiet", short="q", help="Print names only"),
    ),
)
RM = Command(
    usage="VOLUME [VOLUME...]",
    summary="Remove one or more volumes",
    about="Remove one or more volumes. A volume that a container uses can't be removed.",
    run=_remove,
    least=1,
    aliases=("rm", "remove"),
    flags=(flag("force", short="f", help="It is no failure when there is no such volume"),),
)
