"""From the judge's verdict to an outcome: known differences apart, the rest written for a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sixhops.harness.judge import Failure, Status, StepVerdict, format_mismatches
from sixhops.harness.plugin.outcome import KnownDifference, Outcome
from sixhops.harness.plugin.profile import Difference, differences_for, rules_of
from sixhops.harness.plugin.rules import Rule, rules_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sixhops.harness.exchange import Exchange
    from sixhops.harness.plugin.profile import Profile
    from sixhops.harness.run.result import ScenarioRun
    from sixhops.harness.scenario.model import Scenario, Step
    from sixhops.harness.target import Target, TargetFacts

__all__ = ["LogWatch", "assess", "goes_on"]

_LAST_MESSAGES = 8
_LOG_LINES = 12
_LONGEST_LINE = 200


class LogWatch:
    """Keeps what the target's programs logged while the first failed step ran, not what came before or after.

    Called after each step: the end of one step is the beginning of the next.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._marks = target.log_marks()
        self.lines: dict[str, str] = {}
        self._failed = False

    def __call__(self, verdict: StepVerdict, *, known: bool) -> None:
        """Move on after a step that passed, or whose failures are `known`; take the logs after the first that failed."""
        if self._failed:
            return
        if verdict.status is Status.FAILED and not known:
            self.take()
        else:
            self._marks = self._target.log_marks()

    def take(self) -> None:
        """Take the logs since the last step that passed."""
        self._failed = True
        self.lines = self._target.log_since(self._marks, _LOG_LINES)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """A scenario's failures: unforeseen ones, those that the profile foresaw, and what it foresaw in vain.

    `leaves` are globs for what the foreseen ones leave behind.
    """

    news: tuple[Failure, ...]
    known: tuple[KnownDifference, ...] = ()
    stale: tuple[Difference, ...] = field(default=())
    leaves: tuple[str, ...] = field(default=())


def assess(
    scenario: Scenario,
    run: ScenarioRun,
    facts: TargetFacts,
    profiles: Iterable[Profile],
    *,
    logs: Mapping[str, str],
    seconds: float,
) -> Outcome:
    """Return the outcome of `run` on the target that `facts` tell of; the same for a saved run (`replay`).

    `logs`: what each program logged while the first failed step ran. `seconds`: how long the run took.
    """
    verdict = run.verdict
    profiles = list(profiles)
    differences = differences_for(profiles, facts, scenario.id)
    rules = [rule for rule in rules_of(profiles, facts) if rule.concerns(scenario.id)]
    sorted_ = _sort(scenario, verdict.steps, differences, rules, run.leftovers)
    left = [item for item in run.leftovers if not any(fnmatchcase(item, glob) for glob in sorted_.leaves)]
    failed = bool(sorted_.news or sorted_.stale or left)
    skips = (run.skipped,) if run.skipped else tuple(reason for _step, _facet, reason in verdict.skipped)
    if failed:
        word = "failed"
    elif sorted_.known:
        word = "known"
    else:
        word = "skipped" if run.skipped else str(verdict.status)
    return Outcome(
        id=scenario.id,
        path=f"{scenario.mark.path}:{scenario.mark.line}",
        title=scenario.title,
        hop=scenario.hop,
        verdict=word,
        seconds=seconds,
        target=facts.name,
        engine=facts.engine_version,
        brief=_brief(word, sorted_, skips, left),
        text=_text(scenario, run, facts, sorted_, logs) if failed else "",
        failures=_places(sorted_, left),
        skips=skips,
        known=sorted_.known,
        leftovers=tuple(run.leftovers),
    )


def goes_on(step: Step, verdict: StepVerdict, rules: Sequence[Rule]) -> bool:
    """Return whether a scenario goes on behind a step, though something in it failed: `rules`, those of the scenario,
    foresee all of it.
    """
    return bool(verdict.mismatches) and all(rules_for(rules, step, failure) for failure in verdict.mismatches)


def _sort(
    scenario: Scenario,
    verdicts: Sequence[StepVerdict],
    differences: Sequence[Difference],
    rules: Sequence[Rule],
    leftovers: Sequence[str],
) -> _Sorted:
    steps = {step.index: step for step in (*scenario.steps, *scenario.cleanup)}
    news: list[Failure] = []
    known: dict[KnownDifference, None] = {}
    occurred: set[int] = set()
    for failure in (failure for verdict in verdicts for failure in verdict.mismatches):
        at = [at for at, item in enumerate(differences) if item.covers(steps[failure.step], failure.facet)]
        occurred.update(at)
        if at:
            difference = differences[at[0]]
            shown = KnownDifference(
                failure.step_name, difference.reason, difference.ref, crash=difference.crash
            )
            known[shown] = None
        ruled = rules_for(rules, steps[failure.step], failure)
        for rule in ruled:
            known[KnownDifference(failure.step_name, rule.reason, rule.ref, str(rule.mark))] = None
        if not at and not ruled:
            news.append(failure)
    for number, difference in enumerate(differences):
        if any(fnmatchcase(item, glob) for item in leftovers for glob in difference.leaves):
            occurred.add(number)
            known[KnownDifference("", difference.reason, difference.ref)] = None
    judged = {verdict.step for verdict in verdicts if not verdict.skipped}
    stale = [
        difference
        for at, difference in enumerate(differences)
        if at not in occurred and not difference.sometimes and judged >= _covered(difference, steps.values())
    ]
    leaves = tuple(glob for at in sorted(occurred) for glob in differences[at].leaves)
    return _Sorted(tuple(news), tuple(known), tuple(stale), leaves)


def _covered(difference: Difference, steps: Iterable[Step]) -> set[int]:
    # A difference in a step that was not reached, or not fully observed, may well still be there.
    return {step.index for step in steps if difference.covers_step(step)}


def _places(sorted_: _Sorted, leftovers: Sequence[str]) -> tuple[str, ...]:
    """Return where a scenario failed, in words that are the same in every run (`baseline`)."""
    places = [f"step {failure.step + 1} {failure.facet}".rstrip() for failure in sorted_.news]
    places += [f"stale {difference.reason}" for difference in sorted_.stale]
    return tuple(dict.fromkeys([*places, *(["left behind"] if leftovers else [])]))


def _brief(word: str, sorted_: _Sorted, skips: Sequence[str], leftovers: Sequence[str]) -> str:
    if word == "known":
        return "; ".join(dict.fromkeys(item.reason for item in sorted_.known))
    if word == "skipped":
        return "; ".join(dict.fromkeys(skips))
    if word == "passed":
        return ""
    if sorted_.news:
        first = sorted_.news[0]
        more = f" (and {len(sorted_.news) - 1} more)" if len(sorted_.news) > 1 else ""
        place = first.path or first.facet
        problem = first.problem.partition("\n")[0]
        return f"step {first.step + 1} '{first.step_name}': {f'{place} ' if place else ''}{problem}{more}"
    if sorted_.stale:
        return f"a known difference did not occur: {sorted_.stale[0].reason} ({sorted_.stale[0].mark})"
    return f"left behind: {', '.join(leftovers)}"


def _text(
    scenario: Scenario, run: ScenarioRun, facts: TargetFacts, sorted_: _Sorted, logs: Mapping[str, str]
) -> str:
    blocks = [f"{scenario.id}: {scenario.title}\non {facts.name}, engine {facts.engine_version}"]
    if sorted_.news:
        blocks.append(format_mismatches(sorted_.news))
        blocks.extend(_messages(run.exchanges, sorted_.news[0].step))
        for program, lines in logs.items():
            if lines.strip():
                blocks.append(
                    f"{program} logged since that step began:\n{_indented(map(_shortened, lines.splitlines()))}"
                )
    blocks.extend(
        f"known, and not why this failed: step '{item.step}': {item.reason}" for item in sorted_.known
    )
    blocks.extend(
        f"{difference.mark}: a known difference did not occur here: {difference.reason}\n"
        "    if the engine has changed, take the entry out of its profile"
        for difference in sorted_.stale
    )
    if run.leftovers:
        blocks.append(f"left behind:\n{_indented(run.leftovers)}")
    return "\n".join(blocks)


def _messages(exchanges: Iterable[Exchange], step: int) -> list[str]:
    messages = [message for exchange in exchanges if exchange.step == step for message in exchange.messages]
    blocks = []
    for hop in dict.fromkeys(message.hop for message in messages):
        last = [message.summary for message in messages if message.hop == hop][-_LAST_MESSAGES:]
        blocks.append(f"last messages on the {hop} hop during that step:\n{_indented(last)}")
    return blocks


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} ... ({len(line)} characters)"


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
