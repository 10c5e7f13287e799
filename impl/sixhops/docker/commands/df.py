"""`system df`: what images, containers, volumes and the build cache take on disk."""

from __future__ import annotations

import json
import sys
from typing import Any

from sixhops.docker import reference
from sixhops.docker.command import Command, Context
from sixhops.docker.commands import images, ps, volume
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag
from sixhops.docker.screen import human, table, template

__all__ = ["DF"]

_NONE = "<none>"
_ACTIVE = ("running", "paused", "restarting")


def _df(context: Context) -> int:
    options = context.options
    usage = context.client.json("GET", "/system/df")
    form = options["format"]
    if not options["verbose"]:
        table.write(_SUMMARY, _summary(usage), form)
        return 0
    parts = _parts(usage, full=not form.startswith("table") and bool(form))
    if form in ("", "table"):
        _tables(usage, parts)
        return 0
    text = form.removeprefix("table").strip() if form.startswith("table") else form
    try:
        compiled = template.parse(
            (text if form != "raw" else _raw(parts)).replace("\\t", "\t").replace("\\n", "\n")
        )
    except template.TemplateError as error:
        raise DockerError(f"template parsing error: {error}") from error
    try:
        sys.stdout.write(compiled.render(_Usage(parts)))
    except template.TemplateError as error:
        sys.stdout.write(error.partial)
        sys.stdout.flush()
        raise DockerError(str(error)) from error
    return 0


class _Usage(template.Fields):
    """All that is listed, as a template sees it: each kind is a list of its rows."""

    kind = "*formatter.diskUsageContext"

    def __init__(self, parts: dict[str, tuple[table.Listing, list[dict[str, Any]]]]) -> None:
        self._parts = {
            name: [listing.row(thing) for thing in things] for name, (listing, things) in parts.items()
        }

    def wants(self, name: str) -> int:
        """Return -1: all that there is are fields. Raises KeyError."""
        if name not in self._parts:
            raise KeyError(name)
        return -1

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Return the rows of one kind."""
        del arguments
        return self._parts[name]

    def as_json(self) -> str:
        """Return all kinds with their rows."""
        rows = {name: [json.loads(row.as_json()) for row in rows] for name, rows in self._parts.items()}
        return template.escaped(json.dumps(rows, separators=(",", ":"), ensure_ascii=False))


def _raw(parts: dict[str, tuple[table.Listing, list[dict[str, Any]]]]) -> str:
    titles = {"Images": "Image", "Containers": "Container", "Volumes": "Volume", "BuildCache": "Build Cache"}
    return "".join(
        f"{{{{range .{name}}}}}type: {titles[name]}\n{listing.raw}\n{{{{end -}}}}\n"
        for name, (listing, _) in parts.items()
    )


def _tables(usage: dict[str, Any], parts: dict[str, tuple[table.Listing, list[dict[str, Any]]]]) -> None:
    headings = {
        "Images": "Images space usage:\n\n",
        "Containers": "\nContainers space usage:\n\n",
        "Volumes": "\nLocal Volumes space usage:\n\n",
        "BuildCache": f"\nBuild cache usage: {human.decimal_size(_cache_size(usage))}\n\n",
    }
    for name, (listing, things) in parts.items():
        sys.stdout.write(headings[name])
        table.write(listing, things, "")


def _parts(usage: dict[str, Any], *, full: bool) -> dict[str, tuple[table.Listing, list[dict[str, Any]]]]:
    """Return how each kind is listed with --verbose, and what is listed."""
    containers = [{**item, "SizeRootFs": 0} for item in usage.get("Containers") or []]
    cache = sorted(usage.get("BuildCache") or [], key=lambda item: (item.get("LastUsedAt") or "", item["ID"]))
    return {
        "Images": (
            table.with_default(
                images.listing_of(full=full, digests=True),
                "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.VirtualSize}}\t{{.SharedSize}}\t"
                "{{.UniqueSize}}\t{{.Containers}}",
            ),
            [_named(image) for image in usage.get("Images") or []],
        ),
        "Containers": (
            table.with_default(
                ps.listing_of(full=full, size=True),
                "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t"
                "{{.Names}}",
            ),
            containers,
        ),
        "Volumes": (
            table.with_default(volume.LISTING, "{{.Name}}\t{{.Links}}\t{{.Size}}"),
            usage.get("Volumes") or [],
        ),
        "BuildCache": (_cache_listing(full=full), cache),
    }


def _named(image: dict[str, Any]) -> dict[str, Any]:
    """Return an image under its first name only."""
    name, tag = _NONE, _NONE
    names = image.get("RepoTags") or []
    if names and names[0] != f"{_NONE}:{_NONE}":
        parsed = reference.parse(names[0])
        name, tag = parsed.familiar_name, parsed.tag
    return {**image, "repository": name, "tag": tag, "digest": ""}


def _cache_listing(*, full: bool) -> table.Listing:
    def identity(item: dict[str, Any]) -> str:
        short = item["ID"] if full else item["ID"].partition(":")[2][:12] or item["ID"][:12]
        return f"{short}*" if item.get("InUse") else short

    def since(item: dict[str, Any], key: str) -> str:
        moment = human.parse_time(item.get(key) or "")
        return human.ago(moment) if moment is not None else ""

    return table.Listing(
        {
            "ID": identity,
            "Parent": lambda c: c.get("Parent", "") if full else c.get("Parent", "")[:12],
            "CacheType": lambda c: c.get("Type", ""),
            "Size": lambda c: human.decimal_size(c["Size"], 3),
            "CreatedAt": lambda c: c.get("CreatedAt", ""),
            "CreatedSince": lambda c: since(c, "CreatedAt"),
            "LastUsedAt": lambda c: c.get("LastUsedAt") or "",
            "LastUsedSince": lambda c: since(c, "LastUsedAt"),
            "UsageCount": lambda c: str(c.get("UsageCount", 0)),
            "InUse": lambda c: str(bool(c.get("InUse"))).lower(),
            "Shared": lambda c: str(bool(c.get("Shared"))).lower(),
            "Description": lambda c: c.get("Description", ""),
        },
        {
            "ID": "CACHE ID", "CacheType": "CACHE TYPE", "CreatedSince": "CREATED", "LastUsedSince": "LAST USED",
            "UsageCount": "USAGE", "InUse": "IN USE",
        },
        "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
        raw=(
            "build_cache_id: {{.ID}}\nparent_id: {{.Parent}}\nbuild_cache_type: {{.CacheType}}\n"
            "description: {{.Description}}\ncreated_at: {{.CreatedAt}}\ncreated_since: {{.CreatedSince}}\n"
            "last_used_at: {{.LastUsedAt}}\nlast_used_since: {{.LastUsedSince}}\nusage_count: {{.UsageCount}}\n"
            "in_use: {{.InUse}}\nshared: {{.Shared}}\n"
        ),
    )  # fmt: skip


def _reclaimable(row: dict[str, Any]) -> str:
    text = human.decimal_size(row["free"])
    return f"{text} ({int(row['free'] * 100 / row['size'])}%)" if row["share"] and row["size"] > 0 else text


_SUMMARY = table.Listing(
    {
        "Type": lambda row: row["type"],
        "TotalCount": lambda row: str(row["total"]),
        "Active": lambda row: str(row["active"]),
        "Size": lambda row: human.decimal_size(row["size"]),
        "Reclaimable": _reclaimable,
    },
    {"TotalCount": "TOTAL"},
    "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    kind="*formatter.diskUsageImagesContext",
    raw=(
        "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n"
        "reclaimable: {{.Reclaimable}}\n"
    ),
)


def _summary(usage: dict[str, Any]) -> list[dict[str, Any]]:
    layers = int(usage.get("LayersSize") or 0)
    found = usage.get("Images") or []
    used = sum(
        image["VirtualSize"] - image["SharedSize"]
        for image in found
        if image.get("Containers") and -1 not in (image["VirtualSize"], image["SharedSize"])
    )
    rows = [_row("Images", found, sum(1 for i in found if i.get("Containers", 0) > 0), layers, layers - used)]
    found = usage.get("Containers") or []
    idle = [item for item in found if item["State"] not in _ACTIVE]
    size, free = _total(found, "SizeRw"), _total(idle, "SizeRw")
    rows.append(_row("Containers", found, len(found) - len(idle), size, free))
    found = usage.get("Volumes") or []
    sizes = [(item["UsageData"]["RefCount"], item["UsageData"]["Size"]) for item in found]
    known = [(count, size) for count, size in sizes if size != -1]
    free = sum(size for count, size in known if not count)
    rows.append(
        _row(
            "Local Volumes", found, sum(1 for count, _ in sizes if count > 0), sum(s for _, s in known), free
        )
    )
    found = usage.get("BuildCache") or []
    size = _cache_size(usage)
    busy = sum(item["Size"] for item in found if item.get("InUse") and not item.get("Shared"))
    rows.append(_row("Build Cache", found, sum(1 for i in found if i.get("InUse")), size, size - busy))
    rows[-1]["share"] = False
    return rows


def _row(kind: str, things: list[Any], active: int, size: int, free: int) -> dict[str, Any]:
    return {"type": kind, "total": len(things), "active": active, "size": size, "free": free, "share": True}


def _total(things: list[dict[str, Any]], key: str) -> int:
    return sum(int(item.get(key) or 0) for item in things)


def _cache_size(usage: dict[str, Any]) -> int:
    return sum(item["Size"] for item in usage.get("BuildCache") or [] if not item.get("Shared"))


DF = Command(
    usage="",
    summary="Show docker disk usage",
    run=_df,
    most=0,
    flags=(
        flag("format", "string", help="Go template for what is printed"),
        flag("verbose", short="v", help="Show each image, container, volume and cache"),
    ),
)
