"""`events`: what happens in the engine, as it happens."""

from __future__ import annotations

import sys
import time
from typing import Any

from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError, ExitError
from sixhops.docker.filters import encode
from sixhops.docker.flags import flag
from sixhops.docker.screen import progress, structs, template
from sixhops.docker.screen.gotime import timestamp

__all__ = ["EVENTS"]


def _events(context: Context) -> int:
    options = context.options
    form = options["format"]
    try:
        compiled = template.parse(form) if form else None
        if compiled is not None:
            compiled.render(_seen({}))  # what it can't be asked for is told at once
    except template.TemplateError as error:
        raise ExitError(64, f"Error parsing format: {error}") from error
    query = {}
    for name in ("since", "until"):
        if options[name]:
            try:
                query[name] = timestamp(options[name])
            except ValueError as error:
                raise DockerError(str(error)) from error
    if options["filter"]:
        query["filters"] = encode(options["filter"])
    for event in progress.messages(context.client.call("GET", "/events", query).pieces()):
        try:
            sys.stdout.write(f"{compiled.render(_seen(event)) if compiled else _line(event)}\n")
        except template.TemplateError as error:
            raise DockerError(str(error)) from error
        sys.stdout.flush()
    return 0


def _seen(event: dict[str, Any]) -> Any:
    """Return an event as a template sees it."""
    return structs.view("*events.Message", event)


def _line(event: dict[str, Any]) -> str:
    moment = int(event.get("timeNano") or 0) or int(event.get("time") or 0) * 10**9
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment // 10**9))
    zone = time.strftime("%z", time.localtime(moment // 10**9))
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    actor = event.get("Actor") or {}
    line = (
        f"{when}.{moment % 10**9:09d}{zone} {event.get('Type')} {event.get('Action')} {actor.get('ID', '')}"
    )
    attributes = actor.get("Attributes") or {}
    if attributes:
        line += f" ({', '.join(f'{name}={attributes[name]}' for name in sorted(attributes))})"
    return line


EVENTS = Command(
    usage="",
    summary="Get real time events from the server",
    run=_events,
    most=0,
    flags=(
        flag("filter", "filter", "f", "Only events that meet the condition"),
        flag("format", "string", help="Go template for each event"),
        flag("since", "string", help="From this time on"),
        flag("until", "string", help="Up to this time"),
    ),
)
