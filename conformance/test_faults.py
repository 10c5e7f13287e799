"""The scenarios of scenarios/faults/; `pytest conformance/test_faults.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

faults = scenarios("faults")
