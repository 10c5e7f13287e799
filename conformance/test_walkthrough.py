"""The scenarios of scenarios/walkthrough/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

walkthrough = scenarios("walkthrough")
