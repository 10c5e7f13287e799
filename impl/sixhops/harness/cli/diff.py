"""`sixhops diff`: what two targets, or two saved runs, did, compared."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.select import find, open_library, report_errors, scenarios_option
from sixhops.harness.errors import UsageError
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.diff.runs import Saved
    from sixhops.harness.plugin.library import Library
    from sixhops.harness.scenario.model import Scenario

__all__ = ["diff"]


@click.command()
@click.argument("a")
@click.argument("b")
@click.argument("names", nargs=-1)
@click.option(
    "--json", "output", type=click.Path(path_type=Path, dir_okay=False), help="write all to this file"
)
@click.option(
    "-n", "--workers", type=click.IntRange(1), default=1, show_default=True, help="stacks side by side"
)
@click.option(
    "--taps",
    type=click.Choice(["auto", "all", "outer"]),
    default="all",
    show_default=True,
    help="which hops of a stack are recorded, as for the suite",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="where the transcripts of runs go (default: results/<run>/a and b)",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="also the differences that are accepted, with their reasons"
)
@scenarios_option
def diff(
    a: str,
    b: str,
    names: tuple[str, ...],
    output: Path | None,
    workers: int,
    taps: str,
    results: Path | None,
    verbose: bool,
    root: Path | None,
) -> int:
    """Compare what A and B did: every field on every hop, asserted or not.

    A and B are targets (stacks, or an engine's address), on which scenarios are run (NAMES as for `sixhops run`; default
    all), or saved transcripts and folders of them. What must vary is normalised; accepted differences are in
    scenarios/diff. docs/diff.md is the manual.
    """
    from sixhops.harness.diff.accepted import sort_out
    from sixhops.harness.diff.report import report_data, report_lines
    from sixhops.harness.diff.runs import RunFailedError, compare_all

    library = open_library(root)
    everything = library.everything()
    accepted = library.accepted
    if report_errors(library.errors):
        return Exit.USAGE
    chosen = find(library, names)
    if not chosen:
        click.echo("there is no scenario here", err=True)
        return Exit.NOTHING
    try:
        left, right = _sides((a, b), chosen if names else None, library, workers, taps, results)
        comparisons = compare_all(left, right)
    except RunFailedError as error:
        click.echo(str(error), err=True)
        return Exit(error.code) if error.code in tuple(Exit) else Exit.INTERNAL
    result = sort_out(comparisons, accepted, [scenario.id for scenario in everything])
    for line in report_lines(comparisons, result, verbose=verbose):
        click.echo(line)
    if output is not None:
        try:
            output.write_text(json.dumps(report_data(comparisons, result), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"can't write {output}: {error.strerror}") from error
    return Exit.FAILED if result.news or result.stale else Exit.OK


def _sides(
    sides: tuple[str, str],
    chosen: Sequence[Scenario] | None,
    library: Library,
    workers: int,
    taps: str,
    results: Path | None,
) -> list[Saved]:
    from sixhops.harness.diff.runs import files_of, find_saved, is_saved, run_on
    from sixhops.harness.plugin.folders import new_run_folder

    wanted = None if chosen is None else frozenset(scenario.id for scenario in chosen)
    folder = (results or new_run_folder(Path.cwd() / "results")).absolute()
    found = []
    for side, name in zip(sides, ("a", "b"), strict=True):
        if is_saved(side):
            found.append(find_saved(side, wanted))
            continue
        if os.sep in side and "://" not in side:
            raise UsageError(f"no such transcript or folder: {side}")
        paths = [library.root] if chosen is None else files_of(chosen)
        run = run_on(side, paths, folder / name, root=library.root, workers=workers, taps=taps)
        found.append(run if wanted is None else find_saved(str(folder / name / "transcripts"), wanted))
    return found
