"""All command lines that are compared."""

from __future__ import annotations

import docker_cases_access
import docker_cases_core
import docker_cases_files
import docker_cases_formats
import docker_cases_rest
import docker_cases_screens

__all__ = ["CASES"]

CASES = (
    *docker_cases_core.CASES,
    *docker_cases_files.CASES,
    *docker_cases_access.CASES,
    *docker_cases_screens.CASES,
    *docker_cases_rest.CASES,
    *docker_cases_formats.CASES,
)
