"""The plugin's seams, as pytest hooks: where a target comes from, which images it is given, how a scenario is
run.

A conftest.py or another plugin that implements one of them replaces the real thing: tests of the plugin put a
fake target there, and an engine builder can start an engine of their own in-process. Values go by the
interfaces in `harness.target` and `harness.run`; the annotations here are loose because pytest loads this
module in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.hookspec(firstresult=True)
def pytest_sixhops_open_target(name: str, directory: Path, options: Any) -> Any:
    """Return a running `Target` for what --target names; keep its state below `directory`.

    Raises UsageError for a name that makes no sense and TargetError when it can't be started or reached.
    """


@pytest.hookspec(firstresult=True)
def pytest_sixhops_images(scenario: Any, root: Path) -> Any:
    """Return the built images of `scenario`, as `run_scenario` takes them; `root` is the scenario folder."""


@pytest.hookspec(firstresult=True)
def pytest_sixhops_run(
    scenario: Any,
    target: Any,
    images: Any,
    on_begin: Callable[..., None] | None,
    on_step: Callable[..., bool | None] | None,
) -> Any:
    """Perform and judge `scenario` on `target`; return a `ScenarioRun`.

    `on_begin` is to be called with the scope before the first step, `on_step` with step, exchange and verdict after
    each: the transcript is written by them while the scenario runs.
    """
