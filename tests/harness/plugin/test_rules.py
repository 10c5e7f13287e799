"""Rules of a profile: which failures they foresee, and what they are refused for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.judge import Failure
from sixhops.harness.match import MISSING
from sixhops.harness.plugin.profile import load_profiles
from sixhops.harness.plugin.rules import Rule, rules_for, stale_rules
from sixhops.harness.scenario.load import load_file
from sixhops.harness.scenario.model import Matcher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.plugin.conftest import Inner

    from sixhops.harness.scenario.model import Scenario

AT = Mark("x.yaml", 1, 1)


def rules(folder: Path, text: str) -> list[Rule]:
    """Return the rules of a profile, `text` being the list."""
    folder.mkdir(exist_ok=True)
    (folder / "e.yaml").write_text(f'engine: "1"\nrules:\n{text}\n')
    profiles, errors = load_profiles(folder)
    if errors:
        raise errors[0]
    return list(profiles[0].rules)


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    (tmp_path / "engine").mkdir()
    path = tmp_path / "engine" / "a.yaml"
    path.write_text("title: t\nsteps:\n  - {name: ping, request: GET /_ping, expect: {status: 200}}\n")
    return load_file(path, tmp_path)[0]


def failure(expected: Any, seen: Any, facet: str = "json", path: str = "$.message", **more: Any) -> Failure:
    return Failure(0, "ping", "engine", facet, path, more.get("problem", "differs"), expected, seen, AT)


@pytest.mark.parametrize(
    ("rule", "fails", "known"),
    [
        ("{path: $.message, reason: r}", failure("a", "b"), True),
        ("{path: $.other, reason: r}", failure("a", "b"), False),
        ("{facet: status, path: '*', reason: r}", failure("a", "b"), False),
        ("{facet: [status, json], path: '$.m*', reason: r}", failure("a", "b"), True),
        ("{step: 1, path: '*', reason: r}", failure("a", "b"), True),
        ("{step: pong, path: '*', reason: r}", failure("a", "b"), False),
        ("{facet: status, expected: ^500$, seen: ^400$, reason: r}", failure(500, 400, "status"), True),
        ("{facet: status, expected: ^500$, seen: ^400$, reason: r}", failure(500, 404, "status"), False),
        ("{path: $.Error, seen: '^\\(nothing\\)$', reason: r}", failure(None, MISSING, path="$.Error"), True),
        ("{shown: too many, reason: r}", failure(1, 2, problem="has too many"), True),
        ("{shown: too few, reason: r}", failure(1, 2, problem="has too many"), False),
        ("{ignore_case: true, reason: r}", failure("No such", "no such"), True),
        ("{ignore_case: true, reason: r}", failure("No such", "no suck"), False),
        ("{ignore_case: true, reason: r}", failure(1, 2), False),
        ("{ignore_case: true, reason: r}", failure("a", MISSING), False),
        ("{alike: [{re: '^invalid JSON: '}], reason: r}", failure("EOF", "invalid JSON: EOF"), True),
        ("{alike: [{re: '^invalid JSON: '}], reason: r}", failure("EOF", b"invalid JSON: EOF"), True),
        ("{alike: [{re: '^invalid JSON: '}], reason: r}", failure("EOF", "invalid JSON: x"), False),
        ("{alike: [{re: '(x)y', by: 'y\\1'}], reason: r}", failure("axyb", "ayxb"), True),
        ("{ignore_case: true, reason: r}", failure(Matcher("contains", "NO", AT), "x no y"), True),
        ("{ignore_case: true, reason: r}", failure(Matcher("re", "(?s)^No x.*z", AT), "no x\nz"), True),
        ("{alike: [{re: '^e: '}], reason: r}", failure(Matcher("re", "^a", AT), "e: abc"), True),
        ("{alike: [{re: b}], reason: r}", failure([{"k": "ab"}], [{"k": "a"}]), True),
    ],
)
def test_which_failures_a_rule_foresees(
    rule: str, fails: Failure, known: bool, tmp_path: Path, scenario: Scenario
) -> None:
    found = rules_for(rules(tmp_path / "p", f"  - {rule}"), scenario.steps[0], fails)

    assert bool(found) == known


def test_several_rules_together(tmp_path: Path, scenario: Scenario) -> None:
    several = rules(
        tmp_path / "p",
        "  - {alike: [{re: '^failed to create task: '}], reason: one}\n"
        "  - {alike: [{re: ': unknown$'}], reason: two}\n"
        "  - {alike: [{re: nowhere}], reason: three}\n",
    )

    found = rules_for(
        several, scenario.steps[0], failure("no file: unknown", "failed to create task: no file")
    )

    assert [rule.reason for rule in found] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{path: a}", "a rule needs 'reason'"),
        ("{facet: json, reason: r}", "a rule says what differs: it needs one of path, expected"),
        ("{seen: '(', reason: r}", "seen is no regular expression: missing \\)"),
        ("{alike: [{by: x}], reason: r}", "alike needs 're'"),
        ("{alike: [{re: x, by: '\\1'}], reason: r}", "by is no replacement for 'x': invalid group reference"),
        ("{path: a, raeson: r}", "unknown key 'raeson' in a rule; did you mean 'reason'"),
        ("{path: a, scenario: [], reason: r}", "scenario has no element"),
    ],
)
def test_malformed_rules(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=message):
        rules(tmp_path / "p", f"  - {text}")


def test_a_rule_is_stale_when_all_that_it_means_ran_and_none_showed_it(
    tmp_path: Path, scenario: Scenario
) -> None:
    used, seldom, _other = rules(
        tmp_path / "p",
        "  - {scenario: engine/*, path: a, reason: r}\n"
        "  - {path: b, sometimes: true, reason: r}\n"
        "  - {scenario: registry/*, path: b, reason: r}\n",
    )
    ids = {scenario.id}

    assert stale_rules([used, seldom], {str(used.mark)}, ids, [scenario]) == []
    assert stale_rules([used], set(), set(), [scenario]) == []
    assert stale_rules([used, seldom], set(), ids, [scenario]) == [
        f"{used.mark}: a known difference occurred in no scenario: r"
    ]


RULES = """\
    engine: "20.10"
    rules:
      - {scenario: engine/*, facet: status, expected: ^404$, seen: ^200$, reason: answers otherwise}
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_a_run_with_rules(inner: Inner, workers: list[str]) -> None:
    inner.scenario("engine/a", expect="{status: 404}")
    inner.scenario("engine/b")
    inner.write("scenarios/engines/dockerd-20.10.yaml", RULES)

    result = inner.run("conformance", *workers)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["known difference, 1 times: answers otherwise", "*1 passed*1 known*"])


def test_a_run_in_which_a_rule_is_stale(inner: Inner) -> None:
    inner.scenario("engine/b")
    inner.write("scenarios/engines/dockerd-20.10.yaml", RULES)

    assert inner.run("conformance/test_engine.py").ret == 0
    result = inner.run()

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*yaml:3:5: a known difference occurred in no scenario: answers otherwise"])


def test_a_rule_of_nobody_is_4(inner: Inner) -> None:
    inner.scenario("engine/a", expect="{status: 404}")
    inner.write("scenarios/engines/dockerd-20.10.yaml", RULES.replace("engine/*", "engine/aa"))

    result = inner.run()

    assert result.ret == 4
    assert "no scenario is called 'engine/aa'; did you mean 'engine/a'?" in result.stdout.str()
