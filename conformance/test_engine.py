"""The scenarios of scenarios/engine/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

engine = scenarios("engine")
