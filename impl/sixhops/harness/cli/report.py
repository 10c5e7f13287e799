"""`sixhops report`: saved transcripts as one HTML page, as JUnit, JSON and Markdown, and as a picture."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.select import open_library, report_errors, scenarios_option
from sixhops.harness.cli.show import HOPS
from sixhops.harness.errors import UsageError
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.report.model import Report

__all__ = ["changed_lines", "report"]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("report"),
    show_default=True,
    help="the folder for index.html, summary.json, junit.xml and summary.md",
)
@click.option("--title", help="what the page calls itself")
@click.option(
    "--baseline",
    metavar="NAME",
    help="compare the runs with this recorded baseline (`sixhops diff --list-baselines`), which becomes the first column",
)
@click.option("--no-diff", is_flag=True, help="don't compare the runs with the first one")
@click.option(
    "--svg",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="write only the picture of a single transcript to this file (-: standard output)",
)
@click.option("--hop", "hops", multiple=True, type=click.Choice(HOPS), help="--svg: only this hop's messages")
@click.option(
    "--step",
    default="*",
    help="--svg: only this step: its number, counted from 1, several (3-5), or a glob of its name",
)
@scenarios_option
def report(
    files: tuple[Path, ...],
    output: Path,
    title: str | None,
    baseline: str | None,
    no_diff: bool,
    svg: Path | None,
    hops: tuple[str, ...],
    step: str,
    root: Path | None,
) -> int:
    """Write a report of saved transcripts (FILES, or folders of them).

    Each run on a target becomes a column; the second and further ones are compared with the first. The page needs no network
    and no server. docs/report.md is the manual.
    """
    from sixhops.harness.report import TITLE, gather, write_report

    if svg is not None:
        return _picture(files, svg, hops, step)
    if hops or step != "*":
        raise UsageError("--hop and --step choose what a picture shows: give --svg as well")
    library = open_library(root)
    accepted = [] if no_diff else library.accepted
    if report_errors(library.errors):
        return Exit.USAGE
    with ExitStack() as stack:
        first = [] if baseline is None else [_unpacked(baseline, files, stack)]
        called = {path.parent.resolve(): path.parent.name for path in first}
        made = gather([*first, *files], accepted, with_differences=not no_diff, called=called)
    page = write_report(made, output, title or TITLE)
    for number, column in enumerate(made.columns):
        counts = ", ".join(f"{count} {word}" for word, count in made.counts(number).items() if count)
        click.echo(f"{column.name}, engine {column.engine}: {counts}")
    for line in changed_lines(made):
        click.echo(line)
    for problem in made.problems:
        click.echo(problem, err=True)
    click.echo(f"report: {page}")
    return Exit.USAGE if made.problems else Exit.OK


def changed_lines(made: Report) -> Iterator[str]:
    """Yield a line for each column in which scenarios did something else than in the first."""
    from sixhops.harness.baselines.fit import not_compared

    for number, column in enumerate(made.columns):
        changed = made.changed(number)
        if changed:
            yield not_compared(changed, f"did something else in {made.columns[0].name} than in {column.name}")


def _unpacked(name: str, files: tuple[Path, ...], stack: ExitStack) -> Path:
    """Return a folder with what the baseline has of the scenarios of `files`, which lasts as long as `stack`."""
    from sixhops.harness.baselines import find_baseline
    from sixhops.harness.replay import transcript_files
    from sixhops.harness.run.transcript import read_header

    found = find_baseline(name)
    wanted = frozenset(str(read_header(file)["scenario"]) for file in transcript_files(files))
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="sixhops-baseline-"))) / found.name
    return found.unpack(folder, wanted)


def _picture(files: tuple[Path, ...], svg: Path, hops: tuple[str, ...], step: str) -> int:
    from sixhops.harness.replay import transcript_files
    from sixhops.harness.report import picture
    from sixhops.harness.run.transcript import read_transcript
    from sixhops.harness.show import Choice

    found = transcript_files(files)
    if len(found) != 1:
        raise UsageError(f"--svg draws one transcript, and these are {len(found)}")
    transcript = read_transcript(found[0])
    choice = Choice(frozenset(hops), step)
    if not any(choice.has_step(exchange) for exchange in transcript.exchanges):
        raise UsageError(f"no step of {transcript.scenario} is called {step!r}")
    text = picture(transcript, choice)
    if str(svg) == "-":
        click.echo(text, nl=False)
        return Exit.OK
    try:
        svg.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write {svg}: {error.strerror}") from error
    return Exit.OK
