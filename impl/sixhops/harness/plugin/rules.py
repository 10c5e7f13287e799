"""Rules of an engine profile: a kind of difference that shows in many scenarios, such as another wording of messages.

A `differences` entry names scenarios and must occur in each of them. A rule says instead what the failure looks like,
wherever it is, and must occur somewhere in a run of all that it means. Since it says exactly what differs, a scenario goes
on behind it. docs/engine-profiles.md is the manual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sixhops.harness.documents import concerns
from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.match import MISSING, match, render
from sixhops.harness.scenario.model import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from sixhops.harness.documents import Node
    from sixhops.harness.judge import Failure
    from sixhops.harness.scenario.model import Scenario, Step

__all__ = ["RULE_KEYS", "Rule", "read_rule", "rules_for", "stale_rules"]

RULE_KEYS = (
    *("scenario", "step", "facet", "path", "expected", "seen", "shown"),
    *("alike", "ignore_case", "sometimes", "reason", "ref"),
)
_NARROWING = ("path", "expected", "seen", "shown", "alike", "ignore_case")
#: What stands for no value, as failures show it.
_NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. A failure is the known one when all that is said here holds of it.

    `scenarios`, `step`, `facets` and `path` are globs for where it is; `step` may be a number, counted from 1. `expected`,
    `seen` and `shown` are searched in the two values and in the rest of the failure's text. With `alike` or `ignore_case`
    the two values are the same once each pattern has been replaced in both, or upper and lower case count as one.
    `sometimes`: it need not occur in a run.
    """

    scenarios: tuple[str, ...]
    step: str
    facets: tuple[str, ...]
    path: str
    expected: re.Pattern[str] | None
    seen: re.Pattern[str] | None
    shown: re.Pattern[str] | None
    alike: tuple[tuple[re.Pattern[str], str], ...]
    ignore_case: bool
    sometimes: bool
    reason: str
    ref: str
    mark: Mark

    def concerns(self, scenario_id: str) -> bool:
        """Return whether it is about this scenario; an id with a row's brackets is itself and not a glob."""
        return any(concerns(pattern, scenario_id) for pattern in self.scenarios)

    def is_there(self, step: Step, failure: Failure) -> bool:
        """Return whether a failure is where it speaks of and has the values that it names, alike or not."""
        return (
            (self.step == str(step.index + 1) or fnmatchcase(step.name, self.step))
            and any(fnmatchcase(failure.facet, facet) for facet in self.facets)
            and (failure.path == self.path or fnmatchcase(failure.path, self.path))
            and (self.expected is None or self.expected.search(_text(failure.expected)) is not None)
            and (self.seen is None or self.seen.search(_text(failure.seen)) is not None)
            and (
                self.shown is None
                or self.shown.search("\n".join((failure.problem, *failure.notes))) is not None
            )
        )

    @property
    def compares(self) -> bool:
        """Return whether it makes two values alike, rather than naming them."""
        return bool(self.alike) or self.ignore_case

    def replaced(self, text: str) -> str:
        """Return a text as it is compared."""
        for pattern, by in self.alike:
            text = pattern.sub(by, text)
        return text.casefold() if self.ignore_case else text


def rules_for(rules: Sequence[Rule], step: Step, failure: Failure) -> list[Rule]:
    """Return the rules, out of those of the scenario, by which a failure is known; none when it is not.

    Several that make values alike may be needed together.
    """
    there = [rule for rule in rules if rule.is_there(step, failure)]
    plain = [rule for rule in there if not rule.compares]
    if plain:
        return plain[:1]
    comparing = [rule for rule in there if rule.compares]
    for rule in comparing:
        if _alike(failure, rule.replaced):
            return [rule]
    if len(comparing) > 1:

        def all_of_them(text: str) -> str:
            for rule in comparing:
                text = rule.replaced(text)
            return text

        if _alike(failure, all_of_them):
            return _needed(comparing, failure)
    return []


def stale_rules(
    rules: Iterable[Rule], used: Collection[str], reported: Collection[str], scenarios: Iterable[Scenario]
) -> list[str]:
    """Return a sentence for each rule that no scenario showed, out of a run that has reported all that it means.

    `used`: the places (`mark`) of rules that occurred; `reported`: the scenarios that the run had.
    """
    ids = [scenario.id for scenario in scenarios]
    stale = []
    for rule in rules:
        meant = [name for name in ids if rule.concerns(name)]
        if str(rule.mark) in used or rule.sometimes or not all(name in reported for name in meant):
            continue
        stale.append(f"{rule.mark}: a known difference occurred in no scenario: {rule.reason}")
    return stale


def read_rule(node: Node) -> Rule:
    """Read one rule of a profile. Raises ScenarioError with the place of what is malformed."""
    fields = node.mapping(RULE_KEYS, what="a rule")
    if "reason" not in fields:
        raise ScenarioError("a rule needs 'reason'", node.mark)
    if not fields.keys() & set(_NARROWING):
        raise ScenarioError(f"a rule says what differs: it needs one of {', '.join(_NARROWING)}", node.mark)

    def text(name: str) -> str:
        return fields[name].filled_text(name) if name in fields else "*"

    def pattern(name: str) -> re.Pattern[str] | None:
        return _pattern(fields[name], name) if name in fields else None

    def texts(name: str) -> tuple[str, ...]:
        if name not in fields or not fields[name].is_a(list):
            return (text(name),)
        found = tuple(item.filled_text(name) for item in fields[name].items())
        if not found:
            raise ScenarioError(f"{name} has no element", fields[name].mark)
        return found

    return Rule(
        scenarios=texts("scenario"),
        step=str(fields["step"].number(what="step"))
        if "step" in fields and fields["step"].is_a(int)
        else text("step"),
        facets=texts("facet"),
        path=text("path"),
        expected=pattern("expected"),
        seen=pattern("seen"),
        shown=pattern("shown"),
        alike=tuple(_replacement(item) for item in fields["alike"].items()) if "alike" in fields else (),
        ignore_case=fields["ignore_case"].flag() if "ignore_case" in fields else False,
        sometimes=fields["sometimes"].flag() if "sometimes" in fields else False,
        reason=fields["reason"].filled_text("reason"),
        ref=fields["ref"].filled_text("ref") if "ref" in fields else "",
        mark=node.mark,
    )


def _replacement(node: Node) -> tuple[re.Pattern[str], str]:
    fields = node.mapping(("re", "by"), what="alike")
    if "re" not in fields:
        raise ScenarioError("alike needs 're'", node.mark)
    found = _pattern(fields["re"], "re")
    by = fields["by"].text() if "by" in fields else ""
    try:
        # This reads the template; one that names a group which the pattern has not would otherwise fail a run.
        found.sub(by, "")
    except (re.error, IndexError) as error:
        raise ScenarioError(
            f"by is no replacement for {found.pattern!r}: {error}", fields["by"].mark
        ) from error
    return found, by


def _pattern(node: Node, what: str) -> re.Pattern[str]:
    text = node.filled_text(what)
    try:
        return re.compile(text)
    except re.error as error:
        raise ScenarioError(f"{what} is no regular expression: {error}", node.mark) from error


def _needed(rules: Sequence[Rule], failure: Failure) -> list[Rule]:
    """Return those rules that change something in one of the values."""
    values = (_text(failure.expected), _text(failure.seen))
    return [rule for rule in rules if any(rule.replaced(value) != value for value in values)]


def _alike(failure: Failure, replaced: Callable[[str], str]) -> bool:
    if failure.expected is MISSING or failure.seen is MISSING:
        return False
    return not match(_each_text(failure.expected, replaced), _each_text(failure.seen, replaced), "")


def _each_text(value: Any, replaced: Callable[[str], str]) -> Any:
    """Return a value, or what is expected of one, with each text in it as it is compared."""
    if isinstance(value, str):
        return replaced(value)
    if isinstance(value, bytes):
        return replaced(value.decode("utf-8", "replace"))
    if isinstance(value, list):
        return [_each_text(item, replaced) for item in value]
    if isinstance(value, dict):
        return {key: _each_text(item, replaced) for key, item in value.items()}
    if isinstance(value, Matcher) and value.name in _WITH_VALUES:
        return Matcher(value.name, _each_text(value.argument, replaced), value.mark)
    if isinstance(value, Matcher) and value.name == "re":
        # A pattern is not a text, but it may be read without regard to case.
        insensitive = replaced("A") == replaced("a")
        return Matcher("re", f"(?i){value.argument}", value.mark) if insensitive else value
    return value


#: Matchers whose argument is a value that is looked for, or has such values in it.
_WITH_VALUES = frozenset({"contains", "prefix", "exact", "unordered", "one_of", "each", "not", "some"})


def _text(value: Any) -> str:
    if value is MISSING:
        return _NOTHING
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else render(value)
