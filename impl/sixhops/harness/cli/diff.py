"""`sixhops diff`: what two targets, or two saved runs, did, compared."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.select import find, open_library, report_errors, scenarios_option, stack_options
from sixhops.harness.errors import UsageError
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.baselines import Baseline
    from sixhops.harness.diff.runs import Saved
    from sixhops.harness.plugin.library import Library
    from sixhops.harness.scenario.model import Scenario

__all__ = ["diff"]


@click.command()
@click.argument("words", metavar="[A] B [NAMES]...", nargs=-1)
@click.option(
    "--against",
    metavar="NAME",
    help="compare B with this recorded baseline of an engine, which needs no engine (there is no A then)",
)
@click.option("--list-baselines", is_flag=True, help="list the recorded baselines, and end")
@click.option(
    "--json", "output", type=click.Path(path_type=Path, dir_okay=False), help="write all to this file"
)
@stack_options
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="where the transcripts of runs go (default: results/<run>/a and b)",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="also the differences that are accepted, with their reasons"
)
@click.option(
    "--group", "grouped", is_flag=True, help="a line for each thing that differs, the most frequent first"
)
@scenarios_option
def diff(
    words: tuple[str, ...],
    against: str | None,
    list_baselines: bool,
    output: Path | None,
    workers: int,
    taps: str,
    results: Path | None,
    verbose: bool,
    grouped: bool,
    root: Path | None,
) -> int:
    """Compare what A and B did: every field on every hop, asserted or not.

    A and B are targets (stacks, or an engine's address), on which scenarios are run (NAMES as for `sixhops run`; default
    all), or saved transcripts and folders of them. With --against, A is a recorded baseline. What must vary is normalised;
    accepted differences are in scenarios/diff. docs/diff.md is the manual.
    """
    if list_baselines:
        return _list()
    sides, names = _split(words, 2 if against is None else 1)
    from sixhops.harness.baselines import find_baseline
    from sixhops.harness.baselines.fit import OF_MACHINE, not_compared
    from sixhops.harness.diff.accepted import sort_out
    from sixhops.harness.diff.report import report_data, report_lines
    from sixhops.harness.diff.runs import RunFailedError, changed_between, compare_all

    baseline = None if against is None else find_baseline(against)
    library = open_library(root)
    everything = library.everything()
    accepted = library.accepted
    if report_errors(library.errors):
        return Exit.USAGE
    chosen = find(library, names)
    if not chosen:
        click.echo("there is no scenario here", err=True)
        return Exit.NOTHING
    notices: list[str] = []
    try:
        with ExitStack() as stack:
            if baseline is None:
                left, right = _sides(sides, chosen if names else None, library, workers, taps, results)
            else:
                left, fits = _recorded(baseline, everything, chosen if names else None, stack, notices)
                (right,) = _sides(sides, fits, library, workers, taps, results)
                right = right.only(left.files.keys())
                if len(right.files) < len(left.files) and right.whole:
                    lacks = len(left.files) - len(right.files)
                    notices.append(f"not compared: {lacks} scenarios of the baseline are not in {right.name}")
                left = left.only(right.files.keys())
                notices += _machines(baseline, right)
            changed = changed_between(left, right)
            if changed:
                notices.append(
                    not_compared(changed, f"did something else in {left.name} than in {right.name}")
                )
                if left.files.keys() & right.files.keys() <= set(changed):
                    raise UsageError("\n".join(["there is nothing to compare", *notices]))
                left, right = (side.only(side.files.keys() - set(changed)) for side in (left, right))
            comparisons = compare_all(left, right)
    except RunFailedError as error:
        click.echo(str(error), err=True)
        return Exit(error.code) if error.code in tuple(Exit) else Exit.INTERNAL
    if baseline is not None:
        accepted = [*accepted, OF_MACHINE]
    result = sort_out(comparisons, accepted, [scenario.id for scenario in everything])
    for line in report_lines(comparisons, result, verbose=verbose, grouped=grouped):
        click.echo(line)
    for notice in notices:
        click.echo(notice)
    if output is not None:
        try:
            output.write_text(json.dumps(report_data(comparisons, result), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"can't write {output}: {error.strerror}") from error
    return Exit.FAILED if result.news or result.stale else Exit.OK


def _split(words: tuple[str, ...], count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if len(words) < count:
        raise UsageError(
            "say what to compare: A and B, or B with --against NAME; `sixhops diff -h` has examples"
        )
    return words[:count], words[count:]


def _list() -> int:
    from sixhops.harness.baselines import list_baselines

    for baseline in list_baselines():
        recorded = baseline.recorded
        counts = ", ".join(f"{count} {word}" for word, count in recorded.counts.items())
        click.echo(
            f"{recorded.name}: engine {recorded.engine}, recorded {recorded.recorded[:10]} with sixhops {recorded.suite} "
            f"on {recorded.target['operating_system']}, {recorded.target['architecture']}, "
            f"control groups v{recorded.target['cgroup_version']}: {counts}"
        )
    return Exit.OK


def _recorded(
    baseline: Baseline,
    everything: Sequence[Scenario],
    chosen: Sequence[Scenario] | None,
    stack: ExitStack,
    notices: list[str],
) -> tuple[Saved, list[Scenario]]:
    """Return the baseline's side, and the scenarios that it can be compared in; what it can't be is told in `notices`."""
    from sixhops.harness.baselines.fit import fit
    from sixhops.harness.diff.runs import Saved, find_saved
    from sixhops.harness.scenario.digest import digests

    wanted = None if chosen is None else [scenario.id for scenario in chosen]
    fits = fit(baseline.recorded, digests(everything if chosen is None else chosen), wanted)
    notices += fits.notices(baseline.recorded)
    if not fits.usable:
        raise UsageError("\n".join(["there is nothing to compare", *notices]))
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="sixhops-baseline-")))
    saved = find_saved(str(baseline.unpack(folder, fits.usable)))
    return Saved(f"the baseline {baseline.name}", saved.files), [
        item for item in everything if item.id in fits.usable
    ]


def _machines(baseline: Baseline, side: Saved) -> list[str]:
    """Return what is different about the machines of the baseline and of a run."""
    from sixhops.harness.baselines.fit import other_machine
    from sixhops.harness.run.transcript import read_header

    some = next(iter(side.files.values()), None)
    return [] if some is None else other_machine(baseline.recorded, read_header(some)["target"])


def _sides(
    sides: tuple[str, ...],
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
    for side, name in zip(sides, ("a", "b")[-len(sides) :], strict=True):
        if is_saved(side):
            found.append(find_saved(side, wanted))
            continue
        if os.sep in side and "://" not in side:
            raise UsageError(f"no such transcript or folder: {side}")
        paths = [library.root] if chosen is None else files_of(chosen)
        run = run_on(side, paths, folder / name, root=library.root, workers=workers, taps=taps)
        found.append(run if wanted is None else find_saved(str(folder / name / "transcripts"), wanted))
    return found
