"""The command line of docker: options of the client itself, then a command with its own.

Commands live in modules of `commands`; the table names module and attribute, and only the module of the command that
was asked for is imported.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from sixhops.docker import command, config
from sixhops.docker.client import VERSION, Client
from sixhops.docker.errors import DockerError, ExitError, FlagError
from sixhops.docker.flags import HelpRequested, Options, describe, flag, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.docker.command import Command

__all__ = ["main"]

#: command: the module and the attribute that hold it
COMMANDS: dict[str, tuple[str, str]] = {
    "attach": ("start", "ATTACH"),
    "create": ("run", "CREATE"),
    "events": ("events", "EVENTS"),
    "exec": ("exec", "EXEC"),
    "history": ("images", "HISTORY"),
    "images": ("images", "IMAGES"),
    "info": ("info", "INFO"),
    "inspect": ("inspect", "INSPECT"),
    "kill": ("lifecycle", "KILL"),
    "logs": ("logs", "LOGS"),
    "pause": ("lifecycle", "PAUSE"),
    "port": ("look", "PORT"),
    "ps": ("ps", "PS"),
    "pull": ("pull", "PULL"),
    "push": ("pull", "PUSH"),
    "rename": ("lifecycle", "RENAME"),
    "restart": ("lifecycle", "RESTART"),
    "rm": ("lifecycle", "RM"),
    "rmi": ("images", "RMI"),
    "run": ("run", "RUN"),
    "start": ("start", "START"),
    "stop": ("lifecycle", "STOP"),
    "tag": ("images", "TAG"),
    "top": ("look", "TOP"),
    "unpause": ("lifecycle", "UNPAUSE"),
    "version": ("version", "VERSION_COMMAND"),
    "wait": ("lifecycle", "WAIT"),
}

#: groups: what each is for, and its commands (the first name is the one that help lists)
GROUPS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "container": (
        "Manage containers",
        {
            **{
                name: COMMANDS[name]
                for name in (
                    "attach", "create", "exec", "kill", "logs", "pause", "port", "rename", "restart", "rm", "run",
                    "start", "stop", "top", "unpause", "wait",
                )
            },
            "inspect": ("inspect", "INSPECT_CONTAINER"),
            "ls": COMMANDS["ps"],
            "ps": COMMANDS["ps"],
            "list": COMMANDS["ps"],
        },
    ),
    "image": (
        "Manage images",
        {
            **{name: COMMANDS[name] for name in ("history", "pull", "push", "tag")},
            "inspect": ("inspect", "INSPECT_IMAGE"),
            "ls": COMMANDS["images"],
            "list": COMMANDS["images"],
            "rm": COMMANDS["rmi"],
            "rmi": COMMANDS["rmi"],
            "remove": COMMANDS["rmi"],
        },
    ),
    "system": ("Manage Docker", {name: COMMANDS[name] for name in ("events", "info")}),
}  # fmt: skip

#: names in a group that are other names of the same command
_ALIASES = {"ps", "list", "rmi", "remove"}

# the client itself logs nothing, whatever the level; a level that is none is refused as docker refuses it
_LOG_LEVELS = frozenset({"trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"})

_FLAGS = (
    flag("config", "string", help="Directory of the client's settings", shown='"~/.docker"'),
    flag("debug", short="D", help="Debug mode"),
    flag("host", "list", "H", help="Address of the engine"),
    flag(
        "log-level", "string", "l", 'Level of messages ("debug"|"info"|"warn"|"error"|"fatal")',
        default="info", shown='"info"',
    ),
    flag("tls", help="Use TLS; --tlsverify implies it"),
    flag("tlscacert", "string", help="File of the CA that the engine must be certified by"),
    flag("tlscert", "string", help="File of the client's certificate"),
    flag("tlskey", "string", help="File of the client's key"),
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
    settings = _settings(options)

    def make_client() -> Client:
        return Client(settings)

    if name in GROUPS:
        return _group(name, rest, make_client)
    if name not in COMMANDS:
        raise ExitError(1, f"docker: '{name}' is not a docker command.\nSee 'docker --help'")
    return command.execute(_load(COMMANDS[name]), name, rest, make_client)


def _group(name: str, arguments: list[str], make_client: Callable[[], Client]) -> int:
    members = GROUPS[name][1]
    if not arguments or arguments[0] in ("--help", "-h"):
        if arguments == ["-h"]:
            sys.stderr.write("Flag shorthand -h has been deprecated, please use --help\n")
        sys.stdout.write(_group_help(name))
        return 0
    first, *rest = arguments
    if first.startswith("-"):
        try:
            parse((), [first])
        except FlagError as error:
            raise ExitError(125, f"{error}\nSee 'docker {name} --help'.") from error
    if first not in members:
        raise ExitError(1, _group_help(name).rstrip("\n"))
    return command.execute(_load(members[first]), f"{name} {first}", rest, make_client)


def _help_command(words: list[str]) -> int:
    if not words:
        sys.stdout.write(_help())
    elif words[0] in GROUPS and len(words) == 1:
        sys.stdout.write(_group_help(words[0]))
    elif words[0] in COMMANDS:
        sys.stdout.write(command.help_text(_load(COMMANDS[words[0]]), words[0]))
    elif words[0] in GROUPS and words[1] in GROUPS[words[0]][1]:
        name = " ".join(words[:2])
        sys.stdout.write(command.help_text(_load(GROUPS[words[0]][1][words[1]]), name))
    else:
        raise ExitError(1, f"unknown help topic: {' '.join(words)}")
    return 0


def _load(place: tuple[str, str]) -> Command:
    module = importlib.import_module(f"sixhops.docker.commands.{place[0]}")
    found: Command = getattr(module, place[1])
    return found


def _settings(options: Options) -> config.Settings:
    """Return the settings that options, environment and config.json give together. Raises DockerError, ExitError."""
    directory = options["config"] or config.default_directory()
    settings = config.Settings(directory=directory, debug=options["debug"], document=config.load(directory))
    if options["log-level"] not in _LOG_LEVELS:
        raise ExitError(1, f"Unable to parse logging level: {options['log-level']}")
    if len(options["host"]) > 1:
        raise ExitError(1, "Please specify only one -H")
    host = options["host"][0] if options["host"] else os.environ.get("DOCKER_HOST", "")
    certificates = os.environ.get("DOCKER_CERT_PATH") or directory
    settings.verify = options["tlsverify"] or bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if settings.verify or options["tls"] or os.environ.get("DOCKER_TLS"):
        settings.tls = (
            options["tlscacert"] or f"{certificates}/ca.pem",
            options["tlscert"] or f"{certificates}/cert.pem",
            options["tlskey"] or f"{certificates}/key.pem",
        )
    settings.host = _host(host, settings.tls is not None)
    return settings


def _host(text: str, tls: bool) -> str:
    """Return an engine's address with everything that may be left out. Raises ExitError for one that is none."""
    text = text.strip()
    if not text:
        return "tcp://localhost:2376" if tls else config.DEFAULT_HOST
    scheme, _, place = (text if "://" in text else f"tcp://{text}").partition("://")
    if scheme == "unix":
        return f"unix://{place or '/var/run/docker.sock'}"
    if scheme in ("tcp", "http", "https"):
        return f"tcp://{place}"
    if scheme in ("ssh", "fd", "npipe"):
        raise ExitError(1, f"this client does not speak {scheme}://: {text}")
    raise ExitError(1, f"unable to resolve docker endpoint: Invalid bind address format: {text}")


def _help() -> str:
    def listed(rows: dict[str, str]) -> str:
        return "".join(f"  {name:<11} {text}\n" for name, text in sorted(rows.items()))

    groups = {name: text for name, (text, _) in GROUPS.items()}
    commands = {name: _load(place).summary for name, place in COMMANDS.items()}
    return (
        "\nUsage:  docker [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\n"
        f"Options:\n{describe(_FLAGS, command.width())}\n"
        f"Management Commands:\n{listed(groups)}\nCommands:\n{listed(commands)}\n"
        "Run 'docker COMMAND --help' for more information on a command.\n"
    )


def _group_help(name: str) -> str:
    summary, members = GROUPS[name]
    rows = {key: _load(place).summary for key, place in members.items() if key not in _ALIASES}
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
