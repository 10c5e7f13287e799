"""The scenarios of scenarios/shim/; `pytest conformance/test_shim.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

shim = scenarios("shim")
