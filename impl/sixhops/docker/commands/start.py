"""`start` and `attach`: containers that exist already."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sixhops.docker.attached.session import Session, check_terminal
from sixhops.docker.command import Command, Context
from sixhops.docker.commands.run import exit_status, wait_for_exit
from sixhops.docker.errors import ApiError, DockerError, ExitError
from sixhops.docker.flags import flag

if TYPE_CHECKING:
    from sixhops.docker.engine.answers import Reply
    from sixhops.docker.engine.client import Client

__all__ = ["ATTACH", "START"]


def _start(context: Context) -> int:
    options = context.options
    if options["attach"] or options["interactive"]:
        if len(options.arguments) > 1:
            raise DockerError("you cannot start and attach multiple containers at once")
        return _start_attached(context, options.arguments[0])
    failed = []
    for name in options.arguments:
        try:
            context.client.call("POST", f"/containers/{name}/start").body()
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
        except DockerError as error:
            sys.stderr.write(f"{error}\n")
            failed.append(name)
    if failed:
        raise DockerError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _start_attached(context: Context, name: str) -> int:
    client, options = context.client, context.options
    document = client.look("container", name)
    container, settings = document["Id"], document["Config"]
    keys = options["detach-keys"] or client.settings.text("detachKeys")
    stdin = options["interactive"] and settings["OpenStdin"]
    query = {"stream": "1", "stdout": "1", "stderr": "1"}
    if stdin:
        query["stdin"] = "1"
    if keys:
        query["detachKeys"] = keys
    proxy = options["attach"] and not settings["Tty"]
    session = Session(client, f"/containers/{container}", tty=settings["Tty"], proxy=proxy, keys=keys)
    try:
        connection = client.hijack(f"/containers/{container}/attach", query)
        session.join(connection, stdin=stdin, stdout=True, stderr=True)
        waiting = wait_for_exit(client, container, removed=document["HostConfig"]["AutoRemove"])
        try:
            session.start(f"/containers/{container}/start", {})
        except DockerError:
            session.restore()
            if document["HostConfig"]["AutoRemove"]:
                session.read(waiting)
            raise
        session.watch_size()
        if not session.until_output_ends():
            return 0
        session.restore()
        return exit_status(session.read(waiting))
    finally:
        session.close()


def _attach(context: Context) -> int:
    client, options = context.client, context.options
    name = options.arguments[0]
    # the wait stands before the inspection, or a container that ends in between would be waited for until its next end
    waiting = _wait(client, name)
    document = client.look("container", name)
    _check_attachable(document)
    settings = document["Config"]
    stdin = not options["no-stdin"] and settings["OpenStdin"]
    check_terminal(not options["no-stdin"], settings["Tty"])
    keys = options["detach-keys"] or client.settings.text("detachKeys")
    query = {"stream": "1", "stdout": "1", "stderr": "1"}
    if stdin:
        query["stdin"] = "1"
    if keys:
        query["detachKeys"] = keys
    proxy = options["sig-proxy"] and not settings["Tty"]
    session = Session(client, f"/containers/{name}", tty=settings["Tty"], proxy=proxy, keys=keys)
    try:
        connection = client.hijack(f"/containers/{name}/attach", query)
        _check_attachable(_look(client, name))
        session.join(connection, stdin=stdin, stdout=True, stderr=True)
        session.watch_size()
        if not session.until_output_ends():
            raise ExitError(1, "read escape sequence")
        session.restore()
        return exit_status(session.read(waiting)) if waiting is not None else 0
    finally:
        session.close()


def _wait(client: Client, name: str) -> Reply | None:
    """Begin to wait before anything else, or an end in between would be missed; what is wrong is told by the inspection."""
    try:
        return client.call("POST", f"/containers/{name}/wait", {"condition": ""})
    except ApiError:
        return None


def _look(client: Client, name: str) -> dict[str, Any]:
    document: dict[str, Any] = client.look("container", name)
    return document


def _check_attachable(document: dict[str, Any]) -> None:
    state = document["State"]
    if not state["Running"]:
        raise DockerError("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise DockerError("You cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise DockerError("You cannot attach to a restarting container, wait until it is running")


START = Command(
    usage="CONTAINER [CONTAINER...]",
    summary="Start one or more stopped containers",
    run=_start,
    least=1,
    flags=(
        flag("attach", short="a", help="Attach stdout and stderr, pass signals on"),
        flag("detach-keys", "string", help="Keys that detach"),
        flag("interactive", short="i", help="Attach stdin"),
    ),
)

ATTACH = Command(
    usage="CONTAINER",
    summary="Attach local standard input, output, and error streams to a running container",
    run=_attach,
    least=1,
    most=1,
    flags=(
        flag("detach-keys", "string", help="Keys that detach"),
        flag("no-stdin", help="Leave stdin alone"),
        flag("sig-proxy", help="Pass signals on to the process", default=True, shown="true"),
    ),
)
