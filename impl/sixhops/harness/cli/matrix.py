"""`sixhops matrix`: the suite on one engine after the other, and one report of them all."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.report import changed_lines
from sixhops.harness.cli.select import find, open_library, report_errors, scenarios_option, stack_options
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from sixhops.harness.plugin.library import Library
    from sixhops.harness.report.model import Report

__all__ = ["default_targets", "matrix", "table"]

_WORDS = ("passed", "failed", "skipped", "known")


@click.command()
@click.argument("targets", nargs=-1)
@click.option(
    "-s",
    "--scenario",
    "names",
    multiple=True,
    help="only these scenarios, as for `sixhops run` (default: all)",
)
@stack_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("matrix"),
    show_default=True,
    help="the folder for the report and, in runs/, for each engine's transcripts",
)
@click.option("--reuse", is_flag=True, help="take the runs that are in the folder already")
@click.option("--no-diff", is_flag=True, help="don't compare the runs with the first one")
@scenarios_option
def matrix(
    targets: tuple[str, ...],
    names: tuple[str, ...],
    workers: int,
    taps: str,
    output: Path,
    reuse: bool,
    no_diff: bool,
    root: Path | None,
) -> int:
    """Run the suite on each of TARGETS, and write one report with a column for each.

    TARGETS are as for --target: stacks, releases as upstream@TREE (ci/engines/build makes trees), or engines' addresses. A
    recorded baseline (`sixhops diff --list-baselines`) is one as well: what that engine did is taken as it was recorded, but
    for scenarios that do something else since. Default: the reference, upstream and every tree with a dockerd. Exit code 1
    when a scenario failed anywhere, or a rule of an engine's profile was needed in none. Baselines, and runs that --reuse
    takes, are judged by scenarios and profiles as they are now.
    """
    from sixhops.harness.diff.runs import RunFailedError, files_of, run_on
    from sixhops.harness.report import gather, write_report

    library = open_library(root)
    library.everything()
    accepted = [] if no_diff else library.accepted
    if report_errors(library.errors):
        return Exit.USAGE
    paths = files_of(find(library, names)) if names else [library.root]
    runs: list[Path] = []
    called: dict[Path, str] = {}
    stale: list[str] = []
    for target in targets or default_targets():
        folder = (output / "runs" / _file_name(target)).absolute()
        runs.append(folder)
        if _is_baseline(target):
            called[folder.resolve()] = target
            for line in _unpacked(target, folder, library, names):
                click.echo(line, err=True)
            stale += _judged(folder, library, again=True)
            continue
        if reuse and (folder / "results.json").exists():
            stale += _judged(folder, library, again=True)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        try:
            run_on(target, paths, folder, root=library.root, workers=workers, taps=taps)
        except RunFailedError as error:
            click.echo(str(error), err=True)
            return Exit(error.code) if error.code in tuple(Exit) else Exit.INTERNAL
        stale += _judged(folder, library, again=False)
    made = gather(
        [run / "transcripts" for run in runs], accepted, with_differences=not no_diff, called=called
    )
    page = write_report(made, output, "The suite on several engines")
    for line in table(made):
        click.echo(line)
    for line in changed_lines(made):
        click.echo(line)
    for problem in (*made.problems, *stale):
        click.echo(problem, err=True)
    click.echo(f"report: {page}")
    if made.problems:
        return Exit.USAGE
    failed = any(made.counts(number).get("failed") for number in range(len(made.columns)))
    return Exit.FAILED if failed or stale else Exit.OK


def _is_baseline(target: str) -> bool:
    from sixhops.harness.baselines import BASELINES
    from sixhops.harness.baselines.archive import SUFFIX

    return target.endswith(SUFFIX) or (BASELINES / f"{target}{SUFFIX}").is_file()


def _unpacked(name: str, folder: Path, library: Library, names: tuple[str, ...]) -> list[str]:
    """Put what a baseline has of the scenarios into `folder`, and return a line for each kind of those it has not."""
    from sixhops.harness.baselines import find_baseline
    from sixhops.harness.baselines.fit import fit
    from sixhops.harness.scenario.digest import digests

    found = find_baseline(name)
    wanted = frozenset(scenario.id for scenario in find(library, names)) if names else None
    fitting = fit(found.recorded, digests(library.everything()), wanted)
    shutil.rmtree(folder, ignore_errors=True)
    found.unpack(folder, fitting.usable)
    return list(fitting.notices(found.recorded))


def _judged(run: Path, library: Library, *, again: bool) -> list[str]:
    """Return a sentence for each rule that the run has no use for; `again`: write today's verdicts into its transcripts."""
    from sixhops.harness.replay import judge_again, load_recording, stale_of, transcript_files, write_again

    judged = []
    for file in transcript_files([run / "transcripts"]):
        recording = load_recording(file, library)
        outcome = judge_again(recording, library.profiles)
        judged.append((recording, outcome))
        if again:
            write_again(recording, outcome)
    return stale_of(judged, library)


def default_targets() -> list[str]:
    """Return the reference, upstream, and each tree that has a dockerd, by name."""
    from sixhops.harness.stack.programs import SYSTEM_PATH
    from sixhops.harness.stack.trees import Tree, trees_directory

    trees = [Tree(path.name, path) for path in sorted(trees_directory().glob("*"))]
    return ["reference", "upstream"] + [
        f"upstream@{tree.name}"
        for tree in trees
        if tree.find("dockerd", SYSTEM_PATH) and tree.find("containerd", SYSTEM_PATH)
    ]


def table(made: Report) -> list[str]:
    """Return the counts of each column as lines of a Markdown table."""
    lines = [
        f"| target | engine | {' | '.join(_WORDS)} |",
        f"| --- | --- | {' | '.join('---:' for _ in _WORDS)} |",
    ]
    for number, column in enumerate(made.columns):
        counts = made.counts(number)
        lines.append(
            f"| {column.name} | {column.engine} | {' | '.join(str(counts.get(word, 0)) for word in _WORDS)} |"
        )
    return lines


def _file_name(target: str) -> str:
    return re.sub(r"[^A-Za-z0-9.,=@_-]+", "-", target).strip("-")
