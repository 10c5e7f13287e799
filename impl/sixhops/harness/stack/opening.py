"""From the word after --target to a running target."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import InternalError
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.private import PrivateStack
from sixhops.harness.stack.programs import is_stack_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sixhops.harness.target import Target

__all__ = ["open_named_target"]


def open_named_target(
    name: str, *, directory: Path | None, options: StackOptions | Mapping[str, Any] | None
) -> Target:
    """Do what `stack.open_target` says."""
    chosen = options if isinstance(options, StackOptions) else _options(options or {})
    if is_stack_name(name):
        return PrivateStack.start(name, directory=directory, options=chosen)
    # Each process that starts a stack comes here, and none of them needs what speaks to other machines.
    from sixhops.harness.stack.endpoint import resolve_endpoint  # noqa: PLC0415
    from sixhops.harness.stack.external import ExternalEngine  # noqa: PLC0415

    return ExternalEngine.connect(resolve_endpoint(name, os.environ), directory=directory, options=chosen)


def _options(given: Mapping[str, Any]) -> StackOptions:
    unknown = given.keys() - {field.name for field in dataclasses.fields(StackOptions)}
    if unknown:
        raise InternalError(f"no such target options: {', '.join(sorted(unknown))}")
    return StackOptions(**given)
