"""Where what is made once for all runs is kept: built images, compiled programs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return the folder: SIXHOPS_CACHE, else in XDG_CACHE_HOME or ~/.cache. It need not exist.

    Raises RuntimeError when none is named and the user has no home.
    """
    given = os.environ.get("SIXHOPS_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sixhops"
