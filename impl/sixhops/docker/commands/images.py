"""`images`, `history`, `rmi`, `tag`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sixhops.docker import reference
from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError, ExitError, NotFoundError
from sixhops.docker.filters import encode
from sixhops.docker.flags import flag
from sixhops.docker.screen import human, table

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HISTORY", "IMAGES", "LS", "RM", "RMI", "TAG", "listing_of"]

_NONE = "<none>"
_PATH_SAFE = "/:@"


def _images(context: Context) -> int:
    client, options = context.client, context.options
    filters = list(options["filter"])
    if options.arguments:
        filters.append(("reference", options.arguments[0]))
    query = {"filters": encode(filters)} if filters else {}
    if options["all"]:
        query["all"] = "1"
    chosen = options["format"] or ("" if options["quiet"] else client.settings.text("imagesFormat"))
    if options["digests"] and chosen.startswith("table ") and "{{.Digest}}" not in chosen:
        chosen += "\t{{.Digest}}"
    images = client.json("GET", "/images/json", query) or []
    digests = options["digests"] or "{{.Digest}}" in chosen
    rows = [row for image in images for row in _rows(image, digests=digests)]
    table.write(
        listing_of(full=options["no-trunc"], digests=options["digests"]),
        rows,
        chosen,
        quiet=options["quiet"],
    )
    return 0


def _rows(image: dict[str, Any], *, digests: bool) -> list[dict[str, Any]]:
    """Return one row for each name of an image; with digests, each name's digests beside it."""
    tags: dict[str, list[str]] = {}
    hashes: dict[str, list[str]] = {}
    for text in image.get("RepoTags") or []:
        if text != f"{_NONE}:{_NONE}":
            name = reference.parse(text)
            tags.setdefault(name.familiar_name, []).append(name.tag)
    for text in image.get("RepoDigests") or []:
        if text != f"{_NONE}@{_NONE}":
            name = reference.parse(text)
            hashes.setdefault(name.familiar_name, []).append(name.digest)
    rows = []

    def add(name: str, tag: str, digest: str) -> None:
        rows.append({**image, "repository": name, "tag": tag, "digest": digest})

    for title, found in tags.items():
        of_name = hashes.pop(title, [])
        for tag in found:
            for digest in (of_name or [_NONE]) if digests else [_NONE]:
                add(title, tag, digest)
    for title, found in hashes.items():
        for digest in found if digests else found[:1]:
            add(title, _NONE, digest)
    if not rows:
        add(_NONE, _NONE, _NONE)
    return rows


def listing_of(*, full: bool, digests: bool) -> table.Listing:
    """Return how images are listed: rows are images with `repository`, `tag` and `digest` beside their own keys."""
    fields: dict[str, Callable[..., Any]] = {
        "Containers": lambda i: "N/A" if i.get("Containers", -1) == -1 else str(i["Containers"]),
        "CreatedAt": lambda i: human.local_time(i["Created"]),
        "CreatedSince": lambda i: human.ago(i["Created"]) if i["Created"] else "N/A",
        "Digest": lambda i: i["digest"],
        "ID": lambda i: i["Id"] if full else _short(i["Id"]),
        "Repository": lambda i: i["repository"],
        "SharedSize": lambda i: _optional_size(i.get("SharedSize", -1)),
        "Size": lambda i: human.decimal_size(i["Size"], 3),
        "Tag": lambda i: i["tag"],
        "UniqueSize": _unique_size,
        "VirtualSize": lambda i: human.decimal_size(i.get("VirtualSize", i["Size"])),
    }
    titles = {
        "ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
    }  # fmt: skip
    digest = "{{.Digest}}\t" if digests else ""
    return table.Listing(
        fields,
        titles,
        f"{{{{.Repository}}}}\t{{{{.Tag}}}}\t{digest}{{{{.ID}}}}\t{{{{.CreatedSince}}}}\t{{{{.Size}}}}",
        kind="*formatter.imageContext",
        raw=(
            "repository: {{ .Repository }}\ntag: {{.Tag}}\n"
            + ("digest: {{.Digest}}\n" if digests else "")
            + "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
        ),
        raw_quiet="image_id: {{.ID}}",
    )


def _optional_size(size: int) -> str:
    return "N/A" if size == -1 else human.decimal_size(size)


def _unique_size(image: dict[str, Any]) -> str:
    shared = image.get("SharedSize", -1)
    return "N/A" if shared == -1 else human.decimal_size(image.get("VirtualSize", image["Size"]) - shared)


def _short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:12]


def _history(context: Context) -> int:
    client, options = context.client, context.options
    image = options.arguments[0]
    layers = client.json("GET", f"/images/{quote(image, safe=_PATH_SAFE)}/history")
    full, plain = options["no-trunc"], not options["human"]
    fields: dict[str, Callable[..., Any]] = {
        "Comment": lambda h: h["Comment"],
        "CreatedAt": lambda h: human.rfc3339(h["Created"]),
        "CreatedBy": lambda h: _created_by(h["CreatedBy"], full=full),
        "CreatedSince": lambda h: human.rfc3339(h["Created"]) if plain else human.ago(h["Created"]),
        "ID": lambda h: h["Id"] if full else _short(h["Id"]),
        "Size": lambda h: str(h["Size"]) if plain else human.decimal_size(h["Size"], 3),
    }
    titles = {
        "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY",
    }  # fmt: skip
    created = "{{.CreatedAt}}" if plain else "{{.CreatedSince}}"
    default = f"{{{{.ID}}}}\t{created}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}"
    table.write(
        table.Listing(fields, titles, default, kind="*image.historyContext"),
        layers,
        options["format"],
        quiet=options["quiet"],
    )
    return 0


def _created_by(text: str, *, full: bool) -> str:
    text = text.replace("\t", " ")
    return text if full or len(text) <= 45 else f"{text[:44]}…"


def _remove(context: Context) -> int:
    client, options = context.client, context.options
    query = {"force": "1"} if options["force"] else {}
    if options["no-prune"]:
        query["noprune"] = "1"
    problems: list[str] = []
    fatal = False
    for name in options.arguments:
        try:
            path = f"/images/{quote(name, safe=_PATH_SAFE)}"
            gone = client.call("DELETE", path, query, missing=("image", name)).json()
        except DockerError as error:
            fatal = fatal or not isinstance(error, NotFoundError)
            problems.append(str(error))
            continue
        for item in gone or []:
            word = "Deleted" if item.get("Deleted") else "Untagged"
            sys.stdout.write(f"{word}: {item.get('Deleted') or item.get('Untagged')}\n")
    if not problems:
        return 0
    message = "\n".join(problems)
    if options["force"] and not fatal:
        sys.stdout.flush()
        sys.stderr.write(f"{message}\n")
        return 0
    raise ExitError(1, message)


def _parsed(text: str) -> reference.Reference:
    try:
        return reference.parse(text)
    except DockerError as error:
        reason = f"Error parsing reference: {json.dumps(text)} is not a valid repository/tag: {error}"
        raise DockerError(reason) from error


def _tag(context: Context) -> int:
    source, target = context.options.arguments
    name = _parsed(target)
    _parsed(source)
    if name.digest:
        raise DockerError("refusing to create a tag with a digest reference")
    path = f"/images/{quote(source, safe=_PATH_SAFE)}/tag"
    context.client.call("POST", path, {"repo": name.familiar_name, "tag": name.tag or "latest"}).body()
    return 0


_LIST_FLAGS = (
    flag("all", short="a", help="Also images that are only a step to others"),
    flag("digests", help="Show digests"),
    flag("filter", "filter", "f", "Only images that meet the condition"),
    flag("format", "string", help="Go template for each line"),
    flag("no-trunc", help="Print everything in full length"),
    flag("quiet", short="q", help="Print IDs only"),
)
_NAMED = "[REPOSITORY[:TAG]]"

IMAGES = Command(usage=_NAMED, summary="List images", run=_images, most=1, flags=_LIST_FLAGS)
LS = Command(
    usage=_NAMED,
    summary="List images",
    run=_images,
    most=1,
    flags=_LIST_FLAGS,
    aliases=("ls", "list"),
)

HISTORY = Command(
    usage="IMAGE",
    summary="Show the history of an image",
    run=_history,
    least=1,
    most=1,
    flags=(
        flag("format", "string", help="Go template for each line"),
        flag("human", short="H", help="Sizes and times for people", default=True, shown="true"),
        flag("no-trunc", help="Print everything in full length"),
        flag("quiet", short="q", help="Print IDs only"),
    ),
)

_REMOVE_FLAGS = (
    flag("force", short="f", help="Remove it although something holds it"),
    flag("no-prune", help="Keep its parents without a name"),
)
_IMAGES = "IMAGE [IMAGE...]"

RMI = Command(usage=_IMAGES, summary="Remove one or more images", run=_remove, least=1, flags=_REMOVE_FLAGS)
RM = Command(
    usage=_IMAGES,
    summary="Remove one or more images",
    run=_remove,
    least=1,
    flags=_REMOVE_FLAGS,
    aliases=("rm", "rmi", "remove"),
)

TAG = Command(
    usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    summary="Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    run=_tag,
    least=2,
    most=2,
)
