"""Hatch's build hook: compile the .proto files before files are collected, for wheels and editable installs.

`pyproject.toml` names it (`[tool.hatch.build.hooks.custom]`); `[build-system] requires` has grpcio-tools.
Generated modules are not in git (.gitignore), so they are handed to hatchling as artifacts.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILER = "impl/sixhops/wire/proto/compile.py"


class ProtoBuildHook(BuildHookInterface[Any]):
    """Writes `*_pb2.py` and `*_pb2.pyi` beside their sources and adds them to the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Compile; an sdist needs nothing, it carries the sources."""
        if self.target_name != "wheel":
            return
        path = Path(self.root, COMPILER)
        spec = importlib.util.spec_from_file_location("sixhops_proto_compile", path)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"cannot load {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        written: list[Path] = module.compile_all()
        build_data["artifacts"].extend(str(item.relative_to(self.root)) for item in written)


def get_build_hook() -> type[BuildHookInterface[Any]]:
    """Return the hook; hatchling looks for this name."""
    return ProtoBuildHook
