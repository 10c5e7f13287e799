"""`run` and `create`.

The order of requests is docker's: create (404: pull, create again), attach, wait with its headers read, start. The
attachment and the wait stand before the container's first instruction, so neither output nor exit status can be missed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from sixhops.docker import config, reference
from sixhops.docker.attached.session import Session, check_terminal
from sixhops.docker.command import Command, Context
from sixhops.docker.commands.pull import pull_image
from sixhops.docker.documents.containerbody import build
from sixhops.docker.documents.containerflags import CONTAINER_FLAGS
from sixhops.docker.errors import ApiError, DockerError, ExitError
from sixhops.docker.flags import check_trust, flag
from sixhops.docker.values import quote

if TYPE_CHECKING:
    from sixhops.docker.engine.answers import Reply
    from sixhops.docker.engine.client import Client

__all__ = ["CREATE", "RUN", "exit_status", "start_failure", "wait_for_exit"]


def wait_for_exit(client: Client, container: str, *, removed: bool) -> Reply:
    """Begin to wait for the next exit (or the removal) of a container; its head is here when this returns."""
    condition = "removed" if removed else "next-exit"
    return client.call("POST", f"/containers/{container}/wait", {"condition": condition})


def exit_status(body: bytes) -> int:
    """Return the exit status that a wait answered. Raises ExitError when the engine could not tell."""
    try:
        answer = json.loads(body)
        problem = answer.get("Error")
        status = int(answer["StatusCode"])
    except (ValueError, KeyError, AttributeError) as error:
        raise ExitError(125, f"Error waiting for container: {str(error) or 'no answer'}") from error
    if problem:
        sys.stderr.write(f"Error waiting for container: {problem.get('Message', '')}\n")
        return 125
    return status


def start_failure(error: DockerError) -> int:
    """Return docker's exit status for a start that the engine refused: 127 not found, 126 not executable, else 125."""
    text = str(error)
    if any(
        sign in text
        for sign in (
            "executable file not found",
            "no such file or directory",
            "system cannot find the file specified",
        )
    ):
        return 127
    return 126 if "permission denied" in text else 125


def _run(context: Context) -> int:
    client, options = context.client, context.options
    document = _document(context)
    if options["detach"]:
        if options["attach"]:
            raise DockerError("Conflicting options: -a and -d")
        document |= {"AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "StdinOnce": False}
    else:
        check_terminal(document["AttachStdin"], document["Tty"])
    try:
        container = _create(context, document)
    except DockerError as error:
        raise ExitError(125, _reported(error, "run")) from error
    attached = document["AttachStdin"] or document["AttachStdout"] or document["AttachStderr"]
    shown = document["AttachStdout"] or document["AttachStderr"]
    if not shown:
        sys.stdout.write(f"{container}\n")
        sys.stdout.flush()
    proxy = options["sig-proxy"] and not options["detach"]
    keys = options["detach-keys"] or client.settings.text("detachKeys")
    session = Session(client, f"/containers/{container}", tty=document["Tty"], proxy=proxy, keys=keys)
    try:
        if attached:
            _attach(session, client, container, document, keys)
        waiting = wait_for_exit(client, container, removed=options["rm"])
        _start(session, container, waiting, removed=options["rm"])
        if attached:
            session.watch_size()
            if not session.until_output_ends():
                return 0
        if not shown:
            waiting.close()
            return 0
        session.restore()
        return exit_status(session.read(waiting))
    finally:
        session.close()


def _attach(session: Session, client: Client, container: str, document: dict[str, Any], keys: str) -> None:
    query = {"stream": "1"}
    for name in ("stdin", "stdout", "stderr"):
        if document[f"Attach{name.capitalize()}"]:
            query[name] = "1"
    if keys:
        query["detachKeys"] = keys
    connection = client.hijack(f"/containers/{container}/attach", query)
    session.join(
        connection,
        stdin=document["AttachStdin"],
        stdout=document["AttachStdout"],
        stderr=document["AttachStderr"],
    )


def _start(session: Session, container: str, waiting: Reply, *, removed: bool) -> None:
    try:
        session.start(f"/containers/{container}/start", {})
    except DockerError as error:
        session.restore()
        sys.stderr.write(f"docker: {str(error).removesuffix('.')}.\n")
        sys.stderr.flush()
        if removed:
            session.read(waiting)
        raise ExitError(start_failure(error)) from error


def _create_command(context: Context) -> int:
    document = _document(context)
    container = _create(context, document)
    sys.stdout.write(f"{container}\n")
    return 0


def _document(context: Context) -> dict[str, Any]:
    """Return the create document; options that contradict one another end the command with docker's status 125."""
    client = context.client
    client.negotiate()
    try:
        proxies = config.proxy_environment(client.settings, client.host)
        return build(context.options, client.server_os, proxies)
    except DockerError as error:
        raise ExitError(125, _reported(error, context.name)) from error


def _reported(error: DockerError, name: str) -> str:
    return f"docker: {str(error).removesuffix('.')}.\nSee 'docker {name.rsplit(maxsplit=1)[-1]} --help'."


def _create(context: Context, document: dict[str, Any]) -> str:
    """Create the container, pulling its image when that is missing; return its id. Raises DockerError."""
    client, options = context.client, context.options
    check_trust(options)
    host = document["HostConfig"]
    if host["OomKillDisable"] and not host["Memory"]:
        sys.stderr.write(
            "WARNING: Disabling the OOM killer on containers without setting a '-m/--memory' limit may be dangerous.\n"
        )
    for address in host["Dns"]:
        if address.startswith("127.") or address == "::1":
            sys.stderr.write(f"WARNING: Localhost DNS setting (--dns={address}) may fail in containers.\n")
            break
    identity = _IdFile(options["cidfile"])
    image = document["Image"]
    name = (
        None if re.fullmatch(r"[a-f0-9]{64}|sha256:[a-f0-9]{64}", image) else reference.parse(image).tagged()
    )
    query = {"name": options["name"]} if options["name"] else {}
    platform = _platform(options["platform"])
    if platform and client.at_least("1.41"):
        query["platform"] = platform
    sys.stdout.flush()
    if options["pull"] == "always":
        pull_image(client, image, options["platform"], 2)
    try:
        answer = client.json("POST", "/containers/create", query, document)
    except ApiError as error:
        if error.status != 404 or name is None or options["pull"] != "missing":
            raise
        sys.stderr.write(f"Unable to find image '{name.familiar}' locally\n")
        sys.stderr.flush()
        pull_image(client, image, options["platform"], 2)
        answer = client.json("POST", "/containers/create", query, document)
    for warning in answer.get("Warnings") or []:
        sys.stderr.write(f"WARNING: {warning}\n")
    identity.write(str(answer["Id"]))
    return str(answer["Id"])


def _platform(text: str) -> str:
    """Return --platform as create's query holds it, OS/ARCHITECTURE[/VARIANT]."""
    if not text:
        return ""
    words = text.lower().split("/")
    if len(words) > 3 or not all(re.fullmatch(r"[a-z0-9_-]+", word) for word in words):
        reason = "cannot parse platform specifier" if len(words) > 3 else "invalid component"
        raise DockerError(f"error parsing specified platform: {quote(text)}: {reason}: invalid argument")
    aliases = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
    if len(words) == 1:
        words = [words[0], "amd64"] if words[0] in ("linux", "windows") else ["linux", words[0]]
    words[1] = aliases.get(words[1], words[1])
    return "/".join(words)


class _IdFile:
    """The file of --cidfile: it must not be there before, and it is made with the container's id in it."""

    def __init__(self, path: str) -> None:
        self._path = path
        if path and os.path.exists(path):
            raise DockerError(
                f"container ID file found, make sure the other container isn't running or delete {path}"
            )
        if path:
            self._open("x").close()

    def write(self, identity: str) -> None:
        """Write the id."""
        if self._path:
            with self._open("w") as file:
                file.write(identity)

    def _open(self, mode: str) -> Any:
        try:
            return open(self._path, mode, encoding="ascii")
        except OSError as error:
            raise DockerError(
                f"Failed to create the container ID file: open {self._path}: {(error.strerror or '').lower()}"
            ) from error


_RUN_ONLY = (
    flag("detach", short="d", help="Leave it running and print its ID"),
    flag("detach-keys", "string", help="Keys that detach"),
    flag("sig-proxy", help="Pass signals on to the process", default=True, shown="true"),
)

RUN = Command(
    usage="IMAGE [COMMAND] [ARG...]",
    summary="Run a command in a new container",
    run=_run,
    least=1,
    flags=(*CONTAINER_FLAGS, *_RUN_ONLY),
    anywhere=False,
)

CREATE = Command(
    usage="IMAGE [COMMAND] [ARG...]",
    summary="Create a new container",
    run=_create_command,
    least=1,
    flags=CONTAINER_FLAGS,
    anywhere=False,
)
