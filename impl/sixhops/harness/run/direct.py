"""What steps share that speak on the inner hops directly: the stack's machine, and the scenario's place on it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError
from sixhops.harness.scenario.direct import BundleStep, GrpcStep, RuncStep, TtrpcStep

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.harness.run.containerd_objects import Objects
    from sixhops.harness.run.context import Context
    from sixhops.harness.scenario.model import Scenario
    from sixhops.harness.target import Machine, Target

__all__ = ["DirectResidue", "direct_kinds", "find_machine", "machine_of", "workspace"]

_NAMES = {GrpcStep: "grpc", TtrpcStep: "ttrpc", BundleStep: "bundle", RuncStep: "runc"}


def direct_kinds(scenario: Scenario) -> list[str]:
    """Return the kinds of steps in a scenario that need the stack's machine."""
    steps = (*scenario.steps, *scenario.cleanup)
    return sorted({name for step in steps for kind, name in _NAMES.items() if isinstance(step, kind)})


def find_machine(target: Target) -> Machine | None:
    """Return the machine of a stack of ours; None for an engine that we did not start."""
    machine: Machine | None = getattr(target, "machine", None)
    return machine


def machine_of(context: Context) -> Machine:
    """Return the target's machine. Raises TargetError when it has none for us."""
    machine = find_machine(context.target)
    if machine is None:
        raise TargetError(
            f"the programs behind {context.target.facts.name} can't be spoken to directly from here"
        )
    return machine


def workspace(context: Context) -> Path:
    """Return the scenario's own directory on the machine, made when it is first asked for."""
    scenario = context.scope.values["scenario"]
    assert isinstance(scenario, dict)
    place = machine_of(context).directory / str(scenario["unique"])
    place.mkdir(mode=0o711, parents=True, exist_ok=True)
    return place


class DirectResidue:
    """What there was before the first step, for the look at what steps have left that speak on the inner hops.

    Made before the first step; `remove` is called once, when all is over.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kinds = direct_kinds(context.scenario)
        self._before: Objects | None = None
        if "grpc" in self._kinds:
            from sixhops.harness.run.containerd_objects import ContainerdClient  # noqa: PLC0415 - loads gRPC

            with ContainerdClient(machine_of(context).containerd) as client:
                self._before = client.objects()

    def remove(self) -> list[str]:
        """Remove the scenario's runtime containers, its objects in containerd and its directory on the machine.

        Returns a line for each container or object that was still there: the scenario should have removed it. Raises
        TargetError when containerd does not answer.
        """
        left: list[str] = []
        if not self._kinds:
            return left
        machine, place = machine_of(self._context), workspace(self._context)
        if "runc" in self._kinds:
            from sixhops.harness.run.runc_step import delete_containers  # noqa: PLC0415 - it imports this module

            left += delete_containers(machine, place)
        if self._before is not None:
            from sixhops.harness.run.containerd_objects import (  # noqa: PLC0415 - as above
                ContainerdClient,
                remove_objects,
            )

            with ContainerdClient(machine.containerd) as client:
                left += remove_objects(self._before, client)
        try:
            shutil.rmtree(place)
        except OSError as error:
            left.append(f"file: {error.filename} ({error.strerror})")
        return left
