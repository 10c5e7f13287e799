"""The scenarios of scenarios/security/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

security = scenarios("security")
