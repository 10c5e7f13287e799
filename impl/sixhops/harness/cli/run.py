"""`sixhops run`: a few scenarios, every step told as it happens."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.select import find, open_library, report_errors, scenarios_option
from sixhops.harness.integrity import Exit, worst_exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sixhops.harness.exchange import Exchange
    from sixhops.harness.judge import StepVerdict
    from sixhops.harness.plugin.live import Room
    from sixhops.harness.plugin.outcome import Outcome
    from sixhops.harness.scenario.model import Scenario, Step

__all__ = ["run"]

_STYLES = {
    "passed": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "known": "yellow",
    "unreachable": "bold red",
}


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--target", help="a stack or an engine's address, as for the suite (default: SIXHOPS_TARGET)")
@click.option(
    "--keep-state", is_flag=True, help="leave the stack's directory in place after it has been stopped"
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="where transcripts and results.json go (default: results/<run>)",
)
@scenarios_option
def run(
    names: tuple[str, ...], target: str | None, keep_state: bool, results: Path | None, root: Path | None
) -> int:
    """Run scenarios (NAMES: files, folders, ids or globs) and tell each step with what its taps saw."""
    from rich.console import Console

    from sixhops.harness.plugin import DEFAULT_TARGET
    from sixhops.harness.plugin.folders import new_run_folder
    from sixhops.harness.plugin.live import RealSeams, Room

    library = open_library(root)
    scenarios = find(library, names)
    if report_errors(library.errors):
        return Exit.USAGE
    if not scenarios:
        return Exit.NOTHING
    room = Room(
        name=target or os.environ.get("SIXHOPS_TARGET") or DEFAULT_TARGET,
        results=results.absolute() if results else new_run_folder(Path.cwd() / "results"),
        keep_state=keep_state,
        library=library,
        seams=RealSeams(),
    )
    return _perform(room, scenarios, Console(highlight=False, soft_wrap=True))


def _perform(room: Room, scenarios: Sequence[Scenario], console: Console) -> int:
    from sixhops.harness.plugin.results import write_results

    started = time.time()
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for scenario in scenarios:
            outcome = _one(room, scenario, console)
            outcomes.append(outcome)
            if outcome.verdict == "unreachable":
                break
    except KeyboardInterrupt:
        interrupted = True
    finally:
        problems = room.close()
    code = worst_exit((*(_code(outcome) for outcome in outcomes), Exit.FAILED if problems else Exit.OK))
    if interrupted:
        code = worst_exit((code, Exit.INTERRUPTED))
        console.print("interrupted", style="bold red")
    for problem in problems:
        console.print(problem, style="bold red", markup=False)
    ran = [outcome for outcome in outcomes if outcome.verdict != "unreachable"]
    if ran or problems:
        write_results(
            room.results, target=room.name, code=code, started=started, outcomes=ran, problems=problems
        )
        console.print(f"transcripts and results.json: {room.results}", style="dim", markup=False)
    return code


def _one(room: Room, scenario: Scenario, console: Console) -> Outcome:
    console.print(f"[bold]{_plain(scenario.id)}[/bold]  {_plain(scenario.title)}")

    def stepped(step: Step, exchange: Exchange, verdict: StepVerdict) -> None:
        seconds = exchange.ended - exchange.started
        style = _STYLES[str(verdict.status)]
        console.print(
            f"  [{style}]{verdict.status:8}[/] {seconds:7.3f} s  {step.index + 1}. {_plain(step.name)}"
        )
        for message in exchange.messages:
            console.print(
                f"                      {message.hop}: {message.summary}", style="dim", markup=False
            )
        for facet, reason in verdict.skipped.items():
            console.print(f"                      {facet} not judged: {reason}", style="yellow", markup=False)

    outcome = room.perform(scenario, on_step=stepped)
    console.print(f"  [{_STYLES[outcome.verdict]}]{outcome.verdict}[/] in {outcome.seconds:.2f} s")
    if outcome.text or outcome.brief:
        console.print(outcome.text or outcome.brief, markup=False)
    return outcome


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _code(outcome: Outcome) -> Exit:
    if outcome.verdict == "unreachable" or outcome.fault == "scenario":
        return Exit.USAGE
    if outcome.fault == "sixhops":
        return Exit.INTERNAL
    return Exit.FAILED if outcome.verdict == "failed" else Exit.OK
