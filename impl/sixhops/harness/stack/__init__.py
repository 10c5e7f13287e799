"""Targets: private stacks that sixhops starts, and endpoints that already run.

`open_target` is the only door that the rest of the harness needs. The package itself imports nothing heavy,
because the supervisor (`python -m sixhops.harness.stack.supervisor`) lives in it and has to be up at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from sixhops.harness.stack.options import StackOptions
    from sixhops.harness.target import Target

__all__ = ["open_target", "sweep"]


def open_target(
    name: str, *, directory: Path | None = None, options: StackOptions | Mapping[str, Any] | None = None
) -> Target:
    """Return a running target for `name`, what a person writes after --target.

    `upstream`, `reference`, a mix such as `upstream,runc=reference`: a private stack is started.
    `unix:///path`, `tcp://host:port`, `ssh://user@host[:port]`, `env` (DOCKER_HOST, else the current docker
    context), `context:NAME`: an endpoint that runs already.
    `directory` is where the programs' logs go and stay; None keeps them in the stack's own directory, which
    goes with the stack. `options`: see `StackOptions`; a mapping has its field names as keys.
    Raises UsageError (no such target, a program is not installed), TargetError (did not start, can't be
    reached).
    """
    from sixhops.harness.stack.opening import open_named_target  # noqa: PLC0415 - see the module's docstring

    return open_named_target(name, directory=directory, options=options)


def sweep() -> list[str]:
    """Remove what stacks left whose owner and reaper are both gone; return the ids of those stacks."""
    from sixhops.harness.stack import state  # noqa: PLC0415 - see the module's docstring

    return state.sweep(state.base_directory())
