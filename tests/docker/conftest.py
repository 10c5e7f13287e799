"""Lets the tests of this folder import docker_compare, which is a tool as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
