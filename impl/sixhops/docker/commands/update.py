"""`update`: other limits and another restart policy for containers that exist."""

from __future__ import annotations

import sys
from typing import Any

from sixhops.docker.command import Command, Context
from sixhops.docker.documents.containerbody import restart_policy
from sixhops.docker.documents.limits import LIMIT_FLAGS, resources
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import flag

__all__ = ["UPDATE"]


def _update(context: Context) -> int:
    options = context.options
    if not options.given:
        raise DockerError("you must provide one or more flags when using this command")
    document = _document(context)
    warnings: list[str] = []
    problems: list[str] = []
    for name in options.arguments:
        try:
            answer = context.client.json("POST", f"/containers/{name}/update", None, document)
        except DockerError as error:
            problems.append(str(error))
            continue
        sys.stdout.write(f"{name}\n")
        warnings += answer.get("Warnings") or []
    sys.stdout.write("".join(f"{warning}\n" for warning in warnings))
    if problems:
        raise DockerError("\n".join(problems))
    return 0


def _document(context: Context) -> dict[str, Any]:
    """Return the body of the request: every limit, 0 for one that stays as it is."""
    options = context.options
    return resources(options) | {
        "PidsLimit": options["pids-limit"] or None,
        "RestartPolicy": restart_policy(options["restart"]),
    }


UPDATE = Command(
    usage="CONTAINER [CONTAINER...]",
    summary="Update configuration of one or more containers",
    run=_update,
    least=1,
    flags=(*LIMIT_FLAGS, flag("restart", "string", help="When to start it again")),
)
