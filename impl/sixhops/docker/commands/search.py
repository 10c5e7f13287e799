"""`search`: images of Docker Hub, found by the engine."""

from __future__ import annotations

import json
from typing import Any

from sixhops.docker.command import Command, Context
from sixhops.docker.commands.pull import registry_auth
from sixhops.docker.filters import encode
from sixhops.docker.flags import flag
from sixhops.docker.reference import Reference
from sixhops.docker.screen import table

__all__ = ["SEARCH"]

_WIDTH = 45


def _search(context: Context) -> int:
    client, options = context.client, context.options
    term = options.arguments[0]
    first, slash, _ = term.partition("/")
    named = bool(slash) and (any(sign in first for sign in ".:") or first == "localhost")
    registry = first if named else "docker.io"
    query = {"term": term, "limit": str(options["limit"])}
    if options["filter"]:
        query["filters"] = encode(options["filter"])
    headers = {"X-Registry-Auth": registry_auth(client, Reference(registry, ""))}
    found = client.call("GET", "/images/search", query, headers=headers).json() or []
    found.sort(key=lambda image: -int(image.get("star_count") or 0))
    table.write(_listing(full=options["no-trunc"]), found, options["format"])
    return 0


def _listing(*, full: bool) -> table.Listing:
    return table.Listing(
        {
            "Name": lambda i: i["name"],
            "Description": lambda i: _description(i, full=full),
            "StarCount": lambda i: str(i.get("star_count") or 0),
            "IsOfficial": lambda i: "[OK]" if i.get("is_official") else "",
            "IsAutomated": lambda i: "[OK]" if i.get("is_automated") else "",
        },
        {"StarCount": "STARS", "IsOfficial": "OFFICIAL", "IsAutomated": "AUTOMATED"},
        "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}\t{{.IsAutomated}}",
        kind="*registry.searchContext",
        plain={
            "IsOfficial": lambda i: json.dumps(bool(i.get("is_official"))),
            "IsAutomated": lambda i: json.dumps(bool(i.get("is_automated"))),
        },
    )


def _description(image: dict[str, Any], *, full: bool) -> str:
    text = str(image.get("description") or "").replace("\n", " ").replace("\r", " ")
    return text if full or len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


SEARCH = Command(
    usage="TERM",
    summary="Search the Docker Hub for images",
    run=_search,
    least=1,
    most=1,
    flags=(
        flag("filter", "filter", "f", "Only images that meet the condition"),
        flag("format", "string", help="Go template for each line"),
        flag("limit", "int", help="How many at most", default=25, shown="25"),
        flag("no-trunc", help="Print everything in full length"),
    ),
)
