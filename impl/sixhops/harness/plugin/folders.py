"""Where a run's files go. Apart from `results`, since pytest asks for the name in runs that write nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["new_run_folder"]


def new_run_folder(parent: Path) -> Path:
    """Return the name of a folder for this run below `parent`; it is made when the first file is written."""
    return parent / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
