"""The pytest plugin: `pytest conformance/ --target upstream` runs scenarios as tests.

pytest loads this module in every run of the environment, so it must cost nothing where no scenario is
involved: it declares options, markers and hooks, and imports whatever reads YAML or opens sockets only when
the first scenario is collected. Nor does it import pytest, since commands that run no test find the suite's
library in this package. The work is in `collect` (files to items), `live` (one target, lazily started),
`outcome` (verdicts), `session` (what the whole run adds up to), `seams` (what performs a scenario) and
`summary` (what the terminal shows).
"""

# ruff: noqa: PLC0415 - imports wait until they are needed: every pytest run of the environment loads the
# plugin

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["DEFAULT_TARGET", "HOPS", "ScenarioFolder", "scenarios"]

DEFAULT_TARGET = "reference"
"""What a run is pointed at when neither --target nor SIXHOPS_TARGET says otherwise."""

HOPS = {
    "walkthrough": "the run path end to end",
    "engine": "docker <-> dockerd",
    "registry": "dockerd <-> registry",
    "containerd": "dockerd <-> containerd",
    "shim": "containerd <-> shim",
    "runtime": "shim <-> runc",
    "process": "runc <-> the container",
    "security": "hostile input",
    "faults": "crashes and broken peers",
}
"""The folders of scenarios, each of which is a marker."""


@dataclass(frozen=True, slots=True)
class ScenarioFolder:
    """Stands in a test module for all scenarios of one folder; see `scenarios`."""

    name: str


def scenarios(folder: str) -> ScenarioFolder:
    """Return a value that makes a test module, where it has any name, collect the scenarios of `folder`."""
    return ScenarioFolder(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of conformance runs."""
    group = parser.getgroup("sixhops", "sixhops: scenarios against a container engine")
    group.addoption(
        "--target",
        metavar="TARGET",
        default=os.environ.get("SIXHOPS_TARGET") or DEFAULT_TARGET,
        help="a stack (upstream, reference, or a mix such as upstream,runc=reference) or an engine's address "
        "(unix://, tcp://, ssh://); default: SIXHOPS_TARGET, else " + DEFAULT_TARGET,
    )
    group.addoption(
        "--scenarios", metavar="DIR", type=Path, help="the scenario folder to use instead of scenarios/"
    )
    group.addoption("--repeat", metavar="N", type=_at_least_one, default=1, help="run every scenario N times")
    group.addoption(
        "--taps",
        choices=("auto", "all", "outer"),
        default="auto",
        help="which hops of a stack are recorded: all; outer (engine and registry, the programs run at full speed); "
        "auto: all for scenarios that look at the inner hops, which get a stack of their own, outer for the others",
    )
    group.addoption(
        "--keep-state",
        action="store_true",
        help="leave the stack's directory in place after it has been stopped",
    )
    group.addoption(
        "--accept-counts",
        action="store_true",
        help="record this full run's counts of scenarios and skips as right",
    )
    group.addoption(
        "--results",
        metavar="DIR",
        type=Path,
        help="where transcripts and results.json go (default: results/<run>)",
    )
    group.addoption(
        "--report",
        metavar="DIR",
        type=Path,
        dest="sixhops_report",
        help="write a report of the run there: index.html, summary.json, junit.xml, summary.md",
    )
    group.addoption(
        "--baseline",
        metavar="RUN",
        type=Path,
        help="an earlier run (its folder or results.json), or a recorded baseline of an engine by its name (`sixhops diff "
        "--list-baselines`): what failed there as well is a known difference, so only what is new fails",
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is less than 1")
    return number


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the seams."""
    from sixhops.harness.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of the hops, and the part that adds up what scenarios report."""
    import pytest

    from sixhops.harness.plugin import seams
    from sixhops.harness.plugin.session import SessionReport

    folder = config.getoption("scenarios")
    if folder is not None and not folder.is_dir():
        raise pytest.UsageError(f"--scenarios: no such folder: {folder}")
    if config.getoption("baseline") is not None:
        from sixhops.harness.errors import UsageError
        from sixhops.harness.plugin.session import baseline_of

        try:
            baseline_of(config)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
    if config.getoption("cacheclear", default=False) and not hasattr(config, "workerinput"):
        from sixhops.harness.plugin.kept import forget

        forget()
    for name, meaning in HOPS.items():
        config.addinivalue_line("markers", f"{name}: scenarios of {name}/ ({meaning})")
    config.addinivalue_line("markers", "starts: scenarios that start a container")
    config.pluginmanager.register(seams, "sixhops-seams")
    config.pluginmanager.register(SessionReport(config), "sixhops-session")


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, obj: object
) -> list[pytest.Item] | None:
    """Turn a `ScenarioFolder` in a test module into the scenarios of that folder."""
    if not isinstance(obj, ScenarioFolder):
        return None
    from sixhops.harness.plugin.collect import items_of_folder

    return items_of_folder(collector, obj.name)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a scenario file that lies in the scenario folder, or that the command line names."""
    if file_path.suffix != ".yaml":
        return None
    from sixhops.harness.plugin.collect import scenario_file

    return scenario_file(file_path, parent)
