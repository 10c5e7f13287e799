"""Performs one step and says what came of it: the exchange, and the judge's verdict on it.

How a step is waited for depends on what it is:

    foreground           performed on this thread to its end
    background           begun on its own thread; with `expect` until the answer's head is here, else until
    it is sent join, await          until the background step has ended / meets the expectations
    eventually           performed again, with growing pauses, until the expectations hold or `fail_if` does
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sixhops.harness.errors import InternalError, ScenarioError, TargetError
from sixhops.harness.exchange import Exchange
from sixhops.harness.judge import fails_for_good, judge_step
from sixhops.harness.run.bundle_step import make_bundle
from sixhops.harness.run.content import content
from sixhops.harness.run.context import Background
from sixhops.harness.run.fault_step import do_fault
from sixhops.harness.run.http_steps import registry_call, request_call
from sixhops.harness.run.other_steps import docker_call, see_file, see_processes
from sixhops.harness.run.runc_step import RuncCall, runc_call
from sixhops.harness.scenario.direct import BundleStep, GrpcStep, RuncStep, TtrpcStep
from sixhops.harness.scenario.model import (
    AwaitStep,
    CloseStdinStep,
    DisconnectStep,
    DockerStep,
    FaultStep,
    FileStep,
    Hop,
    JoinStep,
    ProcessesStep,
    RegistryStep,
    RequestStep,
    SendStep,
)
from sixhops.harness.scenario.variables import resolve

if TYPE_CHECKING:
    from sixhops.harness.exchange import HopMessage
    from sixhops.harness.judge import StepVerdict
    from sixhops.harness.run.context import Context
    from sixhops.harness.run.live import Live, Snapshot
    from sixhops.harness.scenario.model import Step

__all__ = ["Performed", "perform"]

#: Seconds that a message which a tap has begun to record gets to end before the step's messages are taken.
_SETTLE = 0.25
#: Seconds between looks at the taps while an `await` waits for a message rather than for bytes of its own.
_LOOK = 0.05
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25

_KINDS: dict[type[Step], str] = {
    RequestStep: "request",
    RegistryStep: "registry",
    DockerStep: "docker",
    ProcessesStep: "processes",
    FileStep: "file",
    JoinStep: "join",
    AwaitStep: "await",
    SendStep: "send",
    CloseStdinStep: "close_stdin",
    DisconnectStep: "disconnect",
    FaultStep: "fault",
    GrpcStep: "grpc",
    TtrpcStep: "ttrpc",
    BundleStep: "bundle",
    RuncStep: "runc",
}


@dataclass(frozen=True, slots=True)
class Performed:
    """One step's outcome."""

    exchange: Exchange
    verdict: StepVerdict


def perform(step: Step, context: Context) -> Performed:
    """Perform `step`, judge it, and put what it saved into the context's scope.

    What the target does wrong is in the exchange (`error`) and the verdict. Raises ScenarioError when the
    step can't be asked for (undefined variable, unknown background step), InternalError when the harness
    contradicts itself.
    """
    performed = _eventually(step, context) if step.eventually is not None else _once(step, context)
    context.scope = performed.verdict.scope
    return performed


def _once(step: Step, context: Context, mark: int | None = None) -> Performed:
    exchange = _exchange(step, context, context.target.recorder.mark() if mark is None else mark)
    return Performed(exchange, judge_step(context.scenario, step, exchange, context.scope))


def _eventually(step: Step, context: Context) -> Performed:
    bound = step.eventually
    if bound is None:
        raise InternalError(f"step {step.index} has no `eventually`")
    deadline = time.monotonic() + bound.timeout
    pause, attempts = _FIRST_PAUSE, 0
    # What the taps saw during an earlier attempt was seen during the step.
    mark = context.target.recorder.mark()
    while True:
        attempts += 1
        left = deadline - time.monotonic()
        performed = _once(replace(step, timeout=max(0.05, min(step.timeout, left))), context, mark)
        performed.exchange.attempts = attempts
        if not performed.verdict.mismatches:
            return performed
        if fails_for_good(step, performed.exchange, context.scope):
            return performed
        left = deadline - time.monotonic()
        if left <= 0:
            return performed
        time.sleep(min(pause, left))
        pause = min(pause * 1.6, _LONGEST_PAUSE)


def _exchange(step: Step, context: Context, mark: int) -> Exchange:
    exchange = Exchange(step.index, step.name, _KINDS[type(step)], time.monotonic(), 0.0)
    exchange.unobserved = {
        str(hop): reason for hop, reason in context.target.facts.hops.items() if reason is not None
    }
    try:
        settle = _perform(step, context, exchange, mark)
    except TargetError as error:
        exchange.error, settle = str(error), 0.0
    exchange.ended = time.monotonic()
    exchange.messages = _messages(step, context, mark, settle)
    return exchange


def _perform(step: Step, context: Context, exchange: Exchange, mark: int) -> float:
    """Fill the exchange; return how long the taps' open messages may take to end."""
    match step:
        case RequestStep() | RegistryStep() | DockerStep() | GrpcStep() | TtrpcStep() | RuncStep():
            live = _call(step, context)
            exchange.sent = live.sent
            if isinstance(live, RuncCall) and live.console is not None:
                _start(replace(step, background=live.console.name), live.console, context, mark)
            if step.background is None:
                live.run()
                _take(exchange, live.snapshot())
                return _SETTLE
            _start(step, live, context, mark)
            wanted = _headed if step.expect else _begun
            _take(exchange, live.wait(wanted, live.deadline))
            return 0.0
        case BundleStep():
            exchange.sent, exchange.facets = make_bundle(step, context)
        case ProcessesStep():
            exchange.sent, exchange.facets = see_processes(step, context)
        case FileStep():
            exchange.sent, exchange.facets = see_file(step, context)
        case JoinStep():
            _join(step, context, exchange)
            return _SETTLE
        case AwaitStep():
            _await(step, context, exchange)
        case SendStep():
            data = content(resolve(step.data, context.scope), step.mark, context.sources)
            exchange.sent = {"length": data.length, "data": data.data[:4096]}
            live = _background(step.target, step, context).live
            for part in data.parts():
                live.send(part)
        case CloseStdinStep():
            _background(step.target, step, context).live.close_stdin()
        case DisconnectStep():
            live = _background(step.target, step, context).live
            live.disconnect()
            _take(exchange, live.snapshot())
        case FaultStep():
            exchange.sent = do_fault(step, context)
        case _:
            raise InternalError(f"no step of kind {type(step).__name__} can be performed")
    return 0.0


def _call(step: Step, context: Context) -> Live:
    """Return what performs the step, which is not begun."""
    match step:
        case RequestStep():
            return request_call(step, context)
        case RegistryStep():
            return registry_call(step, context)
        case DockerStep():
            return docker_call(step, context)
        case GrpcStep():
            from sixhops.harness.run.grpc_step import grpc_call  # noqa: PLC0415 - gRPC takes long to load

            return grpc_call(step, context)
        case TtrpcStep():
            from sixhops.harness.run.ttrpc_step import ttrpc_call  # noqa: PLC0415 - so does protobuf

            return ttrpc_call(step, context)
        case RuncStep():
            return runc_call(step, context)
        case _:
            raise InternalError(f"no step of kind {type(step).__name__} is a call")


def _start(step: Step, live: Live, context: Context, mark: int) -> None:
    name = step.background or ""
    earlier = context.backgrounds.get(name)
    if earlier is not None and not earlier.live.snapshot().done:
        raise ScenarioError(f"the background step {name} still runs", step.mark)
    context.backgrounds[name] = Background(step, live, mark)
    live.start()


def _background(name: str, step: Step, context: Context) -> Background:
    background = context.backgrounds.get(name)
    if background is None:
        known = ", ".join(context.backgrounds) or "none"
        raise ScenarioError(f"no background step {name} has begun (begun: {known})", step.mark)
    return background


def _join(step: JoinStep, context: Context, exchange: Exchange) -> None:
    background = _background(step.target, step, context)
    exchange.sent = dict(background.live.sent)
    snapshot = background.live.wait(_done, time.monotonic() + step.timeout)
    _take(exchange, snapshot)
    if not snapshot.done:
        exchange.error = f"the background step {step.target} has not ended within {step.timeout:g} s"
        return
    background.joined = True
    background.live.join_thread()


def _await(step: AwaitStep, context: Context, exchange: Exchange) -> None:
    background = _background(step.target, step, context)
    exchange.sent = dict(background.live.sent)
    deadline = time.monotonic() + step.timeout
    slice_end = _LOOK if any(expectation.facet in set(Hop) for expectation in step.expect) else step.timeout

    def holds(snapshot: Snapshot) -> bool:
        _take(exchange, snapshot)
        exchange.ended = time.monotonic()
        exchange.messages = context.target.recorder.since(background.mark)
        return not judge_step(context.scenario, step, exchange, context.scope).mismatches

    while True:
        until = min(deadline, time.monotonic() + slice_end)
        snapshot = background.live.wait(holds, until)
        if holds(snapshot):
            return
        if snapshot.done:
            return
        if time.monotonic() >= deadline:
            exchange.error = f"waited {step.timeout:g} s for what is expected of {step.target}"
            return


def _take(exchange: Exchange, snapshot: Snapshot) -> None:
    exchange.facets = snapshot.facets
    exchange.error = snapshot.error
    exchange.complete = snapshot.done


def _messages(step: Step, context: Context, mark: int, settle: float) -> list[HopMessage]:
    if isinstance(step, JoinStep | AwaitStep) and step.target in context.backgrounds:
        mark = context.backgrounds[step.target].mark
    return context.target.recorder.since(mark, settle)


def _begun(snapshot: Snapshot) -> bool:
    return snapshot.begun


def _headed(snapshot: Snapshot) -> bool:
    return snapshot.headed


def _done(snapshot: Snapshot) -> bool:
    return snapshot.done
