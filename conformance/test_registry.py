"""The scenarios of scenarios/registry/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

registry = scenarios("registry")
