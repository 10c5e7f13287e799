"""The scenarios of scenarios/shim/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

shim = scenarios("shim")
