"""What two runs did, compared: normalise a transcript, compare two, leave out what is accepted. docs/diff.md is the manual.

`normalise`, `diff` and everything that they use do no I/O.
"""

from __future__ import annotations

from sixhops.harness.diff.compare import diff
from sixhops.harness.diff.model import Difference, Normal, NormalMessage, NormalStep
from sixhops.harness.diff.normalise import normalise

__all__ = ["Difference", "Normal", "NormalMessage", "NormalStep", "diff", "normalise"]
