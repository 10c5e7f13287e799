"""`exec`: another process in a running container."""

from __future__ import annotations

import sys

from sixhops.docker.attached.session import Session, check_terminal
from sixhops.docker.command import Command, Context
from sixhops.docker.documents import hostspec
from sixhops.docker.documents.containerbody import key_value_lines
from sixhops.docker.errors import DockerError, ExitError
from sixhops.docker.flags import flag

__all__ = ["EXEC"]


def _exec(context: Context) -> int:
    client, options = context.client, context.options
    name, *words = options.arguments
    detach = options["detach"]
    environment = key_value_lines(options["env-file"], options["env"], from_here=True)
    keys = options["detach-keys"] or client.settings.text("detachKeys")
    document = {
        "User": options["user"],
        "Privileged": options["privileged"],
        "Tty": options["tty"],
        "AttachStdin": options["interactive"] and not detach,
        "AttachStderr": not detach,
        "AttachStdout": not detach,
        "Detach": detach,
        "DetachKeys": keys,
        "Env": environment or None,
        "WorkingDir": options["workdir"],
        "Cmd": words,
    }
    # docker's client, too, looks first: a container that isn't there is told before a missing terminal
    client.look("container", name)
    if not detach:
        check_terminal(bool(document["AttachStdin"]), options["tty"])
    identity = client.json("POST", f"/containers/{name}/exec", None, document)["Id"]
    if not identity:
        raise DockerError("exec ID empty")
    beginning = {"Detach": detach, "Tty": options["tty"]}
    if detach:
        client.call("POST", f"/exec/{identity}/start", None, beginning).body()
        return 0
    session = Session(client, f"/exec/{identity}", tty=options["tty"], proxy=False, keys=keys)
    try:
        connection = client.hijack(f"/exec/{identity}/start", None, beginning)
        session.join(connection, stdin=options["interactive"], stdout=True, stderr=True)
        session.watch_size()
        if not session.until_output_ends():
            raise ExitError(1, "read escape sequence")
    finally:
        session.close()
    sys.stdout.flush()
    return int(client.json("GET", f"/exec/{identity}/json")["ExitCode"] or 0)


EXEC = Command(
    usage="CONTAINER COMMAND [ARG...]",
    summary="Run a command in a running container",
    run=_exec,
    least=2,
    anywhere=False,
    flags=(
        flag("detach", short="d", help="Leave it running and return"),
        flag("detach-keys", "string", help="Keys that detach"),
        flag("env", "list", "e", "Environment variable", read=hostspec.environment_variable),
        flag("env-file", "list", help="File with environment variables"),
        flag("interactive", short="i", help="Keep stdin open although nobody is attached"),
        flag("privileged", help="Give the command all privileges"),
        flag("tty", short="t", help="Give it a terminal"),
        flag("user", "string", "u", "User and group (format: <name|uid>[:<group|gid>])"),
        flag("workdir", "string", "w", "Directory to run in"),
    ),
)
