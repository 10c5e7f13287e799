"""`sixhops dev`: commands for the people who write scenarios and requirements."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sixhops.harness.cli.select import open_library, report_errors, scenarios_option
from sixhops.harness.errors import Mark, ScenarioError, UsageError
from sixhops.harness.integrity import Exit

__all__ = ["dev"]

_HEADER = """\
# Which operations the Engine API {version} has and which status codes are documented for each: facts only,
# written by `sixhops dev engine-requirements` from the API's OpenAPI document. Do not edit; what engines do
# beyond it is in engine-api-observed.yaml.
"""


@click.group()
def dev() -> None:
    """Commands for the people who write scenarios and requirements."""


@dev.command("engine-requirements")
@click.argument("swagger", type=click.Path(path_type=Path, dir_okay=False))
def engine_requirements(swagger: Path) -> int:
    """Print the requirement file of an Engine API version, from its OpenAPI 2 document SWAGGER."""
    import yaml

    from sixhops.harness.coverage import operations_of

    try:
        document: Any = yaml.safe_load(swagger.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{swagger} can't be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"bad YAML: {error}", Mark(str(swagger), 1, 1)) from error
    operations = operations_of(document)
    version = str(document["info"]["version"])
    click.echo(_HEADER.format(version=version), nl=False)
    click.echo(
        f'prefix: engine-api\nhop: engine\nsource: Docker Engine API\nversion: "{version}"\noperations:'
    )
    for name, operation in operations.items():
        line = f'method: {operation["method"]}, path: "{operation["path"]}"'
        statuses = ", ".join(map(str, operation["statuses"]))
        click.echo(f"  {name}: {{{line}, statuses: [{statuses}]}}")
    return Exit.OK


@dev.command()
@click.argument("name")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="the folder for NAME.tar.zst (default: that of the baselines that come with sixhops)",
)
@click.option(
    "--update", is_flag=True, help="add to what the baseline NAME has, and replace what was run again"
)
@scenarios_option
def baseline(name: str, runs: tuple[Path, ...], output: Path | None, update: bool, root: Path | None) -> int:
    """Make the baseline NAME of an engine from saved RUNS of the suite on it, with all hops tapped (--taps all).

    Several runs, such as one for each folder of scenarios, make up one baseline; what a later one has of a scenario replaces
    what an earlier one has. Scenarios that have changed since they were run are left out.
    """
    from sixhops.harness.baselines import BASELINES, find_baseline
    from sixhops.harness.baselines.record import record

    library = open_library(root)
    scenarios = library.everything()
    if report_errors(library.errors):
        return Exit.USAGE
    folder = output or BASELINES
    made = record(name, runs, scenarios, folder, update=find_baseline(name, folder) if update else None)
    counts = ", ".join(f"{count} {word}" for word, count in made.recorded.counts.items())
    click.echo(f"{made.path}: engine {made.recorded.engine}, {counts}; {made.path.stat().st_size} bytes")
    if made.kept:
        click.echo(f"{len(made.kept)} as they were, nothing replaced: {', '.join(made.kept)}")
    for names, why in (
        (made.gone, "the suite does not have them"),
        (made.changed, "they have changed since they were run"),
        (made.undated, "the transcripts do not say which version of them was run"),
    ):
        if names:
            click.echo(f"left out, for {why}: {', '.join(names)}")
    return Exit.OK
