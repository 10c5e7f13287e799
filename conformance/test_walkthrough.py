"""The scenarios of scenarios/walkthrough/; `pytest conformance/test_walkthrough.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

walkthrough = scenarios("walkthrough")
