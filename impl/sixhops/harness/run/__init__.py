"""Performs scenarios: speaks to the target and collects exchanges; judges nothing by itself."""

from sixhops.harness.run.scenario import ScenarioRun, run_scenario

__all__ = ["ScenarioRun", "run_scenario"]
