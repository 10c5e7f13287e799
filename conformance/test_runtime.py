"""The scenarios of scenarios/runtime/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

runtime = scenarios("runtime")
