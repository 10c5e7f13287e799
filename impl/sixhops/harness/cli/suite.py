"""`sixhops test`: the suite, without knowing where it is installed."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

from pathlib import Path

import click

from sixhops.harness.integrity import Exit

__all__ = ["test"]


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

    paths = [argument for argument in arguments if not argument.startswith("-") and _is_path(argument)]
    code = pytest.main([*arguments, *([] if paths else _default_paths())])
    return Exit(code) if code in tuple(Exit) else Exit.INTERNAL


def _is_path(argument: str) -> bool:
    return Path(argument.partition("::")[0]).exists()


def _default_paths() -> list[str]:
    for name in ("conformance", "scenarios"):
        if Path(name).is_dir():
            return [name]
    from sixhops.harness.plugin.library import installed_root

    return [str(installed_root())]
