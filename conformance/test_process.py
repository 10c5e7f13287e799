"""The scenarios of scenarios/process/; `pytest conformance/test_process.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

process = scenarios("process")
