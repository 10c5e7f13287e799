"""Recorded baselines: what released engines did in the whole suite, as data that comes with the package.

A baseline is a run's transcripts and bodies in one compressed archive, with what is random in them replaced (`reduce`), and
an index that says of which engine, when, and by which scenarios. It is loaded by its name, and unpacks into a folder that
every command takes for a run. docs/diff.md is the manual.
"""

from __future__ import annotations

from sixhops.harness.baselines.archive import BASELINES, Baseline, Recorded, find_baseline, list_baselines

__all__ = ["BASELINES", "Baseline", "Recorded", "find_baseline", "list_baselines"]
