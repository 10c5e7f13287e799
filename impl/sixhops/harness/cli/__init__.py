"""The command `sixhops`. One module a group of commands; what they do is the harness's, here is only the
asking and telling.

Exit codes are those of docs/exit-codes.md for every command, also where click would have others. The
commands' own modules import what they need when they run: `sixhops --help` must not wait for HTTP clients.
"""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sixhops.harness.cli import (
    coverage,
    dev,
    diff,
    doctor,
    inspect,
    matrix,
    programs,
    replay,
    report,
    run,
    show,
    suite,
    trace,
    up,
)
from sixhops.harness.errors import ScenarioError, TargetError, UsageError
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cli", "main"]


class _Commands(click.Group):
    """A group whose errors leave with our exit codes and without tracebacks, except for mistakes of ours."""

    def main(  # type: ignore[override] # the base has overloads for both modes; here there is one
        self, args: Sequence[str] | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command line `args` (default: the process's) and leave by SystemExit."""
        extra["standalone_mode"] = False
        sys.exit(_code_of(super().main, args, extra))


def _code_of(command: Any, args: Sequence[str] | None, extra: dict[str, Any]) -> int:
    try:
        code = command(args, **extra)
        return code if isinstance(code, int) else Exit.OK
    except click.UsageError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (ScenarioError, UsageError) as error:
        click.echo(str(error), err=True)
        return Exit.USAGE
    except TargetError as error:
        click.echo(str(error), err=True)
        return Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (a pager, head) has gone; Python would complain once more while it closes standard
        # output.
        sys.stdout = None  # the documented way to keep the interpreter from flushing it
        return Exit.OK
    except Exception:  # noqa: BLE001 - whatever it is, it is a mistake of ours, and must be reported as one
        import traceback

        traceback.print_exc()
        click.echo("this is a mistake in sixhops itself, not in the scenario or the target", err=True)
        return Exit.INTERNAL


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="sixhops")
def cli() -> None:
    """Check the whole `docker run` path of a container engine, hop by hop, against scenarios."""


cli.add_command(run.run)
cli.add_command(suite.test)
cli.add_command(replay.check)
cli.add_command(replay.mutate)
cli.add_command(show.show)
cli.add_command(report.report)
cli.add_command(trace.trace)
cli.add_command(diff.diff)
cli.add_command(matrix.matrix)
cli.add_command(inspect.lint)
cli.add_command(inspect.list_)
cli.add_command(inspect.explain)
cli.add_command(inspect.schema)
cli.add_command(coverage.coverage)
cli.add_command(doctor.doctor)
cli.add_command(up.up)
cli.add_command(up.down)
cli.add_command(up.ps)
cli.add_command(programs.docker)
cli.add_command(programs.registry)
cli.add_command(dev.dev)


def main() -> NoReturn:
    """Run `sixhops` as a command; never returns."""
    cli.main()
