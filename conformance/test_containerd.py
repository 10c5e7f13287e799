"""The scenarios of scenarios/containerd/."""

from __future__ import annotations

from sixhops.harness.plugin import scenarios

containerd = scenarios("containerd")
