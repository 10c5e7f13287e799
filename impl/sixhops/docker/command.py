"""What a command is: its name, how it is used, its options, and the function that does it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.docker.errors import ExitError, FlagError
from sixhops.docker.flags import Flag, HelpRequested, Options, describe, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.docker.engine.client import Client

__all__ = ["Command", "Context", "execute", "width"]


@dataclass(slots=True)
class Context:
    """What a command's function gets: the engine, what was given, and the name that the person called it by."""

    client: Client
    options: Options
    name: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `usage` follows its name in the usage line; `least` and `most` count its arguments (most -1: any).

    `run` returns the exit status. `anywhere` false: options stand before the first argument only. `about` is what --help
    says in place of the summary, `aliases` are the other names that it has in a group. `says_options` false: the
    usage line leaves [OPTIONS] out.
    """

    usage: str
    summary: str
    run: Callable[[Context], int]
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int = -1
    anywhere: bool = True
    about: str = ""
    aliases: tuple[str, ...] = ()
    says_options: bool = True


def execute(command: Command, name: str, arguments: list[str], make_client: Callable[[], Client]) -> int:
    """Read a command's arguments and run it; `name` is how it was called (`container ls`).

    Raises ExitError for wrong options and a wrong number of arguments.
    """
    try:
        options = parse(command.flags, arguments, anywhere=command.anywhere)
    except HelpRequested as asked:
        if asked.deprecated:
            _write(2, "Flag shorthand -h has been deprecated, please use --help\n")
        _write(1, help_text(command, name))
        return 0
    except FlagError as error:
        raise ExitError(125, f"{error}\nSee 'docker {name} --help'.") from error
    _count(command, name, len(options.arguments))
    return command.run(Context(make_client(), options, name))


def help_text(command: Command, name: str) -> str:
    """Return what --help prints."""
    text = f"\nUsage:  {_usage(command, name)}\n\n{command.about or command.summary}\n"
    if command.aliases and " " in name:
        text += f"\nAliases:\n  {', '.join(command.aliases)}\n"
    if command.flags:
        text += f"\nOptions:\n{describe(command.flags, width())}"
    return text


def width() -> int:
    """Return the columns that help may use."""
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 80


def _usage(command: Command, name: str) -> str:
    options = "[OPTIONS] " if command.flags and command.says_options else ""
    return f"docker {name} {options}{command.usage}".rstrip()


def _count(command: Command, name: str, count: int) -> None:
    least, most = command.least, command.most
    if count >= least and (most < 0 or count <= most):
        return
    if most == 0:
        said = "accepts no arguments"
    elif most < 0:
        said = f"requires at least {least} {_arguments(least)}"
    elif least == most:
        said = f"requires exactly {least} {_arguments(least)}"
    elif least == 0:
        said = f"requires at most {most} {_arguments(most)}"
    else:
        said = f"requires at least {least} and at most {most} arguments"
    raise ExitError(
        1,
        f"\"docker {name}\" {said}.\nSee 'docker {name} --help'.\n\n"
        f"Usage:  {_usage(command, name)}\n\n{command.summary}",
    )


def _arguments(count: int) -> str:
    return "argument" if count == 1 else "arguments"


def _write(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode())
