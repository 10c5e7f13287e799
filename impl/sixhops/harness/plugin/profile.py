"""Engine profiles: what is known to be different on an engine, with the reason, so that it is not news in
every run.

A profile is strict in both directions: a difference that it does not name fails, and one that it names and
that no longer occurs fails too, so the list stays true. docs/engine-profiles.md is the manual.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import TYPE_CHECKING

from sixhops.harness.documents import Node, concerns, finder, nearest, read_document
from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.plugin.rules import Rule, read_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sixhops.harness.scenario.model import Scenario, Step
    from sixhops.harness.target import TargetFacts

__all__ = ["Difference", "Profile", "check_profiles", "differences_for", "load_profiles", "rules_of"]

_ROLES = ("docker", "dockerd", "registry", "containerd", "shim", "runc")
_DIFFERENCE_KEYS = ("scenario", "step", "facet", "leaves", "crash", "sometimes", "reason", "ref")


@dataclass(frozen=True, slots=True)
class Difference:
    """One known difference: in the scenarios and steps that the globs match, these facets (globs too) may
    not be as expected.

    `step` matches a step's name or its number, counted from 1 over steps and then cleanup. `leaves` are globs for what stays
    behind. `crash`: a program of the target dies of it. `sometimes`: it need not occur.
    """

    scenario: str
    step: str
    facets: tuple[str, ...]
    reason: str
    ref: str
    mark: Mark
    leaves: tuple[str, ...] = ()
    sometimes: bool = False
    crash: bool = False

    def concerns(self, scenario_id: str) -> bool:
        """Return whether it is about this scenario; an id with a row's brackets is itself and not a glob."""
        return concerns(self.scenario, scenario_id)

    def covers(self, step: Step, facet: str) -> bool:
        """Return whether a mismatch of this facet in this step is the known one."""
        return self.covers_step(step) and any(fnmatchcase(facet, glob) for glob in self.facets)

    def covers_step(self, step: Step) -> bool:
        """Return whether the difference may show in this step."""
        return fnmatchcase(step.name, self.step) or self.step == str(step.index + 1)


@dataclass(frozen=True, slots=True)
class Profile:
    """The differences of an engine. `engines` are versions or globs, `stack` who must have made which role.

    `differences` must occur in each scenario that they name, `rules` in some of those that they mean.
    """

    engines: tuple[str, ...]
    differences: tuple[Difference, ...]
    mark: Mark
    stack: dict[str, str] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def applies(self, facts: TargetFacts) -> bool:
        """Return whether a target is meant: `20.10` is also `20.10.24+dfsg1`, `*` is any version."""
        version = facts.engine_version
        fits = any(
            version == engine or version.startswith(f"{engine}.") or fnmatchcase(version, engine)
            for engine in self.engines
        )
        return fits and all(facts.programs.get(role) == maker for role, maker in self.stack.items())


def load_profiles(folder: Path) -> tuple[list[Profile], list[ScenarioError]]:
    """Read every `*.yaml` in `folder`; return the profiles and all errors, each with its place."""
    profiles: list[Profile] = []
    errors: list[ScenarioError] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            profiles.append(_profile(read_document(path)))
        except ScenarioError as error:
            errors.append(error)
    return profiles, errors


def _profile(document: Node) -> Profile:
    fields = document.mapping(("engine", "stack", "rules", "differences"), what="an engine profile")
    if "engine" not in fields:
        raise ScenarioError("an engine profile needs 'engine', a version such as \"20.10\"", document.mark)
    stack = {}
    if "stack" in fields:
        for role, node in fields["stack"].mapping(_ROLES, what="stack").items():
            maker = node.filled_text(role)
            if maker not in ("upstream", "reference"):
                raise ScenarioError(f"{role} must be upstream or reference, not {maker!r}", node.mark)
            stack[role] = maker
    entries = fields["differences"].items(what="differences") if "differences" in fields else []
    differences = tuple(difference for entry in entries for difference in _differences(entry))
    rules = tuple(map(read_rule, fields["rules"].items(what="rules"))) if "rules" in fields else ()
    return Profile(tuple(_texts(fields["engine"], "engine")), differences, document.mark, stack, rules)


def _texts(node: Node, what: str) -> list[str]:
    """Return a text, or a list of them, as a list."""
    if isinstance(node.value, list) and node.value:
        return [item.filled_text(what) for item in node.items(what=what)]
    return [node.filled_text(what)]


def _differences(node: Node) -> list[Difference]:
    """Return the differences that an entry stands for: one for each scenario that it names."""
    fields = node.mapping(_DIFFERENCE_KEYS, what="a known difference")
    for key in ("scenario", "reason"):
        if key not in fields:
            raise ScenarioError(f"a known difference needs {key!r}", node.mark)
    return [
        Difference(
            scenario=scenario,
            step=_step_pattern(fields["step"]) if "step" in fields else "*",
            facets=tuple(_texts(fields["facet"], "facet")) if "facet" in fields else ("*",),
            reason=fields["reason"].filled_text("reason"),
            ref=fields["ref"].filled_text("ref") if "ref" in fields else "",
            mark=node.mark,
            leaves=tuple(_texts(fields["leaves"], "leaves")) if "leaves" in fields else (),
            sometimes=fields["sometimes"].flag() if "sometimes" in fields else False,
            crash=fields["crash"].flag() if "crash" in fields else False,
        )
        for scenario in _texts(fields["scenario"], "scenario")
    ]


def _step_pattern(node: Node) -> str:
    return str(node.number(what="step")) if isinstance(node.value, int) else node.filled_text("step")


def differences_for(profiles: Iterable[Profile], facts: TargetFacts, scenario_id: str) -> list[Difference]:
    """Return the known differences of this target in this scenario, from every profile that applies."""
    return [
        difference
        for profile in profiles
        if profile.applies(facts)
        for difference in profile.differences
        if difference.concerns(scenario_id)
    ]


def rules_of(profiles: Iterable[Profile], facts: TargetFacts) -> list[Rule]:
    """Return the rules of this target, from every profile that applies."""
    return [rule for profile in profiles if profile.applies(facts) for rule in profile.rules]


def check_profiles(profiles: Sequence[Profile], scenarios: Sequence[Scenario]) -> list[ScenarioError]:
    """Return an error for each difference or rule that speaks of no scenario, or difference that speaks of none of its
    steps.
    """
    errors = []
    meant = finder(scenarios, attrgetter("id"))
    for rule in (rule for profile in profiles for rule in profile.rules):
        errors += [
            ScenarioError(
                f"no scenario is called {pattern!r}{nearest(pattern, (one.id for one in scenarios))}",
                rule.mark,
            )
            for pattern in rule.scenarios
            if not meant(pattern)
        ]
    for difference in (difference for profile in profiles for difference in profile.differences):
        concerned = meant(difference.scenario)
        if not concerned:
            hint = nearest(difference.scenario, (scenario.id for scenario in scenarios))
            errors.append(
                ScenarioError(f"no scenario is called {difference.scenario!r}{hint}", difference.mark)
            )
            continue
        steps = [step for scenario in concerned for step in (*scenario.steps, *scenario.cleanup)]
        if not any(difference.covers_step(step) for step in steps):
            hint = nearest(difference.step, (step.name for step in steps))
            errors.append(ScenarioError(f"no step is called {difference.step!r}{hint}", difference.mark))
    return errors
