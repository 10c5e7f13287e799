"""The scenarios of scenarios/security/; `pytest conformance/test_security.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

security = scenarios("security")
