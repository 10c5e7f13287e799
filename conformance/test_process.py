"""The scenarios of scenarios/process/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

process = scenarios("process")
