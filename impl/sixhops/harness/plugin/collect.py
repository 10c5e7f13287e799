"""Scenario files become pytest items: one item for each scenario and row, named by its path below scenarios/.

Two ways lead here: a module of conformance/ that names a folder, and a YAML file given to pytest directly.
Both read the files once a process, and both keep going after a malformed file: all errors are shown together,
and then nothing runs (exit code 4).
"""

# ruff: noqa: PLC0415 - imports wait until they are needed: every pytest run of the environment loads the
# plugin

from __future__ import annotations

import keyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.plugin import HOPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.harness.plugin.outcome import Outcome
    from sixhops.harness.scenario.model import Scenario

__all__ = [
    "ScenarioFile",
    "ScenarioItem",
    "Suite",
    "VerdictError",
    "items_of_folder",
    "scenario_file",
    "suite_of",
]

_SUITE = pytest.StashKey["Suite"]()


class VerdictError(Exception):
    """A scenario's verdict is not the expected one; pytest's way to carry the outcome to the report."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.brief)
        self.outcome = outcome


class Suite:
    """The scenarios of one pytest process: where they are, what has been read, and what was wrong with it.

    `errors` are the lines for the user, in the order of discovery and without repetition. `complete` holds
    the ids of all scenarios of the tree once a folder of it has been collected, for the comparison with the
    recorded counts.
    """

    def __init__(self, config: pytest.Config) -> None:
        from sixhops.harness.plugin.library import Library

        given: Path | None = config.getoption("scenarios")
        self.library = Library(given or default_root(config))
        self.config = config

    @property
    def errors(self) -> list[str]:
        """One line for each mistake in the files read so far."""
        return list(dict.fromkeys(str(error) for error in self.library.errors))

    def items(self, parent: pytest.Collector, scenarios: Iterable[Scenario]) -> list[pytest.Item]:
        """Return the items for `scenarios`, each as often as --repeat says."""
        turns = range(1, self.config.getoption("repeat") + 1)
        items: list[pytest.Item] = []
        for scenario in scenarios:
            for turn in turns:
                name = scenario.id if turn == 1 else f"{scenario.id}[repeat {turn}]"
                items.append(ScenarioItem.from_parent(parent, name=name, scenario=scenario))
        return items


def suite_of(config: pytest.Config) -> Suite:
    """Return the process's suite; made at the first call, so a run without scenarios never reads one."""
    if _SUITE not in config.stash:
        config.stash[_SUITE] = Suite(config)
    return config.stash[_SUITE]


def has_suite(config: pytest.Config) -> bool:
    """Return whether a scenario has been asked for in this process."""
    return _SUITE in config.stash


def default_root(config: pytest.Config) -> Path:
    """Return the scenario folder of a run without --scenarios: the project's, or the installed one."""
    local = config.rootpath / "scenarios"
    if local.is_dir():
        return local
    from sixhops.harness.plugin.folders import installed_root

    return installed_root()


def items_of_folder(collector: pytest.Collector, folder: str) -> list[pytest.Item]:
    """Return the items of all scenarios below `folder` of the scenario root."""
    suite = suite_of(collector.config)
    return suite.items(collector, suite.library.folder(folder))


def scenario_file(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return a collector when `path` is a scenario: below the scenario root, or named on the command line."""
    config = parent.config
    root = (config.getoption("scenarios") or default_root(config)).resolve()
    if path.resolve().is_relative_to(root):
        if not suite_of(config).library.is_scenario(path):
            return None
    elif not parent.session.isinitpath(path):
        return None
    return ScenarioFile.from_parent(parent, path=path)


class ScenarioFile(pytest.File):
    """A YAML file as pytest sees it."""

    def collect(self) -> list[pytest.Item]:
        """Read the file; its errors end up in the suite, not in a traceback."""
        suite = suite_of(self.config)
        return suite.items(self, suite.library.file(self.path))


class ScenarioItem(pytest.Item):
    """One scenario (one row of it) as a test."""

    def __init__(self, *, scenario: Scenario, **arguments: Any) -> None:
        from sixhops.harness.run.requirements import starts_container

        super().__init__(**arguments)
        self.scenario = scenario
        self.outcome: Outcome | None = None
        for word in (scenario.id.split("/", 1)[0], *sorted(scenario.tags)):
            if word not in HOPS:
                # Tags are the authors' own; strict markers know them from the moment when they are first
                # seen.
                _register_tag(self.config, word)
            self.add_marker(word)
        if starts_container(scenario):
            self.add_marker("starts")

    def runtest(self) -> None:
        """Run the scenario; every verdict but `passed` leaves as an exception that carries the outcome."""
        from sixhops.harness.plugin.session import room_of

        self.outcome = outcome = room_of(self.config).perform(self.scenario, name=self.name)
        if outcome.verdict != "passed":
            raise VerdictError(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the outcome's own text; only an exception that nobody foresaw keeps its traceback."""
        if isinstance(excinfo.value, VerdictError):
            from sixhops.harness.plugin.summary import ScenarioRepr

            return ScenarioRepr(excinfo.value.outcome)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the scenario's file and line, and the headline of its failure."""
        mark = self.scenario.mark
        return Path(mark.path).absolute(), mark.line - 1, f"{self.name}: {self.scenario.title}"


def _register_tag(config: pytest.Config, tag: str) -> None:
    known = {line.split(":", 1)[0].strip() for line in config.getini("markers")}
    if tag not in known:
        kind = "a tag" if tag.isidentifier() and not keyword.iskeyword(tag) else "a tag (quote it in -m)"
        config.addinivalue_line("markers", f"{tag}: {kind} of scenarios")
