"""The scenarios of scenarios/engine/; `pytest conformance/test_engine.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

engine = scenarios("engine")
