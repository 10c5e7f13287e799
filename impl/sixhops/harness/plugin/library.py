"""The scenario folder as a whole: scenarios, requirements and profiles, checked against each other."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.coverage import Registry, check_refs, load_requirements
from sixhops.harness.diff.accepted import Accepted, check_accepted, load_accepted
from sixhops.harness.documents import shown_path
from sixhops.harness.errors import Mark, ScenarioError, ScenarioErrors, UsageError
from sixhops.harness.plugin.kept import Pack, key_of
from sixhops.harness.plugin.profile import Profile, check_profiles, load_profiles
from sixhops.harness.scenario.load import collection_paused, load_file, recipes_of

if TYPE_CHECKING:
    from sixhops.harness.scenario.model import Scenario

__all__ = ["NOT_SCENARIOS", "Library"]

NOT_SCENARIOS = frozenset({"images", "engines", "requirements", "baselines", "diff"})
"""Folders below the root whose YAML files are something else than scenarios."""

#: Fewer files are read sooner than kept.
_WORTH_KEEPING: Final = 50


class Library:
    """What lies below one scenario root. `errors` grows as files are read; a file is read once.

    A file outside the root (a user's own scenario) takes requirements and profiles from the root, and image
    recipes from the `images` folder of its own scenario folder. What earlier processes have read of a large
    folder is taken from where they kept it (`kept`), if it was found to be without mistakes.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(f"no such scenario folder: {root}")
        # Places in messages, and the ids in reports, are shown by this path: short where the user stands.
        self.root = Path(shown_path(root))
        self.errors: list[ScenarioError] = []
        self._absolute = root.resolve()
        self._files: dict[Path, list[Scenario]] = {}
        self._checked = False
        #: Of the files that were asked for with others: their keys, and what no pack had.
        self._keys: dict[Path, bytes] = {}
        self._new: dict[bytes, list[Scenario]] = {}

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
        with collection_paused():
            return [scenario for path in self.paths(name) for scenario in self._scenarios(path)]

    def file(self, path: Path) -> list[Scenario]:
        """Return the scenarios of one file, one for each row; none when it is malformed (see `errors`)."""
        inside = self._inside(path)
        shown = Path(shown_path(path)) if inside is None else self.root / inside
        if shown not in self._files:
            self._files[shown] = self._load(shown, self.root_of(shown))
        return self._files[shown]

    def everything(self) -> list[Scenario]:
        """Return all scenarios, and check profiles and accepted differences against them."""
        scenarios = self.folder("")
        if not self.errors and not self._checked:
            self._checked = True
            key = self._key_of_all()
            if key is None or self._pack.get(key) is None:
                self.errors.extend(check_profiles(self.profiles, scenarios))
                self.errors.extend(check_accepted(self.accepted, scenarios))
                self._keep(key)
        return scenarios

    def _load(self, path: Path, root: Path, **known: Any) -> list[Scenario]:
        try:
            scenarios = load_file(path, root, **known)
        except ScenarioErrors as several:
            self.errors.extend(several.errors)
            return []
        self.errors.extend(check_refs(scenarios, self.registry))
        return scenarios

    # what an earlier process has read ---------------------------------------------------------------

    def _scenarios(self, path: Path) -> list[Scenario]:
        """Return the scenarios of a file below the root, one of many that are asked for."""
        if path not in self._files:
            self._files[path] = self._kept(path)
        return self._files[path]

    def _kept(self, path: Path) -> list[Scenario]:
        try:
            data = path.read_bytes()
            key = key_of(self._given, str(path), data)
        except OSError:
            return self._load(path, self.root)
        found: list[Scenario] | None = self._pack.get(key)
        if found is None:
            beside: list[str] = []
            found = self._load(path, self.root, recipes=self._recipes, data=data, beside=beside)
            if beside:
                # It depends on files that are not in the key.
                return found
            self._new[key] = found
        self._keys[path] = key
        return found

    @cached_property
    def _pack(self) -> Pack:
        return Pack()

    @cached_property
    def _recipes(self) -> tuple[str, ...]:
        return recipes_of(self.root)

    @cached_property
    def _given(self) -> bytes:
        """All that every file is read with, as a key; raises OSError."""
        return key_of(str(self.root), *self._recipes, *self._texts("requirements"))

    def _key_of_all(self) -> bytes | None:
        """Return the key of a suite in which there are no mistakes; None when a file of it can't be told."""
        if len(self._keys) < len(self._files):
            return None
        try:
            return key_of(*sorted(self._keys.values()), *self._texts("engines"), *self._texts("diff"))
        except OSError:
            return None

    def _texts(self, folder: str) -> list[bytes]:
        return [
            part
            for path in sorted((self.root / folder).glob("*.yaml"))
            for part in (os.fsencode(path.name), path.read_bytes())
        ]

    def _keep(self, key: bytes | None) -> None:
        """Have a suite without mistakes kept, where that is worth more than it takes."""
        if self.errors or len(self._files) < _WORTH_KEEPING:
            return
        if len(self._new) >= _WORTH_KEEPING:
            for one, scenarios in self._new.items():
                self._pack.put(one, scenarios)
            self._new.clear()
        if key is not None:
            self._pack.put(key, True)
        self._pack.write()

    def _inside(self, path: Path) -> Path | None:
        if not path.is_absolute() and path.is_relative_to(self.root):
            return path.relative_to(self.root)
        absolute = path if path.is_absolute() else path.resolve()
        return absolute.relative_to(self._absolute) if absolute.is_relative_to(self._absolute) else None
