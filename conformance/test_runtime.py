"""The scenarios of scenarios/runtime/; `pytest conformance/test_runtime.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

runtime = scenarios("runtime")
