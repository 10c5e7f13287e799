"""`sixhops test`: the suite, without knowing where it is installed."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import click

from sixhops.harness.integrity import Exit

__all__ = ["test"]

#: Options of pytest's and of ours whose value, the next word, may be the name of something that exists.
_WITH_VALUE: Final = frozenset(
    (
        "--target",
        "--scenarios",
        "--results",
        "--report",
        "--baseline",
        "--junitxml",
        "--junit-xml",
        "--rootdir",
        "-c",
        "--config-file",
        "--confcutdir",
        "--basetemp",
        "--ignore",
        "--ignore-glob",
        "--deselect",
        "--log-file",
        "-k",
        "-m",
        "-n",
        "-p",
        "-o",
        "-W",
        "--override-ini",
    )
)


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> int:
    """Run the suite with pytest; ARGUMENTS are pytest's (--target, -k, -m, -n, --junitxml ...; see `sixhops
    test -h`).

    Without a path among them, all scenarios run: those of conformance/ or scenarios/ here, else the installed
    ones.
    """
    import pytest

    # This program has imported what pytest would like to rewrite first; where warnings are errors, that would end the run.
    imported = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    paths = [] if _names_a_path(arguments) else _default_paths()
    code = pytest.main([*imported, *arguments, *paths])
    return Exit(code) if code in tuple(Exit) else Exit.INTERNAL


def _names_a_path(arguments: tuple[str, ...]) -> bool:
    return any(
        before not in _WITH_VALUE and not word.startswith("-") and Path(word.partition("::")[0]).exists()
        for before, word in pairwise(("", *arguments))
    )


def _default_paths() -> list[str]:
    for name in ("conformance", "scenarios"):
        if Path(name).is_dir():
            return [name]
    from sixhops.harness.plugin.folders import installed_root

    return [str(installed_root())]
