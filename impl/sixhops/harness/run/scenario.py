"""Runs one scenario on one target, from the check of what it requires to the check of what it leaves.

The order is fixed: requirements, images, steps until the first that fails, clean-up steps (always),
background steps that nobody ended, removal of what was made (always), the look at what is left. Judging
happens step by step because the next step needs what this one saved; the verdict that counts is then the
judge's over all exchanges, the same call that judges a saved transcript.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import TargetError
from sixhops.harness.judge import Status, Verdict, judge
from sixhops.harness.run.api import Api
from sixhops.harness.run.content import content
from sixhops.harness.run.context import Context
from sixhops.harness.run.direct import DirectResidue
from sixhops.harness.run.fault_step import fault_control, has_faults
from sixhops.harness.run.made import ImageTable, image_table, made_by, remove
from sixhops.harness.run.prepare import prepare_images
from sixhops.harness.run.requirements import fault_setter, missing_requirement
from sixhops.harness.run.result import ScenarioRun
from sixhops.harness.run.steps import perform
from sixhops.harness.scenario.model import AwaitStep, CloseStdinStep, DisconnectStep, JoinStep, SendStep
from sixhops.harness.scenario.variables import UndefinedVariable, make_scope, resolve
from sixhops.harness.stack.leftovers import Residue, settled_difference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sixhops.harness.exchange import Exchange, HopMessage
    from sixhops.harness.images import BuiltImage
    from sixhops.harness.judge import StepVerdict
    from sixhops.harness.scenario.model import FaultRule, Scenario, Step
    from sixhops.harness.scenario.variables import Scope
    from sixhops.harness.target import Target

__all__ = ["run_scenario"]

#: Seconds that a background step which nobody joined gets to end by itself, since the end of an answer may
#: be on its way.
_LAST_CHANCE = 0.5

#: Seconds to wait, after a step that broke off, for the news that a program of the target has died: its sockets
#: close before its parent hears of its end.
_NEWS_OF_DEATH = 1.0

_ON_BACKGROUND = (JoinStep, AwaitStep, SendStep, CloseStdinStep, DisconnectStep)


def run_scenario(
    scenario: Scenario,
    target: Target,
    images: Mapping[str, BuiltImage],
    *,
    on_begin: Callable[[Scope], None] | None = None,
    on_step: Callable[[Step, Exchange, StepVerdict], bool | None] | None = None,
    keep: bool = False,
) -> ScenarioRun:
    """Run `scenario` on `target` and clean up behind it.

    `images`: the built images by recipe name. `on_begin` is called with the scope before the first step, `on_step`
    after each step with the step, its exchange and its verdict; when it returns true for a step that failed, the steps
    behind it are performed all the same, until one needs what is missing. `keep` leaves everything in place for a
    person to look at; what was made is then not reported as left over. Raises ScenarioError when the scenario is
    wrong (after clean-up), TargetError when images can't be brought into place.
    """
    started = time.monotonic()
    reason = missing_requirement(scenario, target) or prepare_images(scenario, target, images)
    if reason is not None:
        verdict = Verdict(Status.SKIPPED)
        return ScenarioRun([], verdict, skipped=reason, duration=time.monotonic() - started)
    with tempfile.TemporaryDirectory(prefix="sixhops-") as scratch:
        scope = make_scope(
            scenario, {name: built.variables() for name, built in images.items()}, target.facts.variables
        )
        if on_begin is not None:
            on_begin(scope)
        context = Context(scenario, target, scope, Path(scratch), images=images)
        run = _Run(context, images, on_step, keep=keep)
        return replace(run.whole(), scope=scope, duration=time.monotonic() - started)


class _Run:
    """The state of one run; `whole` is called once."""

    def __init__(
        self,
        context: Context,
        images: Mapping[str, BuiltImage],
        on_step: Callable[[Step, Exchange, StepVerdict], bool | None] | None,
        *,
        keep: bool,
    ) -> None:
        self._context = context
        self._scenario = context.scenario
        self._target = context.target
        self._images = images
        self._on_step = on_step
        self._keep = keep
        self._engine = Api(context.target.engine, "docker")
        self._exchanges: list[Exchange] = []
        self._leftovers: list[str] = []
        self._failed = False
        # A step has failed, and the scenario goes on all the same.
        self._differs = False

    def whole(self) -> ScenarioRun:
        first_scope = self._context.scope
        marks, recorded = self._target.log_marks(), self._target.recorder.mark()
        self._target.recorder.forget(recorded)
        images = image_table(self._engine)
        residue = Residue.take(self._target)
        self._direct = DirectResidue(self._context)
        self._set_faults(resolved=True)
        try:
            self._steps(self._scenario.steps)
            self._steps(self._scenario.cleanup)
            self._end_backgrounds(report=not self._failed)
        finally:
            self._end_backgrounds(report=False)
            self._set_faults(resolved=False)
            self._mend()
            messages = self._target.recorder.since(recorded)
            if not self._keep:
                self._clean_up(images, residue, messages)
        verdict = judge(self._scenario, self._exchanges, first_scope)
        failed = verdict.status is Status.FAILED or bool(self._leftovers)
        seen = {message.sequence: message for exchange in self._exchanges for message in exchange.messages}
        return ScenarioRun(
            exchanges=self._exchanges,
            verdict=verdict,
            leftovers=self._leftovers,
            target_error=self._death() if failed else None,
            late=[message for message in messages if seen.get(message.sequence) != message],
            logs=self._target.log_since(marks) if failed else {},
        )

    def _steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if (
                self._failed
                and isinstance(step, _ON_BACKGROUND)
                and step.target not in self._context.backgrounds
            ):
                # A clean-up step for a background step that was never reached.
                continue
            try:
                performed = perform(step, self._context)
            except UndefinedVariable:
                # A step may name what one would have saved that was never reached, or that failed.
                if not self._failed and not self._differs:
                    raise
                self._failed = True
                if not step.is_cleanup:
                    return
                continue
            self._exchanges.append(performed.exchange)
            on_step = self._on_step
            goes_on = on_step is not None and on_step(step, performed.exchange, performed.verdict)
            if performed.verdict.mismatches and goes_on:
                self._differs = True
            elif performed.verdict.mismatches:
                self._failed = True
                if not step.is_cleanup:
                    return

    def _end_backgrounds(self, *, report: bool) -> None:
        """Cut what still runs; with `report`, make its step's exchange say so, which fails the step."""
        for name, background in self._context.backgrounds.items():
            live = background.live
            chance = time.monotonic() + (_LAST_CHANCE if report else 0.0)
            try:
                unfinished = not live.wait(lambda snapshot: snapshot.done, chance).done
            finally:
                live.disconnect()
            if unfinished and report:
                self._failed = True
                for exchange in self._exchanges:
                    if exchange.step == background.step.index:
                        exchange.error = (
                            f"unfinished: the background step {name} still ran when all steps were over, "
                            "so it was cut; join it or disconnect it"
                        )

    def _mend(self) -> None:
        control = fault_control(self._target)
        if control is None or not has_faults(self._scenario):
            return
        try:
            control.mend()
        except TargetError as error:
            self._leftovers.append(f"the stack could not be mended: {error}")

    def _set_faults(self, *, resolved: bool) -> None:
        setter = fault_setter(self._target)
        if not self._scenario.registry_faults or setter is None:
            return
        rules = self._scenario.registry_faults if resolved else ()
        setter([self._resolved(rule) for rule in rules])

    def _resolved(self, rule: FaultRule) -> FaultRule:
        scope = self._context.scope
        body: Any = None
        if rule.body is not None:
            body = content(resolve(rule.body, scope), rule.mark, self._context.sources).all()
        given = {
            name: resolve(getattr(rule, name), scope) for name in ("path", "headers", "digest", "instead")
        }
        return replace(rule, body=body, **given)

    def _clean_up(self, before: ImageTable, residue: Residue, messages: Sequence[HopMessage]) -> None:
        own = [built.image_id for built in self._images.values()]
        try:
            self._leftovers += self._direct.remove()
            made = made_by(self._exchanges, messages)
            self._leftovers += remove(made, before, own, self._engine)
            self._leftovers += settled_difference(residue, self._target)
        except TargetError as error:
            self._leftovers.append(f"clean-up failed: {error}")

    def _death(self) -> str | None:
        broke_off = any(exchange.error is not None for exchange in self._exchanges)
        deadline = time.monotonic() + (_NEWS_OF_DEATH if broke_off else 0.0)
        while True:
            try:
                self._target.check_alive()
            except TargetError as error:
                return str(error)
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)
