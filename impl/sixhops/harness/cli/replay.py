"""`sixhops check` and `sixhops mutate`: saved transcripts judged again, as they are and corrupted."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import time
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.select import open_library, report_errors, scenarios_option
from sixhops.harness.errors import ScenarioError
from sixhops.harness.integrity import Exit, worst_exit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.mutate import Score
    from sixhops.harness.plugin.library import Library

__all__ = ["check", "mutate"]

#: Fewer transcripts than this are judged faster than processes start.
_WORTH_PROCESSES = 64
_STYLES = {"passed": "green", "failed": "red", "skipped": "yellow", "known": "yellow"}


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@scenarios_option
def check(files: tuple[Path, ...], root: Path | None) -> int:
    """Judge saved transcripts (FILES, or folders of them) again, without an engine.

    Expectations are those of the scenario files as they stand now.
    """
    from sixhops.harness.replay import judge_again, load_recording, stale_of, transcript_files

    library = open_library(root)
    # Read first: a malformed profile would make known differences look like failures.
    profiles = library.profiles
    if report_errors(library.errors):
        return Exit.USAGE
    codes: list[Exit] = []
    counts: dict[str, int] = {}
    judged = []
    for file in transcript_files(files):
        try:
            recording = load_recording(file, library)
            outcome = judge_again(recording, profiles)
        except ScenarioError as error:
            click.echo(str(error), err=True)
            codes.append(Exit.USAGE)
            continue
        judged.append((recording, outcome))
        counts[outcome.verdict] = counts.get(outcome.verdict, 0) + 1
        codes.append(Exit.FAILED if outcome.verdict == "failed" else Exit.OK)
        was = recording.verdict or "broken off"
        click.echo(
            f"{click.style(f'{outcome.verdict:7}', fg=_STYLES[outcome.verdict])}  {outcome.id}"
            + (f"  (recorded: {was})" if was != outcome.verdict else "")
        )
        if outcome.text or outcome.brief:
            click.echo(outcome.text or f"         {outcome.brief}")
    if not codes:
        click.echo("there is no transcript here", err=True)
        return Exit.NOTHING
    click.echo(", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    stale = stale_of(judged, library)
    _lines(stale)
    return worst_exit((*codes, Exit.FAILED) if stale else codes)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--least",
    "--minimum",
    "least",
    type=click.FloatRange(0, 100),
    default=98.0,
    show_default=True,
    help="the share of expectations, in percent, that must be able to fail",
)
@click.option("-q", "--quiet", is_flag=True, help="only survivors and the total")
@scenarios_option
def mutate(files: tuple[Path, ...], least: float, quiet: bool, root: Path | None) -> int:
    """Corrupt what passed scenarios saw, value by value, and name each expectation that never fails.

    FILES are transcripts or folders of them; default: the newest run in results/. docs/mutants.md has the
    rules.
    """
    from sixhops.harness.mutate import total_of
    from sixhops.harness.parallel import each
    from sixhops.harness.replay import newest_run, transcript_files

    began = time.monotonic()
    scores: list[Score] = []
    codes: list[Exit] = []
    others: dict[str, int] = {}
    found = transcript_files(files or (newest_run(Path.cwd() / "results"),))
    open_library(root)  # a folder that there is not is told before any transcript is
    for score, verdict, error in each(
        partial(_scored, root=root, run=began), found, worth=len(found) >= _WORTH_PROCESSES
    ):
        if error:
            click.echo(error, err=True)
            codes.append(Exit.USAGE)
        elif score is None:
            others[verdict] = others.get(verdict, 0) + 1
        else:
            scores.append(score)
            _tell(score, quiet)
    if not scores:
        click.echo("there is no transcript of a passed scenario here", err=True)
        return worst_exit((*codes, Exit.NOTHING))
    total = total_of(scores)
    left_out = "".join(f"; {count} {word}, left out" for word, count in sorted(others.items()))
    click.echo(
        f"{_percent(total.killed, total.places)} of {total.places} places in {len(scores)} scenarios can fail, "
        f"{len(total.survivors)} survive; {total.mutants} mutants in {time.monotonic() - began:.1f} s{left_out}"
    )
    enough = 100 * total.killed >= least * total.places
    return worst_exit((*codes, Exit.OK if enough and not total.broken else Exit.FAILED))


def _scored(file: Path, *, root: Path | None, run: float) -> tuple[Score | None, str, str]:
    """Return the score of a transcript, or None and the verdict of one that has none; or what is wrong with it."""
    from sixhops.harness.mutate import score_of
    from sixhops.harness.replay import load_recording

    try:
        recording = load_recording(file, _library(root, run))
        if recording.scope is None or recording.verdict != "passed":
            return None, recording.verdict or "broken off", ""
        return score_of(recording.scenario, recording.exchanges, recording.scope), recording.verdict, ""
    except ScenarioError as error:
        return None, "", str(error)


@lru_cache(maxsize=1)
def _library(root: Path | None, _run: float) -> Library:
    # Read once by each process of one command; the next command reads the files as they are then.
    return open_library(root)


def _tell(score: Score, quiet: bool) -> None:
    if not quiet:
        unobserved = f", {score.unobserved} expectations not observed" if score.unobserved else ""
        click.echo(
            f"{_percent(score.killed, score.places):>8}  {score.killed}/{score.places}  {score.id}{unobserved}"
        )
    _lines(
        f"{item.mark}: {item.scenario}: step {item.step + 1} '{item.step_name}': {item.place} {item.why}"
        for item in score.survivors
    )
    _lines(score.broken)


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _percent(part: int, whole: int) -> str:
    # Rounded down: 99.99 must not read as all of them.
    return f"{10_000 * part // whole / 100:.2f} %" if whole else "-"
