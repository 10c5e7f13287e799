"""Performs scenarios: speaks to the target and collects exchanges; judges nothing by itself."""

from sixhops.harness.run.scenario import ScenarioRun, run_scenario
from sixhops.harness.run.transcript import dump, load

__all__ = ["ScenarioRun", "dump", "load", "run_scenario"]
