"""Commands that look at scenarios without running any: lint, list, explain, schema."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from sixhops.harness.cli.select import find, open_library, report_errors, scenarios_option
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["explain", "lint", "list_", "schema"]


@click.command()
@click.argument("paths", nargs=-1)
@scenarios_option
def lint(paths: tuple[str, ...], root: Path | None) -> int:
    """Check scenario files (PATHS, or all), with requirements and engine profiles; show every mistake.

    Exit code 4 when there is one.
    """
    library = open_library(root)
    scenarios = find(library, paths)
    count = report_errors(library.errors)
    if count:
        click.echo(f"{count} mistakes", err=True)
        return Exit.USAGE
    if not scenarios:
        click.echo("there is no scenario here", err=True)
        return Exit.NOTHING
    click.echo(f"{len(scenarios)} scenarios in {len({item.path for item in scenarios})} files, no mistakes")
    return Exit.OK


@click.command("list")
@click.argument("names", nargs=-1)
@click.option("--hop", help="only this folder's scenarios, such as engine or walkthrough")
@click.option("--tag", multiple=True, help="only scenarios with this tag; several: with all of them")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@scenarios_option
def list_(
    names: tuple[str, ...], hop: str | None, tag: tuple[str, ...], as_json: bool, root: Path | None
) -> int:
    """List scenarios (NAMES: files, folders, ids or globs; default all) with their titles."""
    library = open_library(root)
    scenarios = [
        scenario
        for scenario in find(library, names)
        if (hop is None or hop in (scenario.hop, scenario.id.split("/", 1)[0]))
        and scenario.tags.issuperset(tag)
    ]
    malformed = report_errors(library.errors)
    if as_json:
        rows = [
            {
                "id": scenario.id,
                "title": scenario.title,
                "hop": scenario.hop,
                "path": scenario.path,
                "tags": sorted(scenario.tags),
                "refs": list(scenario.refs),
            }
            for scenario in scenarios
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        for scenario in scenarios:
            click.echo(f"{scenario.id}  {click.style(scenario.title, dim=True)}")
    if malformed:
        return Exit.USAGE
    return Exit.OK if scenarios else Exit.NOTHING


@click.command()
@click.argument("name")
@scenarios_option
def explain(name: str, root: Path | None) -> int:
    """Say in plain words what the scenario NAME (a file or an id) does and expects."""
    from sixhops.harness.scenario.explain import explain as explained

    library = open_library(root)
    scenarios = find(library, (name,))
    if report_errors(library.errors):
        return Exit.USAGE
    for scenario in scenarios:
        click.echo(explained(scenario))
    return Exit.OK if scenarios else Exit.NOTHING


@click.command()
def schema() -> int:
    """Print the JSON Schema of scenario files, for editors."""
    from sixhops.harness.scenario.schema import schema_text

    click.echo(schema_text(), nl=False)
    return Exit.OK
