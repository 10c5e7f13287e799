"""Runs one scenario on one target, from the check of what it requires to the check of what it leaves.

The order is fixed: requirements, images, steps until the first that fails, background steps that nobody ended, clean-up steps
(always), removal of what was made (always), the look at what is left. Judging happens step by step because the
next step needs what this one saved; the verdict that counts is then the judge's over all exchanges, the same call
that judges a saved transcript.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import ScenarioError, TargetError
from sixhops.harness.judge import Verdict, judge
from sixhops.harness.run.api import Api
from sixhops.harness.run.context import Context
from sixhops.harness.run.made import ImageTable, image_table, made_by, remove
from sixhops.harness.run.prepare import prepare_images
from sixhops.harness.run.requirements import missing_requirement
from sixhops.harness.run.steps import perform
from sixhops.harness.scenario.variables import UndefinedVariable, make_scope, resolve
from sixhops.harness.stack.leftovers import Residue, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sixhops.harness.exchange import Exchange, HopMessage
    from sixhops.harness.images import BuiltImage
    from sixhops.harness.judge import StepVerdict
    from sixhops.harness.scenario.model import Scenario, Step
    from sixhops.harness.scenario.variables import Scope
    from sixhops.harness.target import Target

__all__ = ["OnStep", "ScenarioRun", "run_scenario"]
