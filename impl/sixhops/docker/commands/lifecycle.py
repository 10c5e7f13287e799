"""`stop`, `kill`, `rm`, `restart`, `pause`, `unpause`, `wait`, `rename`: one request for each container."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sixhops.docker.command import Command, Context
from sixhops.docker.engine.client import Client
from sixhops.docker.errors import DockerError, NotFoundError
from sixhops.docker.flags import flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["KILL", "PAUSE", "RENAME", "RESTART", "RM", "STOP", "UNPAUSE", "WAIT"]


def _each(
    context: Context,
    names: Sequence[str],
    action: Callable[[Client, str], str],
    *,
    together: bool,
    forgive: bool = False,
) -> int:
    """Do `action` for each name and print what it returns, in order. Raises DockerError with all that failed.

    `together`: all at once, because each may take as long as a container takes to stop. `forgive`: what isn't there is
    told and is no failure.
    """
    context.client.negotiate()
    results: Iterable[tuple[str, DockerError | None]]
    if together and len(names) > 1:
        results = _at_once(context.client, names, action)
    else:
        results = (_outcome(context.client, name, action) for name in names)
    problems = []
    for printed, problem in results:
        if problem is None:
            sys.stdout.write(f"{printed}\n")
            sys.stdout.flush()
        elif forgive and isinstance(problem, NotFoundError):
            sys.stderr.write(f"{problem}\n")
        else:
            problems.append(str(problem))
    if problems:
        raise DockerError("\n".join(problems))
    return 0


def _outcome(
    client: Client, name: str, action: Callable[[Client, str], str]
) -> tuple[str, DockerError | None]:
    try:
        return action(client, name), None
    except DockerError as error:
        return "", error


def _at_once(
    client: Client, names: Sequence[str], action: Callable[[Client, str], str]
) -> list[tuple[str, DockerError | None]]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only with several names

    def alone(name: str) -> tuple[str, DockerError | None]:
        own = Client(client.settings)
        own.version, own.server_os = client.version, client.server_os
        own.skip_negotiation()
        try:
            return _outcome(own, name, action)
        finally:
            own.close()

    with ThreadPoolExecutor(max_workers=min(len(names), 50)) as pool:
        return list(pool.map(alone, names))


def _stop(context: Context) -> int:
    return _timed(context, "stop", together=True)


def _restart(context: Context) -> int:
    return _timed(context, "restart", together=False)


def _timed(context: Context, verb: str, *, together: bool) -> int:
    query = {"t": str(context.options["time"])} if "time" in context.options.given else {}

    def action(client: Client, name: str) -> str:
        client.call("POST", f"/containers/{name}/{verb}", query).body()
        return name

    return _each(context, context.options.arguments, action, together=together)


def _kill(context: Context) -> int:
    query = {"signal": context.options["signal"]}

    def action(client: Client, name: str) -> str:
        client.call("POST", f"/containers/{name}/kill", query).body()
        return name

    return _each(context, context.options.arguments, action, together=True)


def _plain(verb: str) -> Callable[[Context], int]:
    def action(client: Client, name: str) -> str:
        client.call("POST", f"/containers/{name}/{verb}").body()
        return name

    return lambda context: _each(context, context.options.arguments, action, together=True)


def _remove(context: Context) -> int:
    options = context.options
    query = {
        key: "1" for key, name in (("v", "volumes"), ("link", "link"), ("force", "force")) if options[name]
    }

    def action(client: Client, name: str) -> str:
        plain = name.strip("/")
        if not plain:
            raise DockerError("Container name cannot be empty")
        client.call("DELETE", f"/containers/{plain}", query, missing=("container", plain)).body()
        return name

    if options["force"]:
        return _each(context, options.arguments, action, together=True, forgive=True)

    return _each(context, options.arguments, action, together=True)


def _wait(context: Context) -> int:
    def action(client: Client, name: str) -> str:
        answer = client.json("POST", f"/containers/{name}/wait", {"condition": ""})
        if answer.get("Error"):
            raise DockerError(str(answer["Error"].get("Message", "")))
        return str(answer["StatusCode"])

    return _each(context, context.options.arguments, action, together=False)


def _rename(context: Context) -> int:
    old, new = (word.strip() for word in context.options.arguments)
    if not old or not new:
        raise DockerError("Error: Neither old nor new names may be empty")
    try:
        context.client.call("POST", f"/containers/{old}/rename", {"name": new}).body()
    except DockerError as error:
        sys.stderr.write(f"{error}\n")
        raise DockerError(f"Error: failed to rename container named {old}") from error
    return 0


_MANY = "CONTAINER [CONTAINER...]"

STOP = Command(
    usage=_MANY,
    summary="Stop one or more running containers",
    run=_stop,
    least=1,
    flags=(flag("time", "int", "t", "Seconds that it may take before it is killed", default=10, shown="10"),),
)
RESTART = Command(
    usage=_MANY,
    summary="Restart one or more containers",
    run=_restart,
    least=1,
    flags=(flag("time", "int", "t", "Seconds that it may take before it is killed", default=10, shown="10"),),
)
KILL = Command(
    usage=_MANY,
    summary="Kill one or more running containers",
    run=_kill,
    least=1,
    flags=(flag("signal", "string", "s", "Signal to send", default="KILL", shown='"KILL"'),),
)
RM = Command(
    usage=_MANY,
    summary="Remove one or more containers",
    run=_remove,
    least=1,
    flags=(
        flag("force", short="f", help="Also a container that runs; it is killed"),
        flag("link", short="l", help="Remove the link of that name"),
        flag("volumes", short="v", help="Also its volumes without a name"),
    ),
)
PAUSE = Command(
    usage=_MANY, summary="Pause all processes within one or more containers", run=_plain("pause"), least=1
)
UNPAUSE = Command(
    usage=_MANY, summary="Unpause all processes within one or more containers", run=_plain("unpause"), least=1
)
WAIT = Command(
    usage=_MANY,
    summary="Block until one or more containers stop, then print their exit codes",
    run=_wait,
    least=1,
)
RENAME = Command(usage="CONTAINER NEW_NAME", summary="Rename a container", run=_rename, least=2, most=2)
