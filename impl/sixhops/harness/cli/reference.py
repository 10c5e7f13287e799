"""The command line as a page of the documentation, made from the commands' own declarations.

`docs/conf.py` writes it with each build, so it says what this version takes.
"""

# ruff: noqa: PLC0415 - the commands import this module's neighbours; pytest is only needed for its options

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["command_reference"]

_INTRODUCTION = """\
# Commands

Exit codes are the same everywhere: [exit codes](../exit-codes.md). `sixhops COMMAND --help` says the same on the terminal.
"""


def command_reference() -> str:
    """Return the page in Markdown: every command of `sixhops`, and what the suite adds to pytest's options."""
    from sixhops.harness.cli import cli

    parts = [_INTRODUCTION]
    for name, command in sorted(cli.commands.items()):
        parts += _command(f"sixhops {name}", command, 2)
    parts += _pytest_options()
    return "\n".join(parts) + "\n"


def _command(name: str, command: click.Command, depth: int) -> Iterator[str]:
    yield f"\n{'#' * depth} {name}\n"
    context = click.Context(command, info_name=name)
    words = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{name} {words}\n```\n"
    # click marks where it must not wrap; here nothing wraps.
    yield _text(inspect.cleandoc((command.help or "").replace("\b\n", "")))
    options = [item for item in command.params if isinstance(item, click.Option)]
    rows = [record for item in options if (record := item.get_help_record(context)) is not None]
    if rows:
        yield "\n| option | what it does |\n| --- | --- |"
        yield from (f"| `{_cell(option)}` | {_text(_cell(text))} |" for option, text in rows)
    if isinstance(command, click.Group):
        for inner, item in sorted(command.commands.items()):
            yield from _command(f"{name} {inner}", item, depth + 1)


def _pytest_options() -> Iterator[str]:
    from _pytest.config.argparsing import Parser

    from sixhops.harness.plugin import pytest_addoption

    parser = Parser(_ispytest=True)
    pytest_addoption(parser)
    yield "\n## pytest conformance/\n"
    yield "All of pytest's own options work (`-k`, `-m`, `-n`, `-x`, `--junitxml`, ...). The suite adds:\n"
    yield "| option | what it does |\n| --- | --- |"
    for option in parser.getgroup("sixhops").options:
        attributes = option.attrs()
        value = attributes.get("metavar") or "|".join(attributes.get("choices") or ())
        shown = " ".join(filter(None, (", ".join(option.names()), value)))
        yield f"| `{_cell(shown)}` | {_text(_cell(attributes['help']))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _text(text: str) -> str:
    """Return `text` with what Markdown would take for markup written as itself."""
    return text.replace("<", "&lt;").replace("*", "\\*")
