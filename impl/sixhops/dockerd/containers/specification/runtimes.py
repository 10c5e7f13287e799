"""Which runtime runs a container: the one place where names of the Engine API meet containerd's.

`HostConfig.Runtime` names a runtime; containerd is told a shim (`io.containerd.runc.v2`) and, in the shim's options, the
binary and its state directory, as dockerd 20.10 does (observed in Containers/Create). The shim gives its runtime no
arguments of the user's, so a runtime that has some is a script, as in dockerd.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sixhops.dockerd.errors import invalid, system

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_NAME", "DEFAULT_SHIM", "Program", "Runtime", "Runtimes", "write_scripts"]

DEFAULT_NAME = "runc"
DEFAULT_SHIM = "io.containerd.runc.v2"


class Program(Protocol):
    """What a runtime is: a name on PATH or a path, and the arguments that stand before all others."""

    @property
    def path(self) -> str:
        """The program."""
        ...

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its arguments."""
        ...


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime: containerd's name of the shim, and the runc-like binary (a name on PATH or a path)."""

    shim: str = DEFAULT_SHIM
    binary: str = DEFAULT_NAME


@dataclass(frozen=True, slots=True)
class Runtimes:
    """All that `--add-runtime` and `--default-runtime` say.

    `shim` is the shim of every runtime; `programs` maps runtime names to programs, and replaces the built-in `runc` when it
    has that key. `folder` is where `write_scripts` put the scripts. `systemd`: control groups are systemd's.
    `shim_is_named`: the shim is a runtime under its own name too, as in dockerd until runtimes are reloaded.
    """

    default: str = DEFAULT_NAME
    shim: str = DEFAULT_SHIM
    programs: Mapping[str, Program] = field(default_factory=dict)
    folder: Path = Path("/var/lib/docker/runtimes")
    systemd: bool = False
    shim_is_named: bool = True

    def names(self) -> list[str]:
        """Return the names that a request may use."""
        return sorted({DEFAULT_NAME, *self.programs})

    def get(self, name: str) -> Runtime:
        """Return the runtime `name` ("" for the default). Raises EngineError 400 for an unknown one."""
        name = name or self.default
        program = self.programs.get(name)
        if program is not None:
            return Runtime(self.shim, str(self.folder / name) if program.arguments else program.path)
        if name == DEFAULT_NAME:
            return Runtime(self.shim, DEFAULT_NAME)
        if name == DEFAULT_SHIM and self.shim_is_named:
            return Runtime(DEFAULT_SHIM, DEFAULT_NAME)
        raise invalid(f"Unknown runtime specified {name}")

    def check(self, name: str) -> None:
        """Check that what a script calls is there, which only the engine can say well. Raises EngineError 500."""
        program = self.programs.get(name or self.default)
        if program is None or not program.arguments or shutil.which(program.path):
            return
        reason = "executable file not found in $PATH"
        if "/" in program.path:
            reason = "permission denied" if os.path.exists(program.path) else "no such file or directory"  # noqa: PTH110 - as it is written
            reason = f"stat {program.path}: {reason}" if reason.startswith("no") else reason
        raise system(f'error while looking up the specified runtime path: exec: "{program.path}": {reason}')

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return `Runtimes` of /info."""
        found: dict[str, dict[str, Any]] = {
            name: {"path": DEFAULT_NAME}
            for name in (DEFAULT_NAME, *((DEFAULT_SHIM,) if self.shim_is_named else ()))
        }
        for name, program in self.programs.items():
            found[name] = {"path": program.path}
            if program.arguments:
                found[name]["runtimeArgs"] = list(program.arguments)
        return dict(sorted(found.items()))


def write_scripts(runtimes: Runtimes) -> None:
    """Write a script for each runtime with arguments, in a new folder that takes the old one's place. Raises OSError."""
    fresh = runtimes.folder.with_name(f"{runtimes.folder.name}-new")
    old = runtimes.folder.with_name(f"{runtimes.folder.name}-old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(mode=0o700, parents=True)
    for name, program in runtimes.programs.items():
        if program.arguments:
            script = fresh / name
            script.write_text(f"#!/bin/sh\n{program.path} {' '.join(program.arguments)} $@\n")
            script.chmod(0o700)
    if runtimes.folder.exists():
        runtimes.folder.replace(old)
    fresh.replace(runtimes.folder)
    shutil.rmtree(old, ignore_errors=True)
