"""`fault` steps: harm done to the programs of a stack of ours, and the look whether that is possible here."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from sixhops.harness.errors import ScenarioError, TargetError
from sixhops.harness.scenario.model import FaultStep
from sixhops.harness.scenario.variables import resolve

if TYPE_CHECKING:
    from sixhops.harness.exchange import Facet
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.model import Scenario
    from sixhops.harness.target import FaultControl, Target

__all__ = ["do_fault", "fault_control", "has_faults"]


def has_faults(scenario: Scenario) -> bool:
    """Say whether a scenario has `fault` steps."""
    return any(isinstance(step, FaultStep) for step in (*scenario.steps, *scenario.cleanup))


def fault_control(target: Target) -> FaultControl | None:
    """Return what does harm to the target's programs; None where they are not ours to harm."""
    control: FaultControl | None = getattr(target, "faults", None)
    return control


def do_fault(step: FaultStep, context: Context) -> dict[str, Facet]:
    """Do what the step says, and return that. Raises TargetError when it can't be done in the step's time."""
    control = fault_control(context.target)
    if control is None:
        raise TargetError(f"the programs of {context.target.facts.name} are not ours to harm")
    container = resolve(step.of, context.scope)
    if container is not None and not isinstance(container, str):
        raise ScenarioError(f"`of` must be a container's id, not {container!r}", step.mark)
    match step.action:
        case "kill":
            control.kill(step.victim, container, signal.Signals[f"SIG{step.signal}"], step.timeout)
        case "stop":
            control.stop(step.victim, container, step.timeout)
        case "continue":
            control.resume(step.victim, container)
        case "restart":
            control.restart(step.victim, step.timeout)
        case "fill":
            control.fill(step.victim)
        case "drain":
            control.drain(step.victim)
    return {"action": step.action, "victim": step.victim, "of": container, "signal": step.signal}
