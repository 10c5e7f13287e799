"""What a scenario requires of the target; the first thing that is missing is the reason why it is skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sixhops.harness.scenario.model import Scenario
    from sixhops.harness.target import Target

__all__ = ["missing_requirement"]


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
    if requires.cgroup is not None and requires.cgroup != facts.cgroup_version:
        return f"needs cgroup v{requires.cgroup}, and the host has v{facts.cgroup_version}"
    for hop in sorted(requires.hops):
        reason = facts.hops.get(hop, "the target does not say that it can be observed")
        if reason is not None:
            return f"needs the {hop} hop: {reason}"
    for program in sorted(requires.programs):
        if program == "docker" and not target.docker_argv():
            return "needs a docker client, and the target has none"
        if program != "docker" and program not in facts.programs:
            return f"needs {program}, and the target has none"
    if scenario.registry_faults and (target.registry is None or target.registry.set_faults is None):
        return "needs faults at the registry, and there is no tap of ours in front of it"
    return None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
