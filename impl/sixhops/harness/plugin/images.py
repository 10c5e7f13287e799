"""The images that scenarios use: built once a machine, read once a process."""

# ruff: noqa: PLC0415 - imports wait until they are needed: every pytest run of the environment loads the
# plugin

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sixhops.harness.cache import cache_folder
from sixhops.harness.errors import ScenarioError

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.images import BuiltImage
    from sixhops.harness.scenario.model import Scenario

__all__ = ["build_images"]


def build_images(scenario: Scenario, root: Path) -> dict[str, BuiltImage]:
    """Return the images of `scenario`, those of its bundles too, by the name of their recipe in `root`/images.

    Raises ScenarioError for a recipe that does not exist or is malformed, at the place that asks for it.
    """
    from sixhops.harness.scenario.direct import bundle_images

    images = {}
    wanted = {**bundle_images(scenario), **{use.recipe: use.mark for use in scenario.images.values()}}
    for name, mark in wanted.items():
        recipe = root / "images" / f"{name}.yaml"
        if not recipe.is_file():
            raise ScenarioError(f"no such image recipe: {recipe}", mark)
        images[name] = _built(recipe, cache_folder())
    return images


@cache
def _built(recipe: Path, folder: Path) -> BuiltImage:
    from sixhops.harness.images import build, load_recipe

    folder.mkdir(parents=True, exist_ok=True)
    return build(load_recipe(recipe), folder)
