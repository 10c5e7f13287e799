"""The scenarios of scenarios/containerd/; `pytest conformance/test_containerd.py --target ...` runs them alone."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

containerd = scenarios("containerd")
