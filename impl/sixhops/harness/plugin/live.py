"""Where scenarios run: targets, opened when the first scenario needs them, and every error told by whose
fault it is.

A stack of ours may be needed twice: with all hops tapped for scenarios that look at the inner ones, and without taps
there, as users run it, for the others; and again with an experimental engine for those that require one.

Nothing here knows pytest; `sixhops run` uses the same room. A target that dies while scenarios run fails the
scenario at hand and is opened again for the next one; when that is not possible the rest fail at once, each
with the reason.
"""

# ruff: noqa: PLC0415 - imports wait until they are needed: every pytest run of the environment loads the
# plugin

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sixhops.harness.errors import ScenarioError, SixhopsError, TargetError
from sixhops.harness.plugin.images import build_images
from sixhops.harness.plugin.outcome import Outcome
from sixhops.harness.plugin.profile import rules_of
from sixhops.harness.plugin.results import open_transcript, outcome_data, saved_variables
from sixhops.harness.plugin.verdicts import LogWatch, assess, goes_on
from sixhops.harness.run.requirements import looks_inside
from sixhops.harness.stack.options import StackOptions
from sixhops.harness.stack.programs import is_stack_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.harness.exchange import Exchange
    from sixhops.harness.judge import StepVerdict
    from sixhops.harness.plugin.baseline import Baseline
    from sixhops.harness.plugin.library import Library
    from sixhops.harness.plugin.rules import Rule
    from sixhops.harness.run.result import ScenarioRun
    from sixhops.harness.scenario.model import Scenario, Step
    from sixhops.harness.target import Target

__all__ = ["RealSeams", "Room", "Seams"]


class Seams(Protocol):
    """What a room needs of the rest of the harness; pytest's hooks have the same names (`hookspecs`)."""

    def pytest_sixhops_open_target(self, *, name: str, directory: Path, options: StackOptions) -> Any:
        """Return a running target."""
        ...

    def pytest_sixhops_images(self, *, scenario: Any, root: Path) -> Any:
        """Return the scenario's images, built."""
        ...

    def pytest_sixhops_run(
        self,
        *,
        scenario: Any,
        target: Any,
        images: Any,
        on_begin: Callable[..., None] | None,
        on_step: Callable[..., bool | None] | None,
    ) -> Any:
        """Return the `ScenarioRun`."""
        ...


class RealSeams:
    """What performs a scenario, in pytest (`seams`) and outside."""

    def pytest_sixhops_open_target(self, *, name: str, directory: Path, options: StackOptions) -> Any:
        """Open the target by its name."""
        from sixhops.harness.stack import open_target

        return open_target(name, directory=directory, options=options)

    def pytest_sixhops_images(self, *, scenario: Any, root: Path) -> Any:
        """Build the images from their recipes."""
        return build_images(scenario, root)

    def pytest_sixhops_run(
        self,
        *,
        scenario: Any,
        target: Any,
        images: Any,
        on_begin: Callable[..., None] | None,
        on_step: Callable[..., bool | None] | None,
    ) -> Any:
        """Run the scenario."""
        from sixhops.harness.run.scenario import run_scenario

        return run_scenario(scenario, target, images, on_begin=on_begin, on_step=on_step)


class Room:
    """The targets and the scenarios that run on them, one after the other.

    `results` is the run's folder; `worker` tells the folders of several workers apart; `taps` is auto, all or outer, as
    the option --taps has it; what `baseline` failed at is known.
    """

    def __init__(
        self,
        *,
        name: str,
        results: Path,
        keep_state: bool,
        library: Library,
        seams: Seams,
        worker: str = "main",
        taps: str = "auto",
        baseline: Baseline | None = None,
    ) -> None:
        self.name = name
        self.results = results
        self._keep_state = keep_state
        self._library = library
        self._seams = seams
        self._worker = worker
        self._taps = taps
        self._baseline = baseline
        #: By whether the inner hops are tapped, and whether the engine is experimental.
        self._targets: dict[tuple[bool, bool], Target] = {}
        self._engine = ""
        self._rules: list[Rule] = []
        self._ran = 0
        self._lost = ""
        self._left_behind: list[str] = []

    def perform(
        self, scenario: Scenario, *, name: str = "", on_step: Callable[..., None] | None = None
    ) -> Outcome:
        """Run one scenario and return its outcome; never raises but for an interruption.

        `name` is what the transcript is called when it is not the scenario's id (a repetition).
        """
        started = time.monotonic()
        try:
            target = self._open(scenario)
        except SixhopsError as error:
            # Before anything ran it is the command line that is wrong; later on the target has failed the
            # scenario.
            verdict = "failed" if self._ran else "unreachable"
            self._lost = str(error)
            return self._broken(scenario, started, verdict, "target", str(error))
        except Exception:  # noqa: BLE001 - a mistake of ours must become a verdict that says so
            return self._broken(scenario, started, "failed", "sixhops", traceback.format_exc())
        self._ran += 1
        logs = LogWatch(target)
        writer = open_transcript(self.results, name or scenario.id, scenario, target.facts)

        rules = [rule for rule in self._rules if rule.concerns(scenario.id)]

        def stepped(step: Step, exchange: Exchange, verdict: StepVerdict) -> bool:
            known = goes_on(step, verdict, rules)
            logs(verdict, known=known)
            writer.exchange(exchange, verdict)
            if on_step is not None:
                on_step(step, exchange, verdict)
            return known

        run: ScenarioRun | None = None
        try:
            root = self._library.root_of(Path(scenario.path))
            images = self._seams.pytest_sixhops_images(scenario=scenario, root=root)
            run = self._seams.pytest_sixhops_run(
                scenario=scenario,
                target=target,
                images=images,
                on_begin=lambda scope: writer.begin(saved_variables(scope)),
                on_step=stepped,
            )
            seconds = time.monotonic() - started
            outcome = assess(
                scenario, run, target.facts, self._library.profiles, logs=logs.lines, seconds=seconds
            )
        except ScenarioError as error:
            outcome = self._broken(scenario, started, "failed", "scenario", str(error))
        except SixhopsError as error:
            fault = "target" if isinstance(error, TargetError) else "sixhops"
            outcome = self._broken(scenario, started, "failed", fault, str(error))
        except Exception:  # noqa: BLE001 - as above
            outcome = self._broken(scenario, started, "failed", "sixhops", traceback.format_exc())
        except BaseException:
            # Interrupted: the file says so by having no outcome.
            writer.abandon()
            raise
        outcome = self._still_alive(target, outcome)
        if self._baseline is not None:
            outcome = self._baseline.apply(outcome)
        if run is None and not writer.has_begun:
            return outcome
        try:
            writer.finish(
                outcome_data(outcome, logs.lines),
                run.exchanges if run is not None else (),
                run.late if run is not None else (),
            )
        except OSError as error:
            return outcome.worsened("sixhops", f"the transcript could not be written: {error}")
        return outcome.with_transcript(str(writer.path.relative_to(self.results)))

    def _open(self, scenario: Scenario) -> Target:
        if self._lost:
            raise TargetError(self._lost)
        inner = is_stack_name(self.name) and (
            self._taps == "all" or (self._taps == "auto" and looks_inside(scenario))
        )
        experimental = is_stack_name(self.name) and scenario.requires.experimental
        kind = (inner, experimental)
        if kind not in self._targets:
            worker = f"{self._worker}{'-tapped' * inner}{'-experimental' * experimental}"
            target: Target = self._seams.pytest_sixhops_open_target(
                name=self.name,
                directory=self.results / "logs" / worker,
                options=StackOptions(
                    keep_state=self._keep_state, inner_taps=inner, experimental=experimental
                ),
            )
            self._targets[kind] = target
            self._engine = target.facts.engine_version
            self._rules = rules_of(self._library.profiles, target.facts)
        return self._targets[kind]

    def _still_alive(self, target: Target, outcome: Outcome) -> Outcome:
        if outcome.verdict == "known" and any(known.crash for known in outcome.known):
            # It may still be dying; the next scenario gets another one.
            self._close_target(target)
            return outcome
        try:
            target.check_alive()
        except TargetError as error:
            self._close_target(target)
            return outcome.worsened("target", str(error))
        return outcome

    def _broken(self, scenario: Scenario, started: float, verdict: str, fault: str, message: str) -> Outcome:
        lines = message.strip().splitlines()
        family = {"target": "the target", "scenario": "the scenario", "sixhops": "sixhops itself"}[fault]
        brief = lines[-1] if fault == "sixhops" else lines[0]
        return Outcome(
            id=scenario.id,
            path=f"{scenario.mark.path}:{scenario.mark.line}",
            title=scenario.title,
            hop=scenario.hop,
            verdict=verdict,
            seconds=time.monotonic() - started,
            target=self.name,
            engine=self._engine,
            fault=fault,
            brief=brief if verdict == "unreachable" else f"{family} is wrong: {brief}",
            text=f"{scenario.id}: {scenario.title}\n{family} is wrong, not everything could be judged:\n"
            + "\n".join(f"    {line}" for line in lines),
        )

    def _close_target(self, target: Target) -> None:
        self._targets = {kind: other for kind, other in self._targets.items() if other is not target}
        self._left_behind.extend(target.close())

    @property
    def rules(self) -> list[str]:
        """The places of the rules that the target's profiles have, once it is open."""
        return [str(rule.mark) for rule in self._rules]

    def close(self) -> list[str]:
        """Stop the targets; return a sentence for all that they left behind, or for a failure to stop."""
        problems = []
        for target in list(self._targets.values()):
            try:
                self._close_target(target)
            except SixhopsError as error:
                problems.append(f"the target did not stop: {error}")
        return problems + [f"the target left behind: {item}" for item in self._left_behind]
