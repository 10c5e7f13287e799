"""What a scenario requires of the target; the first thing that is missing is the reason why it is skipped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from sixhops.harness.run.direct import direct_kinds, find_machine
from sixhops.harness.run.fault_step import fault_control, has_faults
from sixhops.harness.scenario.model import DockerStep, Hop, RequestStep, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.harness.scenario.model import FaultRule, Scenario, Value
    from sixhops.harness.target import Target

__all__ = ["FaultSetter", "fault_setter", "looks_inside", "missing_requirement", "starts_container"]

#: The hops that are seen only where a tap stands between the programs of a stack of ours.
_INNER = frozenset({Hop.CONTAINERD, Hop.SHIM, Hop.RUNTIME})

#: What starts a container: the end of a request's path, and a word of docker's command line.
_STARTERS = frozenset({"run", "start", "restart"})

FaultSetter: TypeAlias = "Callable[[Sequence[FaultRule]], None]"


def missing_requirement(scenario: Scenario, target: Target) -> str | None:
    """Return why the scenario can't be run on the target, or None when it can."""
    facts, requires = target.facts, scenario.requires
    low, high = requires.api.low, requires.api.high
    if low is not None and low > facts.api_maximum:
        return f"needs API {_dotted(low)} or newer, and the engine has up to {_dotted(facts.api_maximum)}"
    if high is not None and high < facts.api_minimum:
        return f"needs API {_dotted(high)} or older, and the engine has {_dotted(facts.api_minimum)} or newer"
    if requires.root and not facts.root:
        return "needs an engine that runs as root"
    if requires.experimental and not facts.experimental:
        return "needs an engine with experimental features"
    if requires.cgroup is not None and requires.cgroup != facts.cgroup_version:
        return f"needs cgroup v{requires.cgroup}, and the host has v{facts.cgroup_version}"
    for hop in sorted(requires.hops):
        reason = facts.hops.get(hop, "the target does not say that it can be observed")
        if reason is not None:
            return f"needs the {hop} hop: {reason}"
    for program in sorted(requires.programs):
        if program == "docker" and not target.docker_argv():
            return "needs a docker client, and the target has none"
        if program == "criu":
            machine = find_machine(target)
            problem = "sixhops did not start this engine" if machine is None else machine.criu_problem()
            if problem:
                return f"needs criu, and {problem}"
        elif program != "docker" and program not in facts.programs:
            return f"needs {program}, and the target has none"
    if scenario.registry_faults and fault_setter(target) is None:
        return "needs faults at the registry, and there is no tap of ours in front of it"
    if has_faults(scenario) and fault_control(target) is None:
        return "needs programs that it may kill, and the target's were not started by sixhops"
    kinds = direct_kinds(scenario)
    if kinds and find_machine(target) is None:
        return f"needs the machine of a stack, for {' and '.join(kinds)} steps, and sixhops did not start this engine"
    return None


def looks_inside(scenario: Scenario) -> bool:
    """Say whether something is expected of a message on the containerd, shim or runtime hop."""
    steps = (*scenario.steps, *scenario.cleanup)
    expected = [item for step in steps for item in step.expect]
    expected += [item for step in steps if step.eventually is not None for item in step.eventually.fail_if]
    saved = [
        save.source.lstrip("$").partition(".")[0].partition("[")[0] for step in steps for save in step.save
    ]
    looked_at = {item.facet for item in expected} | set(saved)
    return bool(_INNER & (looked_at | set(scenario.requires.hops)))


def starts_container(scenario: Scenario) -> bool:
    """Say whether a step asks the engine, itself or through docker, to start a container.

    As far as can be told before a run: of a command line or path that a row's variable holds, what the row says.
    """
    for step in scenario.steps:
        if isinstance(step, RequestStep) and step.method == "POST":
            path = _words(step.path, scenario)[-1:]
            if path and path[0].partition("?")[0].rpartition("/")[2] in _STARTERS:
                return True
        if isinstance(step, DockerStep) and any(
            word in _STARTERS for argument in step.argv for word in _words(argument, scenario)
        ):
            return True
    return False


def _words(value: Value, scenario: Scenario) -> list[str]:
    whole = re.fullmatch(r"\$\{row\.(\w+)\}", value.text) if isinstance(value, Template) else None
    meant = scenario.row.get(whole[1]) if whole else value
    parts = meant if isinstance(meant, list) else [meant]
    return [word for part in parts for word in str(part.text if isinstance(part, Template) else part).split()]


def fault_setter(target: Target) -> FaultSetter | None:
    """Return what takes fault rules for the target's registry, None with no tap of ours in front of it."""
    return None if target.registry is None else target.registry.set_faults


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
