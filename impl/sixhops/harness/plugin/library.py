"""The scenario folder as a whole: scenarios, requirements and profiles, checked against each other."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import sixhops
from sixhops.harness.coverage import Registry, check_refs, load_requirements
from sixhops.harness.diff.accepted import Accepted, check_accepted, load_accepted
from sixhops.harness.documents import shown_path
from sixhops.harness.errors import Mark, ScenarioError, ScenarioErrors, UsageError
from sixhops.harness.plugin.profile import Profile, check_profiles, load_profiles
from sixhops.harness.scenario.load import load_file

if TYPE_CHECKING:
    from sixhops.harness.scenario.model import Scenario

__all__ = ["NOT_SCENARIOS", "Library", "installed_root"]

NOT_SCENARIOS = frozenset({"images", "engines", "requirements", "baselines", "diff"})
"""Folders below the root whose YAML files are something else than scenarios."""


class Library:
    """What lies below one scenario root. `errors` grows as files are read; a file is read once.

    A file outside the root (a user's own scenario) takes requirements and profiles from the root, and image
    recipes from the `images` folder of its own scenario folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(f"no such scenario folder: {root}")
        # Places in messages, and the ids in reports, are shown by this path: short where the user stands.
        self.root = Path(shown_path(root))
        self.errors: list[ScenarioError] = []
        self._absolute = root.resolve()
        self._files: dict[Path, list[Scenario]] = {}

    @cached_property
    def registry(self) -> Registry:
        """The requirements; an error in their files is one of the library's."""
        registry, errors = load_requirements(self.root / "requirements")
        self.errors.extend(errors)
        return registry

    @cached_property
    def profiles(self) -> list[Profile]:
        """The engine profiles; an error in their files is one of the library's."""
        profiles, errors = load_profiles(self.root / "engines")
        self.errors.extend(errors)
        return profiles

    @cached_property
    def accepted(self) -> list[Accepted]:
        """The differences between targets that are accepted; an error in their files is one of the library's."""
        files, errors = load_accepted(self.root / "diff")
        self.errors.extend(errors)
        return files

    def paths(self, folder: str = "") -> list[Path]:
        """Return the scenario files below `folder` of the root (all by default), in order of name.

        One that ends in .yml would never run; it is an error of the library's.
        """
        start = self.root / folder
        for wrong in sorted(start.rglob("*.yml")):
            if self.is_scenario(wrong):
                self.errors.append(
                    ScenarioError("a scenario's file name ends in .yaml", Mark(str(wrong), 1, 1))
                )
        return [path for path in sorted(start.rglob("*.yaml")) if self.is_scenario(path)]

    def is_scenario(self, path: Path) -> bool:
        """Return whether `path` is no other kind of file: outside the root, or in a scenario folder."""
        inside = self._inside(path)
        return inside is None or (len(inside.parts) > 1 and inside.parts[0] not in NOT_SCENARIOS)

    def root_of(self, path: Path) -> Path:
        """Return the scenario folder that a file belongs to: the root, or its own for a file outside."""
        if self._inside(path) is not None:
            return self.root
        return next((parent for parent in path.parents if parent.name == "scenarios"), path.parent)

    def folder(self, name: str) -> list[Scenario]:
        """Return the scenarios below one folder of the root; one that does not exist has none."""
        return [scenario for path in self.paths(name) for scenario in self.file(path)]

    def file(self, path: Path) -> list[Scenario]:
        """Return the scenarios of one file, one for each row; none when it is malformed (see `errors`)."""
        inside = self._inside(path)
        shown = Path(shown_path(path)) if inside is None else self.root / inside
        if shown not in self._files:
            self._files[shown] = self._load(shown)
            self.errors.extend(check_refs(self._files[shown], self.registry))
        return self._files[shown]

    def everything(self) -> list[Scenario]:
        """Return all scenarios, and check profiles and accepted differences against them."""
        scenarios = self.folder("")
        if not self.errors:
            self.errors.extend(check_profiles(self.profiles, scenarios))
            self.errors.extend(check_accepted(self.accepted, scenarios))
        return scenarios

    def _load(self, path: Path) -> list[Scenario]:
        try:
            return load_file(path, self.root_of(path))
        except ScenarioErrors as several:
            self.errors.extend(several.errors)
            return []

    def _inside(self, path: Path) -> Path | None:
        if not path.is_absolute() and path.is_relative_to(self.root):
            return path.relative_to(self.root)
        absolute = path if path.is_absolute() else path.resolve()
        return absolute.relative_to(self._absolute) if absolute.is_relative_to(self._absolute) else None


def installed_root() -> Path:
    """Return the scenario folder that is installed with the package; in a checkout, the checkout's."""
    package = Path(next(iter(sixhops.__path__)))
    installed = package / "scenarios"
    return installed if installed.is_dir() else package.parents[1] / "scenarios"
