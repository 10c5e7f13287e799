"""The scenarios of scenarios/faults/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

faults = scenarios("faults")
