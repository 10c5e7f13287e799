"""A container for the tests of the whole program; what it leaves is a failure."""

import tempfile
from pathlib import Path

import pytest
from boxed import Box


@pytest.fixture
def box():
    # Not pytest's own directory: a user namespace's root must be able to pass through it.
    with tempfile.TemporaryDirectory(prefix="sixhops-") as directory:
        Path(directory).chmod(0o755)
        box = Box(Path(directory))
        yield box
        box.runc("delete", "--force", box.identifier)
        assert box.leftovers() == []
