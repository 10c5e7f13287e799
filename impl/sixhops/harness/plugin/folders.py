"""Where the suite is installed, and where a run's files go. Apart from what reads and writes there, since every pytest run
of the environment asks for the one, and runs that write nothing for the other.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import sixhops

__all__ = ["installed_root", "new_run_folder"]


def new_run_folder(parent: Path) -> Path:
    """Return the name of a folder for this run below `parent`; it is made when the first file is written."""
    return parent / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"


def installed_root() -> Path:
    """Return the scenario folder that is installed with the package; in a checkout, the checkout's."""
    package = Path(next(iter(sixhops.__path__)))
    installed = package / "scenarios"
    return installed if installed.is_dir() else package.parents[1] / "scenarios"
