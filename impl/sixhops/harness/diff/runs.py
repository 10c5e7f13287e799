"""The two sides of a comparison: saved transcripts, read, or targets, on which scenarios are run first.

The only part of the package that reads files and starts processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.harness.diff.accepted import Comparison
from sixhops.harness.diff.compare import diff
from sixhops.harness.diff.model import Difference
from sixhops.harness.diff.normalise import normalise
from sixhops.harness.errors import SixhopsError, UsageError
from sixhops.harness.integrity import Exit
from sixhops.harness.replay import transcript_files
from sixhops.harness.run.transcript import read_header, read_transcript

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["RunFailedError", "Saved", "changed_between", "compare_all", "find_saved", "is_saved", "run_on"]

#: Fewer pairs than this are compared faster than processes start.
_WORTH_PROCESSES = 16


class RunFailedError(SixhopsError):
    """The suite could not be run on a target; `code` is how its process ended."""

    def __init__(self, target: str, code: int) -> None:
        super().__init__(f"the scenarios could not be run on {target} (exit code {code})")
        self.code = code


@dataclass(frozen=True, slots=True)
class Saved:
    """The transcripts of one side, by the scenario's id; of repetitions the first. `name` is how the user calls it."""

    name: str
    files: dict[str, Path]
    whole: bool = True

    def only(self, scenarios: Collection[str]) -> Saved:
        """Return the side with nothing but these scenarios."""
        kept = {name: file for name, file in self.files.items() if name in scenarios}
        return Saved(self.name, kept, self.whole)


def is_saved(side: str) -> bool:
    """Say whether a side is a file or folder rather than a target."""
    return Path(side).exists()


def find_saved(side: str, wanted: frozenset[str] | None = None) -> Saved:
    """Return the transcripts in a file or folder; `wanted`: only those of these scenarios.

    Raises ScenarioError for a file that is no transcript.
    """
    path = Path(side)
    files: dict[str, Path] = {}
    for file in transcript_files([path]):
        scenario = str(read_header(file)["scenario"])
        if wanted is None or scenario in wanted:
            files.setdefault(scenario, file)
    return Saved(side, files, path.is_dir())


def run_on(
    target: str, paths: Sequence[Path], results: Path, *, root: Path, workers: int, taps: str
) -> Saved:
    """Run scenario files (or folders) on a target as `pytest` does, and return its transcripts.

    What fails is part of what is compared; raises RunFailedError when the run itself did not come to its end. Pytest's
    output goes to standard error.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--target", target]
    command += ["--scenarios", str(root), "--results", str(results), "--taps", taps]
    command += ["-n", str(workers)] if workers > 1 else []
    # To the descriptor of standard error: standard output is the comparison's.
    done = subprocess.run([*command, *map(str, paths)], stdout=2, check=False)
    if done.returncode not in {Exit.OK, Exit.FAILED} or not (results / "transcripts").is_dir():
        raise RunFailedError(target, done.returncode)
    found = find_saved(str(results / "transcripts"))
    return Saved(target, found.files)


def changed_between(a: Saved, b: Saved) -> tuple[str, ...]:
    """Return the scenarios that did something else in the one run than in the other, where both tell it.

    Raises ScenarioError for a file that is no transcript.
    """
    found = []
    for name in sorted(a.files.keys() & b.files.keys()):
        left, right = (read_header(side.files[name]).get("digest") for side in (a, b))
        if left is not None and right is not None and left != right:
            found.append(name)
    return tuple(found)


def compare_all(a: Saved, b: Saved) -> list[Comparison]:
    """Return the comparison of each scenario that both sides have, and a difference for one that only one has.

    When a side is a single file, only its scenario is looked at. Raises UsageError when they have nothing in common,
    ScenarioError for a file that is no transcript.
    """
    names = sorted({*a.files, *b.files})
    for side in (a, b):
        if not side.whole:
            names = [name for name in names if name in side.files]
    pairs = [(a.files[name], b.files[name]) for name in names if name in a.files and name in b.files]
    if not pairs:
        raise UsageError(f"{a.name} and {b.name} have no scenario in common")
    processes = min(
        os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count() or 1, len(pairs)
    )
    if processes > 1 and len(pairs) >= _WORTH_PROCESSES:
        with ProcessPoolExecutor(processes) as pool:
            found = list(pool.map(_compare, pairs, chunksize=4))
    else:
        found = [_compare(pair) for pair in pairs]
    some = found[0]
    alone = [name for name in names if name not in a.files or name not in b.files]
    return [*found, *(_alone(name, some, in_a=name in a.files) for name in alone)]


def _compare(pair: tuple[Path, Path]) -> Comparison:
    left, right = (read_transcript(path) for path in pair)
    a, b = normalise(left), normalise(right)
    return Comparison(
        scenario=a.scenario,
        a=_facts(left.header),
        b=_facts(right.header),
        unseen={**b.unseen, **a.unseen},
        differences=tuple(diff(a, b)),
    )


def _facts(header: dict[str, Any]) -> dict[str, Any]:
    return {key: header["target"][key] for key in ("name", "engine_version", "programs")}


def _alone(name: str, like: Comparison, *, in_a: bool) -> Comparison:
    kind = "missing" if in_a else "added"
    difference = Difference(
        name, -1, "", "", "", "scenario", kind, name if in_a else None, None if in_a else name
    )
    return Comparison(name, like.a, like.b, {}, (difference,))


def files_of(scenarios: Iterable[Any]) -> list[Path]:
    """Return the files of scenarios, each once."""
    return list(dict.fromkeys(Path(scenario.path) for scenario in scenarios))
