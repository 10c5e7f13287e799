"""`sixhops dev`: commands for the people who write scenarios and requirements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from sixhops.harness.coverage import operations_of
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
