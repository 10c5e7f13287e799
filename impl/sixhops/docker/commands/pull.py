"""`pull` and `push`, and the pull that `run` and `create` do when the image is missing."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING

from sixhops.docker import credentials, reference
from sixhops.docker.command import Command, Context
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import PLATFORM, TRUST, check_trust, flag
from sixhops.docker.screen import progress

if TYPE_CHECKING:
    from sixhops.docker.engine.answers import Reply
    from sixhops.docker.engine.client import Client
    from sixhops.docker.reference import Reference

__all__ = ["PULL", "PUSH", "pull_image", "registry_auth"]


def registry_auth(client: Client, name: Reference) -> str:
    """Return X-Registry-Auth for the registry of `name`: base64 of the credentials' JSON."""
    try:
        found = credentials.find(client.settings, name.domain)
    except DockerError:
        found = {}  # as docker does: what can be read by everybody is read without credentials
    return base64.urlsafe_b64encode(json.dumps(found, separators=(",", ":")).encode()).decode()


def begin_pull(client: Client, name: Reference, platform: str, *, all_tags: bool = False) -> Reply:
    """Ask the engine to pull `name`; the answer is a stream of progress. Raises as `Client.call`."""
    query = {"fromImage": name.familiar_name}
    if not all_tags:
        query["tag"] = name.digest or name.tag
    if platform:
        query["platform"] = platform.lower()
    return client.call(
        "POST", "/images/create", query, headers={"X-Registry-Auth": registry_auth(client, name)}
    )


def pull_image(client: Client, image: str, platform: str, descriptor: int) -> None:
    """Pull for `run` and `create`, with the progress on `descriptor`. Raises DockerError."""
    name = reference.parse(image).tagged()
    progress.show(begin_pull(client, name, platform).pieces(), descriptor)


def _pull(context: Context) -> int:
    options = context.options
    check_trust(options)
    name = reference.parse(options.arguments[0])
    everything = options["all-tags"]
    if everything and (name.tag or name.digest):
        raise DockerError("tag can't be used with --all-tags/-a")
    if not everything and not name.tag and not name.digest:
        name = name.tagged()
        if not options["quiet"]:
            sys.stdout.write(f"Using default tag: {name.tag}\n")
    sys.stdout.flush()
    reply = begin_pull(context.client, name, options["platform"], all_tags=everything)
    if options["quiet"]:
        _drain(reply)
    else:
        progress.show(reply.pieces(), 1)
    sys.stdout.write(f"{name.full}\n")
    return 0


def _push(context: Context) -> int:
    options = context.options
    check_trust(options)
    name = reference.parse(options.arguments[0])
    everything = options["all-tags"]
    if everything and (name.tag or name.digest):
        raise DockerError("tag can't be used with --all-tags/-a")
    if not everything and not name.tag and not name.digest:
        name = name.tagged()
        if not options["quiet"]:
            sys.stdout.write(f"Using default tag: {name.tag}\n")
    if name.digest:
        raise DockerError("cannot push a digest reference")
    sys.stdout.flush()
    reply = context.client.call(
        "POST",
        f"/images/{name.familiar_name}/push",
        {} if everything else {"tag": name.tag},
        headers={"X-Registry-Auth": registry_auth(context.client, name)},
    )
    if options["quiet"]:
        _drain(reply)
        sys.stdout.write(f"{name.full}\n")
    else:
        progress.show(reply.pieces(), 1)
    return 0


def _drain(reply: Reply) -> None:
    """Receive all progress and show none, but the error that may stand in it. Raises DockerError."""
    for message in progress.messages(reply.pieces()):
        if "errorDetail" in message or message.get("error"):
            progress.Display(2).show(message)


PULL = Command(
    usage="NAME[:TAG|@DIGEST]",
    summary="Pull an image or a repository from a registry",
    run=_pull,
    least=1,
    most=1,
    flags=(
        flag("all-tags", short="a", help="Pull every tag of the repository"),
        PLATFORM,
        TRUST,
        flag("quiet", short="q", help="Print the image's name only"),
    ),
)

PUSH = Command(
    usage="NAME[:TAG]",
    summary="Push an image or a repository to a registry",
    run=_push,
    least=1,
    most=1,
    flags=(
        TRUST,
        flag("all-tags", short="a", help="Push every tag of the repository"),
        flag("quiet", short="q", help="Print the image's name only"),
    ),
)
