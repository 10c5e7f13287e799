"""`inspect`: what the engine knows of a thing, as JSON or through a template."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError, ExitError, NotFoundError
from sixhops.docker.flags import flag
from sixhops.docker.screen import template

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.docker.engine.client import Client

__all__ = [
    "INSPECT",
    "INSPECT_CONTAINER",
    "INSPECT_IMAGE",
    "INSPECT_NETWORK",
    "INSPECT_VOLUME",
    "show",
]

#: The kinds that `inspect` tries in turn, and the engine's path of each ("{}" is the name).
_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
    "plugin": "/plugins/{}/json",
}
_TYPES = ("", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume")


def _inspect(context: Context) -> int:
    chosen = context.options["type"]
    if chosen not in _TYPES:
        raise DockerError(f"{json.dumps(chosen)} is not a valid value for --type")
    if chosen and chosen not in _PATHS:
        raise DockerError(f"this client does not inspect a {chosen}")
    return _of(context, (chosen,) if chosen else tuple(_PATHS), size=context.options["size"])


def _of(context: Context, kinds: tuple[str, ...], *, size: bool, verbose: bool = False) -> int:
    def find(name: str) -> Any:
        return _find(context.client, name, kinds, size=size, verbose=verbose)

    return show(context.options.arguments, context.options["format"], find)


def show(
    names: list[str], form: str, find: Callable[[str], Any], seen: Callable[[Any], Any] | None = None
) -> int:
    """Print what `find` returns for each name, as JSON or through the template `form`.

    `seen` makes of what was found what the template sees. Those that can't be found are told at the end. Raises ExitError.
    """
    try:
        compiled = template.parse(form.replace("\\t", "\t").replace("\\n", "\n")) if form else None
    except template.TemplateError as error:
        raise ExitError(64, f"template parsing error: {error}") from error
    found: list[Any] = []
    written = ""
    problems: list[str] = []
    for name in names:
        try:
            document = find(name)
        except DockerError as error:
            problems.append(str(error))
            continue
        if compiled is None:
            found.append(document)
            continue
        try:
            written += f"{compiled.render(seen(document) if seen else document, strict=True)}\n"
        except template.TemplateError as error:
            problems.append(f"template parsing error: {error}")
    sys.stdout.write(f"{_pretty(found)}\n" if compiled is None else written or "\n")
    if problems:
        raise ExitError(1, "\n".join(problems))
    return 0


def _find(client: Client, name: str, kinds: tuple[str, ...], *, size: bool, verbose: bool) -> Any:
    only = kinds[0] if len(kinds) == 1 else ""
    for kind in kinds:
        query = {"size": "1"} if size and kind == "container" else {}
        if verbose:
            query["verbose"] = "true"
        missing = (only or "object", name)
        try:
            found = client.call("GET", _PATHS[kind].format(name), query, missing=missing).json()
        except NotFoundError:
            if only:
                raise
            continue
        if size and kind != "container":
            sys.stderr.write(f"WARNING: --size ignored for {kind}\n")
        return found
    raise NotFoundError("object", name)


def _pretty(found: list[Any]) -> str:
    """Return JSON as Go indents it: four spaces, and & < > escaped."""
    text = json.dumps(found, indent=4, ensure_ascii=False)
    for sign in "&<>":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _only(kind: str) -> Callable[[Context], int]:
    return lambda context: _of(context, (kind,), size=kind == "container" and context.options["size"])


_FORMAT = flag("format", "string", "f", "Go template for what is printed")
_SIZE = flag("size", short="s", help="Also the sizes of a container")

INSPECT = Command(
    usage="NAME|ID [NAME|ID...]",
    summary="Return low-level information on Docker objects",
    run=_inspect,
    least=1,
    flags=(_FORMAT, _SIZE, flag("type", "string", help="Look for things of this type only")),
)
INSPECT_CONTAINER = Command(
    usage="CONTAINER [CONTAINER...]",
    summary="Display detailed information on one or more containers",
    run=_only("container"),
    least=1,
    flags=(_FORMAT, _SIZE),
)
INSPECT_IMAGE = Command(
    usage="IMAGE [IMAGE...]",
    summary="Display detailed information on one or more images",
    run=_only("image"),
    least=1,
    flags=(_FORMAT,),
)
INSPECT_NETWORK = Command(
    usage="NETWORK [NETWORK...]",
    summary="Display detailed information on one or more networks",
    run=lambda context: _of(context, ("network",), size=False, verbose=context.options["verbose"]),
    least=1,
    flags=(_FORMAT, flag("verbose", short="v", help="Also what helps to find faults")),
)
INSPECT_VOLUME = Command(
    usage="VOLUME [VOLUME...]",
    summary="Display detailed information on one or more volumes",
    run=_only("volume"),
    least=1,
    flags=(_FORMAT,),
)
