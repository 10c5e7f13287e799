"""The judge. Rules:

1. All expectations of a step are compared, and all that does not hold is reported.
2. An exchange with an error fails its step, with or without expectations, unless `error` itself is expected.
3. What could not be observed is skipped with its reason, never passed; what should be there and is not is a
   failure.
4. A step that was not performed, or still runs at the end, is a failure of the scenario, unless an earlier
   step failed.
5. A status only gets worse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.errors import ScenarioError
from sixhops.harness.judge.verdict import Failure, Status, StepVerdict, Verdict
from sixhops.harness.match import MISSING, Messages, Mismatch, match, message_fields
from sixhops.harness.scenario.direct import BundleStep, GrpcStep, RuncStep, TtrpcStep
from sixhops.harness.scenario.model import (
    AwaitStep,
    DockerStep,
    FileStep,
    Hop,
    JoinStep,
    Matcher,
    ProcessesStep,
    RegistryStep,
)
from sixhops.harness.scenario.paths import PathMissingError, format_path, look_up, parse_source
from sixhops.harness.scenario.variables import UndefinedVariable, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.harness.exchange import Exchange, Facet
    from sixhops.harness.scenario.model import Expectation, Save, Scenario, Step
    from sixhops.harness.scenario.variables import Scope

__all__ = ["fails_for_good", "judge", "judge_step"]

_HOPS: Final = frozenset(hop.value for hop in Hop)


def judge_step(scenario: Scenario, step: Step, exchange: Exchange, scope: Scope) -> StepVerdict:
    """Return how `step` came out, given what was seen and the variables before it.

    Raises UndefinedVariable or ScenarioError when an expectation uses a variable in a way that can't be:
    the scenario is wrong then, not the target. `scenario` is what the step belongs to.
    """
    if all(own is not step and own.index != step.index for own in (*scenario.steps, *scenario.cleanup)):
        raise ScenarioError(f"step {step.index + 1} is no step of {scenario.id}", step.mark)
    failures: list[Failure] = []
    skipped: dict[str, str] = {}
    checked = 0
    awaits_error = any(expectation.facet == "error" for expectation in step.expect)
    if exchange.error is not None and not awaits_error:
        failures.append(
            _failure(scenario, step, "", step.mark, Mismatch("", exchange.error, MISSING, MISSING))
        )
    for expectation in step.expect:
        reason = exchange.unobserved.get(expectation.facet)
        if reason is not None:
            skipped[expectation.facet] = reason
            continue
        checked += 1
        wrong = _compare(expectation, exchange, scope)
        failures.extend(
            _failure(scenario, step, expectation.facet, expectation.mark, mismatch) for mismatch in wrong
        )
    saved: dict[str, Facet] = {}
    for save in step.save:
        missing = _save(save, exchange, saved)
        if missing is not None and (exchange.error is None or awaits_error):
            failures.append(_failure(scenario, step, missing[0], save.mark, missing[1]))
    if failures and step.eventually is not None:
        failures[0] = _with_waiting(failures[0], step, exchange, scope)
    status = Status.FAILED if failures else Status.SKIPPED if skipped and not checked else Status.PASSED
    return StepVerdict(step.index, status, tuple(failures), skipped, saved, scope.with_saved(saved), checked)


def fails_for_good(step: Step, exchange: Exchange, scope: Scope) -> bool:
    """Return whether the step's `fail_if` holds, so that repeating it is futile. All of its parts must hold,
    all observed.
    """
    if step.eventually is None or not step.eventually.fail_if:
        return False
    return all(
        expectation.facet not in exchange.unobserved and not _compare(expectation, exchange, scope)
        for expectation in step.eventually.fail_if
    )


def judge(scenario: Scenario, exchanges: Sequence[Exchange], scope: Scope) -> Verdict:
    """Return how a scenario came out from all that was seen, in whatever order the steps ended.

    `scope` is the one that the scenario starts with (`make_scope`). Raises ScenarioError as `judge_step`
    does, and for an exchange that belongs to no step.
    """
    steps = (*scenario.steps, *scenario.cleanup)
    by_index = {exchange.step: exchange for exchange in exchanges}
    strangers = by_index.keys() - {step.index for step in steps}
    if strangers:
        raise ScenarioError(
            f"the transcript has step {min(strangers) + 1}, and {scenario.id} has not", scenario.mark
        )
    verdicts: list[StepVerdict] = []
    status = Status.PASSED
    for step in steps:
        exchange = by_index.get(step.index)
        if exchange is None:
            if status is Status.FAILED or (
                step.is_cleanup and verdicts and verdicts[-1].status is Status.FAILED
            ):
                continue
            verdict = _not_performed(scenario, step, scope)
        else:
            try:
                verdict = judge_step(scenario, step, exchange, scope)
            except UndefinedVariable:
                # After a failure, what it would have saved is missing; that is no news.
                if status is not Status.FAILED:
                    raise
                continue
        scope = verdict.scope
        verdicts.append(verdict)
        status = status.worse(verdict.status if verdict.status is Status.FAILED else Status.PASSED)
    if (
        verdicts
        and status is not Status.FAILED
        and not any(v.checked for v in verdicts)
        and any(v.skipped for v in verdicts)
    ):
        status = Status.SKIPPED
    return Verdict(status, tuple(verdicts))


def _compare(expectation: Expectation, exchange: Exchange, scope: Scope) -> list[Mismatch]:
    facet = expectation.facet
    expected = resolve(expectation.value, scope)
    if facet == "error":
        return match(expected, MISSING if exchange.error is None else exchange.error, "error")
    if facet in _HOPS and facet not in exchange.facets:
        messages = tuple(message for message in exchange.messages if message.hop == facet)
        return match(expected, Messages(messages), facet)
    if facet == "headers":
        expected = _lower(expected)
    if facet in exchange.facets:
        return match(expected, exchange.facets[facet], _base(facet))
    wrong = match(expected, MISSING, _base(facet))
    note = f"what the step did see: {', '.join(sorted(exchange.facets)) or 'nothing'}"
    return [
        Mismatch(w.path, f"was not seen: there is no {facet}", w.expected, w.seen, (*w.notes, note))
        for w in wrong
    ]


def _base(facet: str) -> str:
    return "$" if facet == "json" else facet


def _save(save: Save, exchange: Exchange, saved: dict[str, Facet]) -> tuple[str, Mismatch] | None:
    facet, segments = parse_source(save.source)
    if facet == "headers":
        segments = tuple(part.lower() if isinstance(part, str) else part for part in segments)
    place = format_path(_base(facet), segments)

    def missing(problem: str, seen: Any) -> tuple[str, Mismatch]:
        return facet, Mismatch(place, f"{problem}, so {save.name} can't be saved", MISSING, seen)

    if facet in exchange.facets:
        root: Any = exchange.facets[facet]
    elif facet in _HOPS:
        root = [message_fields(message) for message in exchange.messages if message.hop == facet]
    else:
        seen = ", ".join(sorted(exchange.facets)) or "nothing"
        return missing(f"was not seen: there is no {facet}; what the step did see: {seen}", MISSING)
    try:
        value = look_up(root, segments, base=_base(facet))
    except PathMissingError as error:
        return missing(str(error), root)
    if save.pattern is not None:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        found = re.search(save.pattern, value) if isinstance(value, str) else None
        if found is None:
            return missing(f"does not match {save.pattern!r}", value)
        value = found[1] if found.re.groups else found[0]
    saved[save.name] = value
    return None


def _failure(scenario: Scenario, step: Step, facet: str, mark: Any, mismatch: Mismatch) -> Failure:
    expected = mismatch.expected
    return Failure(
        step=step.index,
        step_name=step.name,
        hop=_hop(_acting(scenario, step), facet),
        facet=facet,
        path=mismatch.path,
        problem=mismatch.problem,
        expected=expected,
        seen=mismatch.seen,
        # A matcher knows its own place, which is nearer than that of the facet.
        mark=expected.mark if isinstance(expected, Matcher) and expected.mark.path == mark.path else mark,
        notes=mismatch.notes,
    )


def _acting(scenario: Scenario, step: Step) -> Step:
    """Return the step whose facets a step looks at: itself, or the background step that it waits for."""
    if not isinstance(step, JoinStep | AwaitStep):
        return step
    for other in (*scenario.steps, *scenario.cleanup):
        console = other.console if isinstance(other, RuncStep) else None
        if step.target in (other.background, console):
            return other
    return step


def _hop(step: Step, facet: str) -> str:
    if facet in _HOPS:
        return facet
    if isinstance(step, RegistryStep):
        return Hop.REGISTRY
    if isinstance(step, ProcessesStep | FileStep):
        return Hop.PROCESS
    if isinstance(step, GrpcStep):
        return Hop.CONTAINERD
    if isinstance(step, TtrpcStep):
        return Hop.SHIM
    if isinstance(step, RuncStep | BundleStep):
        return Hop.RUNTIME
    return "docker" if isinstance(step, DockerStep) else Hop.ENGINE


def _with_waiting(failure: Failure, step: Step, exchange: Exchange, scope: Scope) -> Failure:
    bound = step.eventually.timeout if step.eventually else 0.0
    if fails_for_good(step, exchange, scope):
        note = f"waiting was ended after {exchange.attempts} attempts, because `fail_if` holds"
    else:
        note = (
            f"it did not come to hold within {bound:g} s ({exchange.attempts} attempts); this is the last one"
        )
    parts = {name: getattr(failure, name) for name in Failure.__slots__}
    return Failure(**{**parts, "notes": (*failure.notes, note)})


def _not_performed(scenario: Scenario, step: Step, scope: Scope) -> StepVerdict:
    failure = _failure(
        scenario, step, "", step.mark, Mismatch("", "the step was not performed", MISSING, MISSING)
    )
    return StepVerdict(step.index, Status.FAILED, (failure,), {}, {}, scope)


def _lower(value: Any) -> Any:
    """Return an expectation on headers with its names in lower case, inside matchers too."""
    if isinstance(value, dict):
        return {key.lower(): item for key, item in value.items()}
    if isinstance(value, Matcher):
        argument = (
            [_lower(item) for item in value.argument]
            if isinstance(value.argument, list)
            else _lower(value.argument)
        )
        return Matcher(value.name, argument, value.mark)
    return value
