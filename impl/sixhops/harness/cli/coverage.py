"""`sixhops coverage`: which requirements the scenarios cover, and on which engines they were seen to hold."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.select import open_library, report_errors, scenarios_option
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.coverage import Covered

__all__ = ["coverage"]


@click.command()
@click.option("--hop", help="only requirements of this hop (or of the walkthrough)")
@click.option("--missing", is_flag=True, help="only requirements that no scenario covers")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="the folder with recorded runs",
)
@scenarios_option
def coverage(hop: str | None, missing: bool, as_json: bool, results: Path, root: Path | None) -> int:
    """Show each requirement, the scenarios that cover it, and the engines on which one of them has passed."""
    from sixhops.harness.baselines import list_baselines
    from sixhops.harness.coverage import cover, read_seen

    library = open_library(root)
    scenarios = library.everything()
    if report_errors(library.errors):
        return Exit.USAGE
    seen = read_seen(sorted(results.glob("*/results.json")))
    for baseline in list_baselines():
        for scenario, entry in baseline.recorded.scenarios.items():
            if entry.verdict == "passed":
                seen.setdefault(scenario, set()).add(baseline.recorded.engine)
    rows = [
        row for row in cover(library.registry, scenarios, seen) if hop is None or row.requirement.hop == hop
    ]
    shown = [row for row in rows if not missing or not row.scenarios]
    if as_json:
        click.echo(
            json.dumps({"totals": _totals(rows), "requirements": [_data(row) for row in shown]}, indent=1)
        )
    else:
        _print(shown, rows)
    return Exit.OK if rows else Exit.NOTHING


def _data(row: Covered) -> dict[str, object]:
    requirement = row.requirement
    return {
        "id": requirement.id,
        "hop": requirement.hop,
        "level": requirement.level,
        "source": f"{requirement.source} {requirement.version}",
        "text": requirement.text,
        "scenarios": list(row.scenarios),
        "engines": list(row.engines),
    }


def _totals(rows: Sequence[Covered]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for row in rows:
        total = totals.setdefault(row.requirement.hop, {"requirements": 0, "covered": 0, "seen": 0})
        total["requirements"] += 1
        total["covered"] += bool(row.scenarios)
        total["seen"] += bool(row.engines)
    return totals


def _print(shown: Sequence[Covered], rows: Sequence[Covered]) -> None:
    for row in shown:
        sign = click.style("+", fg="green") if row.scenarios else click.style("-", fg="red")
        click.echo(f"{sign} {row.requirement.id} ({row.requirement.level}): {row.requirement.text}")
        for scenario in row.scenarios:
            click.echo(f"    {scenario}")
        if row.engines:
            click.echo(f"    seen to hold on {', '.join(row.engines)}")
    click.echo()
    for hop, total in _totals(rows).items():
        click.echo(
            f"{hop}: {total['covered']} of {total['requirements']} requirements covered, "
            f"{total['seen']} seen to hold on an engine"
        )
