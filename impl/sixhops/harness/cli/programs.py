"""`sixhops docker ...` and `sixhops registry ...`: the reference's programs that people start themselves.

The harness never imports a program: this process becomes the program's own command, with its arguments untouched.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from sixhops.harness.errors import UsageError

__all__ = ["docker", "registry"]

_UNTOUCHED = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


def _become(script: str, arguments: tuple[str, ...]) -> None:
    """Replace this process by the console script of the same installation. Raises UsageError when it is not there."""
    beside = Path(sys.executable).parent / script
    program = str(beside) if beside.is_file() else shutil.which(script)
    if program is None:
        raise UsageError(f"{script} is not installed; `make setup` (or pip install -e .) installs it")
    sys.stdout.flush()
    os.execv(program, [program, *arguments])


@click.command(context_settings=_UNTOUCHED, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def docker(arguments: tuple[str, ...]) -> None:
    """Be the reference's docker client (`run`, `ps`, `logs`, ...; DOCKER_HOST names the engine)."""
    _become("sixhops-docker", arguments)


@click.command(context_settings=_UNTOUCHED, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def registry(arguments: tuple[str, ...]) -> None:
    """Be the reference's registry (`serve`, `gc`, `fsck`)."""
    _become("sixhops-registry", arguments)
