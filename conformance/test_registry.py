"""The scenarios of scenarios/registry/; `pytest conformance/test_registry.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

registry = scenarios("registry")
