"""The command line of docker: options of the client itself, then a command with its own (see `catalogue`)."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from sixhops.docker import command, config
from sixhops.docker.catalogue import ABSENT, COMMANDS, GROUPS, HIDDEN, load
from sixhops.docker.engine import endpoint
from sixhops.docker.engine.client import VERSION, Client
from sixhops.docker.errors import DockerError, ExitError, FlagError
from sixhops.docker.flags import HelpRequested, describe, flag, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

_CERTIFICATES = os.environ.get("DOCKER_CERT_PATH") or config.default_directory()

_FLAGS = (
    flag(
        "config", "string", help="Directory of the client's settings", shown=f'"{config.default_directory()}"',
    ),
    flag("context", "string", "c", help="Context that says where the engine is, before DOCKER_HOST and `context use`"),
    flag("debug", short="D", help="Debug mode"),
    flag("host", "list", "H", help="Address of the engine"),
    flag(
        "log-level", "string", "l", 'Level of messages ("debug"|"info"|"warn"|"error"|"fatal")',
        default="info", shown='"info"',
    ),
    flag("tls", help="Use TLS; --tlsverify implies it"),
    flag(
        "tlscacert", "string", help="File of the CA that the engine must be certified by",
        shown=f'"{_CERTIFICATES}/ca.pem"',
    ),
    flag("tlscert", "string", help="File of the client's certificate", shown=f'"{_CERTIFICATES}/cert.pem"'),
    flag("tlskey", "string", help="File of the client's key", shown=f'"{_CERTIFICATES}/key.pem"'),
    flag("tlsverify", help="Use TLS and check the engine's certificate"),
    flag("version", short="v", help="Print version information and quit"),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run docker's command line (default: sys.argv); return the exit status. Nothing is raised."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the shell sees that a signal ended us, as with docker
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except ExitError as error:
        _flush()
        if error.message:
            sys.stderr.write(f"{error.message}\n")
        return error.status
    except DockerError as error:
        _flush()
        sys.stderr.write(f"{error}\n")
        return 1
    except BrokenPipeError:
        # whoever read our output has gone: end as every other program does then
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
        return 1
    return status


def _run(arguments: list[str]) -> int:
    try:
        options = parse(_FLAGS, arguments, anywhere=False)
    except HelpRequested as asked:
        if asked.deprecated:
            sys.stderr.write("Flag shorthand -h has been deprecated, please use --help\n")
        sys.stdout.write(_help())
        return 0
    except FlagError as error:
        raise ExitError(125, f"{error}\nSee 'docker --help'.\n{_help()}") from error
    if options["version"]:
        sys.stdout.write(f"Docker version {VERSION}, build sixhops\n")
        return 0
    if not options.arguments:
        sys.stdout.write(_help())
        return 0
    name, *rest = options.arguments
    if name == "help":
        return _help_command(rest)
    settings = endpoint.settings(options)
    endpoint.check_tls(settings)

    def make_client() -> Client:
        return Client(settings)

    if name in GROUPS:
        return _group(name, rest, make_client)
    if name in ABSENT:
        raise ExitError(1, _absent(name))
    if name not in COMMANDS:
        raise ExitError(1, f"docker: '{name}' is not a docker command.\nSee 'docker --help'")
    return command.execute(load(COMMANDS[name]), name, rest, make_client)


def _group(name: str, arguments: list[str], make_client: Callable[[], Client]) -> int:
    members = GROUPS[name].members
    if not arguments or arguments[0] in ("--help", "-h"):
        if arguments == ["-h"]:
            sys.stderr.write("Flag shorthand -h has been deprecated, please use --help\n")
        # asked for, it is the command's output; otherwise it says what is missing
        (sys.stdout if arguments else sys.stderr).write(_group_help(name))
        return 0
    first, *rest = arguments
    if first.startswith("-"):
        try:
            parse((), [first])
        except FlagError as error:
            raise ExitError(125, f"{error}\nSee 'docker {name} --help'.") from error
    if (name, first) == ("image", "build"):
        raise ExitError(1, _absent("build"))
    if first not in members:
        raise ExitError(1, _group_help(name).rstrip("\n"))
    return command.execute(load(members[first]), f"{name} {first}", rest, make_client)


def _help_command(words: list[str]) -> int:
    if not words:
        sys.stdout.write(_help())
    elif words[0] in GROUPS and len(words) == 1:
        sys.stdout.write(_group_help(words[0]))
    elif words[0] in COMMANDS:
        sys.stdout.write(command.help_text(load(COMMANDS[words[0]]), words[0]))
    elif words[0] in GROUPS and words[1] in GROUPS[words[0]].members:
        name = " ".join(words[:2])
        sys.stdout.write(command.help_text(load(GROUPS[words[0]].members[words[1]]), name))
    else:
        raise ExitError(1, f"unknown help topic: {' '.join(words)}")
    return 0


def _absent(name: str) -> str:
    return (
        f"docker: '{name}' is a command of Docker's own client, for {ABSENT[name]}. This client runs containers and does "
        "not have it.\nSee 'docker --help'"
    )


def _help() -> str:
    def listed(rows: dict[str, str]) -> str:
        return "".join(f"  {name:<11} {text}\n" for name, text in sorted(rows.items()))

    groups = {name: group.summary for name, group in GROUPS.items()}
    commands = {name: load(place).summary for name, place in COMMANDS.items()}
    return (
        "\nUsage:  docker [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\n"
        f"Options:\n{describe(_FLAGS, command.width())}\n"
        f"Management Commands:\n{listed(groups)}\nCommands:\n{listed(commands)}\n"
        "Run 'docker COMMAND --help' for more information on a command.\n"
    )


def _group_help(name: str) -> str:
    summary = GROUPS[name].summary
    rows = {key: load(place).summary for key, place in GROUPS[name].members.items() if key not in HIDDEN}
    listed = "".join(f"  {key:<11} {text}\n" for key, text in sorted(rows.items()))
    return (
        f"\nUsage:  docker {name} COMMAND\n\n{summary}\n\nCommands:\n{listed}\n"
        f"Run 'docker {name} COMMAND --help' for more information on a command.\n"
    )


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
