"""Which scenarios a command line means: files, folders, ids and globs of ids."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sixhops.harness.errors import ScenarioError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sixhops.harness.plugin.library import Library
    from sixhops.harness.scenario.model import Scenario

__all__ = ["find", "open_library", "report_errors", "scenarios_option", "stack_options"]


def scenarios_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option --scenarios, as `root`."""
    return click.option(
        "--scenarios",
        "root",
        type=click.Path(path_type=Path),
        help="the scenario folder (default: ./scenarios, else the one that is installed with sixhops)",
    )(command)


def stack_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that starts stacks the options --workers and --taps."""
    taps = click.option(
        "--taps",
        type=click.Choice(["auto", "all", "outer"]),
        default="all",
        show_default=True,
        help="which hops of a stack are recorded, as for the suite",
    )
    workers = click.option(
        "-n", "--workers", type=click.IntRange(1), default=1, show_default=True, help="stacks side by side"
    )
    return workers(taps(command))


def open_library(root: Path | None) -> Library:
    """Return the library at `root`, or at the default place; UsageError when there is none."""
    from sixhops.harness.plugin.folders import installed_root
    from sixhops.harness.plugin.library import Library

    return Library(root or (local if (local := Path.cwd() / "scenarios").is_dir() else installed_root()))


def find(library: Library, names: Sequence[str]) -> list[Scenario]:
    """Return the scenarios that `names` mean, each once, in the order of the names; all of them for no names.

    A name is a file, a folder, an id (of a file: all of its rows), or a glob of ids. Raises UsageError for
    one that means nothing. What is malformed is in the library's errors afterwards.
    """
    if not names:
        return library.everything()
    found: dict[str, Scenario] = {}
    for name in names:
        for scenario in _meant(library, name):
            found.setdefault(scenario.id, scenario)
    return list(found.values())


def _meant(library: Library, name: str) -> list[Scenario]:
    path = Path(name)
    if path.is_file():
        return library.file(path)
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*.yaml")) if library.is_scenario(file)]
        return [scenario for file in files for scenario in library.file(file)]
    # An id says where its file is; only globs and mistakes need the whole tree, whose other errors then show
    # as well.
    file = library.root / f"{name.partition('[')[0]}.yaml"
    scenarios = library.file(file) if file.is_file() else library.everything()
    meant = [scenario for scenario in scenarios if _means(name, scenario.id)]
    if not meant and not library.errors:
        from sixhops.harness.documents import nearest

        raise UsageError(
            f"no scenario is called {name!r}{nearest(name, (scenario.id for scenario in scenarios))}"
        )
    return meant


def _means(name: str, identifier: str) -> bool:
    return identifier == name or identifier.startswith(f"{name}[") or fnmatchcase(identifier, name)


def report_errors(errors: Iterable[ScenarioError]) -> int:
    """Print each error on a line of its own, once; return how many there were."""
    lines = list(dict.fromkeys(str(error) for error in errors))
    for line in lines:
        click.echo(line, err=True)
    return len(lines)
