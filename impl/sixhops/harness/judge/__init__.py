"""From what was seen to a verdict. Pure: live runs, replays, mutants and diffs all call these."""

from sixhops.harness.judge.judge import fails_for_good, judge, judge_step
from sixhops.harness.judge.text import format_mismatch, format_mismatches
from sixhops.harness.judge.verdict import Failure, Status, StepVerdict, Verdict

__all__ = [
    "Failure",
    "Status",
    "StepVerdict",
    "Verdict",
    "fails_for_good",
    "format_mismatch",
    "format_mismatches",
    "judge",
    "judge_step",
]
