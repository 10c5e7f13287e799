"""`sixhops show`: a saved transcript, readable, or for other tools."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sixhops.harness.errors import ScenarioError, UsageError
from sixhops.harness.integrity import Exit, worst_exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.run.transcript import Transcript
    from sixhops.harness.show import Choice

__all__ = ["HOPS", "STYLES", "show"]

HOPS = ("engine", "registry", "containerd", "shim", "runtime", "process")
STYLES: dict[str, dict[str, Any]] = {
    "title": {"bold": True},
    "dim": {"dim": True},
    "passed": {"fg": "green"},
    "failed": {"fg": "red"},
    "skipped": {"fg": "yellow"},
    "known": {"fg": "yellow"},
    "engine": {"fg": "blue"},
    "registry": {"fg": "magenta"},
    "containerd": {"fg": "cyan"},
    "shim": {"fg": "yellow"},
    "runtime": {"fg": "green"},
    "process": {"dim": True},
}
_output = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-v", "--verbose", is_flag=True, help="also what was sent and seen, and all fields of messages")
@click.option("--hop", "hops", multiple=True, type=click.Choice(HOPS), help="only this hop's messages")
@click.option(
    "--step",
    default="*",
    help="only this step: its number, counted from 1, several (3-5), or a glob of its name",
)
@click.option("--har", type=_output, help="write the HTTP hops as HAR 1.2 to this file (-: standard output)")
@click.option(
    "--trace",
    "--perfetto",
    "trace",
    type=_output,
    help="write all hops as a trace for Perfetto or chrome://tracing to this file (-: standard output)",
)
def show(
    files: tuple[Path, ...],
    verbose: bool,
    hops: tuple[str, ...],
    step: str,
    har: Path | None,
    trace: Path | None,
) -> int:
    """Print saved transcripts (FILES, or folders of them): steps, verdicts, messages in order of time.

    With --har or --trace nothing is printed but what is written.
    """
    from sixhops.harness.replay import transcript_files
    from sixhops.harness.run.transcript import read_transcript
    from sixhops.harness.show import Choice

    choice = Choice(frozenset(hops), step, verbose)
    codes: list[Exit] = []
    read: list[Transcript] = []
    shown = 0
    for file in transcript_files(files):
        try:
            transcript = read_transcript(file)
        except ScenarioError as error:
            click.echo(str(error), err=True)
            codes.append(Exit.USAGE)
            continue
        shown += 1
        if har is not None or trace is not None:
            read.append(transcript)
        else:
            _print(transcript, choice)
    if not shown:
        click.echo("there is no transcript here", err=True)
        return worst_exit((*codes, Exit.NOTHING))
    _export(read, har, trace)
    return worst_exit((*codes, Exit.OK))


def _print(transcript: Transcript, choice: Choice) -> None:
    from sixhops.harness.show import lines_of

    for line in lines_of(transcript, choice):
        # Without a terminal, click takes the colours out again.
        click.echo(click.style(line.text, **STYLES.get(line.word, {})))


def _export(transcripts: Sequence[Transcript], har: Path | None, trace: Path | None) -> None:
    from sixhops.harness.show import har_of, trace_of

    if har is not None:
        _write(har, har_of(transcripts))
    if trace is not None:
        _write(trace, trace_of(transcripts))


def _write(path: Path, data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1)
    if str(path) == "-":
        click.echo(text)
        return
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}") from error
