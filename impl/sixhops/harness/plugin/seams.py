"""The real things behind the plugin's seams (`hookspecs`); whatever implements one of them elsewhere comes first."""

# ruff: noqa: PLC0415 - imports wait until a scenario is run

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sixhops.harness.plugin.live import RealSeams


@pytest.hookimpl(trylast=True)
def pytest_sixhops_open_target(name: str, directory: Path, options: Any) -> Any:
    """Open the real target."""
    return _real().pytest_sixhops_open_target(name=name, directory=directory, options=options)


@pytest.hookimpl(trylast=True)
def pytest_sixhops_images(scenario: Any, root: Path) -> Any:
    """Build the scenario's images from their recipes, or take them from the cache."""
    return _real().pytest_sixhops_images(scenario=scenario, root=root)


@pytest.hookimpl(trylast=True)
def pytest_sixhops_run(
    scenario: Any,
    target: Any,
    images: Any,
    on_begin: Callable[..., None] | None,
    on_step: Callable[..., bool | None] | None,
) -> Any:
    """Run the scenario for real."""
    return _real().pytest_sixhops_run(
        scenario=scenario, target=target, images=images, on_begin=on_begin, on_step=on_step
    )


def _real() -> RealSeams:
    from sixhops.harness.plugin.live import RealSeams

    return RealSeams()
