"""All command lines that are compared."""

from __future__ import annotations

import docker_cases_core

__all__ = ["CASES"]

CASES = docker_cases_core.CASES
