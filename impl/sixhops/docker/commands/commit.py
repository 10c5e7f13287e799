"""`commit` and `diff`: what a container has changed in its image's files, as a new image or as a list."""

from __future__ import annotations

import sys

from sixhops.docker import reference
from sixhops.docker.command import Command, Context
from sixhops.docker.engine.client import NULL
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag

__all__ = ["COMMIT", "DIFF"]

#: The engine's numbers of what has happened to a path.
_KINDS = {0: "C", 1: "A", 2: "D"}


def _commit(context: Context) -> int:
    options = context.options
    name, *wanted = options.arguments
    repository = tag = ""
    if wanted and wanted[0]:
        parsed = reference.parse(wanted[0])
        if parsed.digest:
            raise DockerError("refusing to create a tag with a digest reference")
        repository, tag = parsed.familiar_name, parsed.tag or "latest"
    query = {
        "container": name,
        "repo": repository,
        "tag": tag,
        "comment": options["message"],
        "author": options["author"],
        "changes": options["change"],
    }
    if not options["pause"]:
        query["pause"] = "0"
    answer = context.client.json("POST", "/commit", query, NULL)
    sys.stdout.write(f"{answer['Id']}\n")
    return 0


def _diff(context: Context) -> int:
    name = context.options.arguments[0]
    if not name:
        raise DockerError("Container name cannot be empty")
    for change in context.client.json("GET", f"/containers/{name}/changes") or []:
        sys.stdout.write(f"{_KINDS.get(change['Kind'], '')} {change['Path']}\n")
    return 0


COMMIT = Command(
    usage="CONTAINER [REPOSITORY[:TAG]]",
    summary="Create a new image from a container's changes",
    run=_commit,
    least=1,
    most=2,
    anywhere=False,
    flags=(
        flag("author", "string", "a", "Author of the image (such as Ada <ada@example.com>)"),
        flag("change", "list", "c", "Instruction of a Dockerfile to apply to the image"),
        flag("message", "string", "m", "Message in the image's history"),
        flag("pause", short="p", help="Pause the container meanwhile", default=True, shown="true"),
    ),
)
DIFF = Command(
    usage="CONTAINER",
    summary="Inspect changes to files or directories on a container's filesystem",
    run=_diff,
    least=1,
    most=1,
)
