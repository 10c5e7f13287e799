"""Which runtime runs a container: the one place where names of the Engine API meet containerd's.

`HostConfig.Runtime` names a runtime; containerd is told a shim (`io.containerd.runc.v2`) and, in the shim's options, the
binary and its state directory, as dockerd 20.10 does (observed in Containers/Create).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_NAME", "DEFAULT_SHIM", "Runtime", "Runtimes"]

DEFAULT_NAME = "runc"
DEFAULT_SHIM = "io.containerd.runc.v2"


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime: containerd's name of the shim, and the runc-like binary (a name on PATH or a path)."""

    shim: str = DEFAULT_SHIM
    binary: str = DEFAULT_NAME


@dataclass(frozen=True, slots=True)
class Runtimes:
    """All that `--add-runtime`, `--default-runtime` and `--containerd-runtime` say.

    `shim` is the shim of every runtime that names none; `binaries` maps runtime names to binaries, and replaces the
    built-in `runc` when it has that key.
    """

    default: str = DEFAULT_NAME
    shim: str = DEFAULT_SHIM
    binaries: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the names that a request may use."""
        return sorted({DEFAULT_NAME, *self.binaries})

    def get(self, name: str) -> Runtime:
        """Return the runtime `name` ("" for the default). Raises EngineError 400 for an unknown one."""
        name = name or self.default
        if name in self.binaries:
            return Runtime(self.shim, self.binaries[name])
        if name == DEFAULT_NAME:
            return Runtime(self.shim, DEFAULT_NAME)
        if name == DEFAULT_SHIM:
            # dockerd 20.10 has its shim as a runtime under its own name too
            return Runtime(DEFAULT_SHIM, DEFAULT_NAME)
        raise invalid(f"Unknown runtime specified {name}")
