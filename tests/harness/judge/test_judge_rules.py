# ruff: noqa: E501 - a table of texts reads best with one row a line
"""The judge's rules beyond comparing: errors, skips, saves, repetition, statuses."""

from __future__ import annotations

from typing import Any

import pytest

from sixhops.harness.errors import ScenarioError
from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.judge import (
    Failure,
    Status,
    StepVerdict,
    fails_for_good,
    format_mismatch,
    judge,
    judge_step,
)
from sixhops.harness.scenario.load import load_text
from sixhops.harness.scenario.variables import Scope, UndefinedVariable, make_scope


def seen(step: int = 0, *, messages: list[HopMessage] | None = None, **rest: Any) -> Exchange:
    facets = {key: rest.pop(key) for key in list(rest) if key not in Exchange.__slots__}
    return Exchange(step, "s", "request", 0.0, 1.0, facets=facets, messages=messages or [], **rest)


def one_step(text: str, exchange: Exchange, variables: dict[str, Any] | None = None) -> StepVerdict:
    scenario = load_text(f"title: t\nsteps:\n  - {text}\n")[0]
    return judge_step(scenario, scenario.steps[0], exchange, Scope(variables or {}))


def test_a_step_without_expectations_passes() -> None:
    assert one_step("request: GET /", seen(status=500)).status is Status.PASSED


def test_an_error_fails_a_step_without_expectations() -> None:
    verdict = one_step("request: GET /", seen(error="time-out after 30 s"))

    assert verdict.status is Status.FAILED
    assert "scenario.yaml:3:5  time-out after 30 s" in format_mismatch(verdict.mismatches[0])


def test_an_error_does_not_hide_what_else_is_wrong() -> None:
    verdict = one_step(
        "request: GET /\n    expect: {status: 200, stdout: x}", seen(error="cut", status=200, stdout="y")
    )

    assert [failure.facet for failure in verdict.mismatches] == ["", "stdout"]


def test_an_error_can_be_what_is_expected() -> None:
    text = "request: GET /\n    expect: {error: !contains cut }"

    assert one_step(text, seen(error="connection cut")).status is Status.PASSED
    assert one_step(text, seen(status=200)).mismatches[0].facet == "error"


def test_what_can_t_be_observed_is_skipped_with_its_reason() -> None:
    text = "request: GET /\n    expect: {status: 204, shim: [Create]}"
    verdict = one_step(text, seen(status=204, unobserved={"shim": "no tap"}))

    assert (verdict.status, verdict.skipped, verdict.checked) == (Status.PASSED, {"shim": "no tap"}, 1)


def test_a_step_of_which_nothing_was_observed_is_skipped() -> None:
    verdict = one_step("request: GET /\n    expect: {shim: [Create]}", seen(unobserved={"shim": "no tap"}))

    assert verdict.status is Status.SKIPPED


def test_a_skip_does_not_excuse_a_failure() -> None:
    text = "request: GET /\n    expect: {shim: [Create], status: 204}"

    assert one_step(text, seen(status=500, unobserved={"shim": "no tap"})).status is Status.FAILED


def test_header_names_are_compared_in_lower_case() -> None:
    text = "request: GET /\n    expect: {headers: !exact {Content-Type: a, X-B: !any }}"

    assert one_step(text, seen(headers={"content-type": "a", "x-b": "c"})).status is Status.PASSED
    assert one_step(text, seen(headers={"content-type": "a"})).mismatches[0].path == "headers.x-b"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("$.Id", "i"),
        ("$", {"Id": "i", "L": [1, 2]}),
        ("$.L[-1]", 2),
        ("$stdout", "id=77\n"),
        ("{from: $stdout, re: 'id=([0-9]+)'}", "77"),
        ("{from: $stdout, re: 'id=[0-9]+'}", "id=77"),
        ("$headers.Location", "/v2/x"),
        ("$registry[0].path", "/v2/"),
        ("$registry[0].summary", "GET /v2/ -> 200"),
    ],
)
def test_saves_take_parts_of_what_was_seen(source: str, value: Any) -> None:
    message = HopMessage("registry", 0, 0.0, 0.0, "GET /v2/ -> 200", {"path": "/v2/"})
    exchange = seen(
        json={"Id": "i", "L": [1, 2]}, stdout="id=77\n", headers={"location": "/v2/x"}, messages=[message]
    )

    verdict = one_step(f"request: GET /\n    save:\n      v: {source}", exchange)

    assert verdict.saved == {"v": value}
    assert verdict.scope.values["v"] == value


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("$.ID", "$ has no ID; it has Id"),
        ("$.Id.x", "$.Id is 'i'"),
        ("$stdout", "there is no stdout; what the step did see: json"),
        ("$registry[0]", "registry has no element [0]; it has 0"),
        ("{from: $.Id, re: '[0-9]'}", "does not match '[0-9]'"),
    ],
)
def test_a_save_of_what_is_not_there_says_what_is(source: str, problem: str) -> None:
    verdict = one_step(f"request: GET /\n    save:\n      v: {source}", seen(json={"Id": "i"}))

    assert verdict.status is Status.FAILED
    assert problem in verdict.mismatches[0].problem
    assert "so v can't be saved" in verdict.mismatches[0].problem
    assert "v" not in verdict.saved


WAITING = "processes: all\n    expect: {processes: []}\n    eventually: {timeout: 2s, fail_if: {processes: !contains {pid: 1} }}"


def test_fail_if_is_judged_without_waiting() -> None:
    scenario = load_text(f"title: t\nsteps:\n  - {WAITING}\n")[0]
    step = scenario.steps[0]

    assert fails_for_good(step, seen(processes=[{"pid": 1}]), Scope({}))
    assert not fails_for_good(step, seen(processes=[{"pid": 2}]), Scope({}))
    assert not fails_for_good(step, seen(), Scope({}))


def test_a_repeated_step_says_how_long_it_was_repeated() -> None:
    slow = one_step(WAITING, seen(processes=[{"pid": 2}], attempts=7)).mismatches[0]
    futile = one_step(WAITING, seen(processes=[{"pid": 1}], attempts=3)).mismatches[0]

    assert slow.notes[-1] == "it did not come to hold within 2 s (7 attempts); this is the last one"
    assert futile.notes[-1] == "waiting was ended after 3 attempts, because `fail_if` holds"


def test_a_variable_that_nothing_saved_is_the_scenario_s_error() -> None:
    scenario = load_text("title: t\nvars: {a: 1}\nsteps:\n  - request: GET /\n    expect: {body: '${a}'}\n")[
        0
    ]

    with pytest.raises(UndefinedVariable, match=r"scenario\.yaml:5:20"):
        judge_step(scenario, scenario.steps[0], seen(body=""), Scope({}))


def test_a_matcher_that_a_variable_made_senseless_is_the_scenario_s_error() -> None:
    scenario = load_text(
        "title: t\nvars: {a: '('}\nsteps:\n  - request: GET /\n    expect: {body: !re '${a}' }\n"
    )[0]

    with pytest.raises(ScenarioError, match=r"scenario.yaml:5:20: bad matcher !re"):
        judge_step(scenario, scenario.steps[0], seen(body=""), make_scope(scenario))


TWO = "title: t\nsteps:\n  - request: GET /a\n    expect: {status: 200}\n    save: {id: $.Id}\n  - request: GET /b\n    expect: {body: '${id}'}\ncleanup:\n  - request: DELETE /${id}\n    expect: {status: 204}\n"


def test_what_follows_a_failure_is_no_second_failure() -> None:
    scenario = load_text(TWO)[0]

    verdict = judge(scenario, [seen(0, status=500, json={})], make_scope(scenario))

    assert verdict.status is Status.FAILED
    assert [failure.facet for failure in verdict.mismatches] == ["status", "json"]


def test_what_was_performed_after_a_failure_is_judged_too() -> None:
    scenario = load_text(TWO)[0]

    verdict = judge(
        scenario, [seen(0, status=500, json={"Id": "i"}), seen(2, status=500)], make_scope(scenario)
    )

    assert [failure.step for failure in verdict.mismatches] == [0, 2]


def test_a_cleanup_that_was_not_performed_is_a_failure() -> None:
    scenario = load_text(TWO)[0]

    verdict = judge(
        scenario, [seen(0, status=200, json={"Id": "i"}), seen(1, body="i")], make_scope(scenario)
    )

    assert verdict.status is Status.FAILED
    assert verdict.mismatches[0].problem == "the step was not performed"


def test_nothing_performed_is_a_failure() -> None:
    scenario = load_text(TWO)[0]

    assert judge(scenario, [], make_scope(scenario)).status is Status.FAILED


def test_a_step_of_another_scenario_is_refused() -> None:
    scenario = load_text(TWO)[0]

    with pytest.raises(ScenarioError, match="the transcript has step 10"):
        judge(scenario, [seen(9)], make_scope(scenario))


def test_a_scenario_of_which_nothing_was_observed_is_skipped() -> None:
    scenario = load_text("title: t\nsteps:\n  - request: GET /\n    expect: {shim: [Create]}\n")[0]

    verdict = judge(scenario, [seen(unobserved={"shim": "no tap"})], make_scope(scenario))

    assert verdict.status is Status.SKIPPED
    assert verdict.skipped == ((0, "shim", "no tap"),)


def test_a_status_only_gets_worse() -> None:
    order = [Status.PASSED, Status.SKIPPED, Status.FAILED]

    for i, one in enumerate(order):
        for j, other in enumerate(order):
            assert one.worse(other) is order[max(i, j)]


def failure_of(expected: str, seen_value: Any, facet: str = "stdout") -> Failure:
    verdict = one_step(f"request: GET /\n    expect: {{{facet}: {expected}}}", seen(**{facet: seen_value}))
    return verdict.mismatches[0]


def test_long_values_are_shortened_around_the_difference() -> None:
    text = format_mismatch(
        failure_of('"' + "a" * 2000 + "X" + "b" * 2000 + '"', "a" * 2000 + "Y" + "b" * 2000)
    )

    assert "aX" in text
    assert "aY" in text
    assert "(4003 characters)" in text
    assert max(map(len, text.splitlines())) < 330


def test_texts_of_several_lines_are_compared_line_by_line() -> None:
    text = format_mismatch(failure_of(r'"one\ntwo\nthree\n"', "one\n2\nthree\n"))

    assert "      - two\n" in text
    assert "      + 2\n" in text


def test_line_ends_that_differ_are_shown() -> None:
    text = format_mismatch(failure_of(r'"one\ntwo\n"', "one\r\ntwo\r\n"))

    assert r"expected  'one\n'" in text
    assert r"seen      'one\r\n'" in text


def test_types_stand_beside_values_when_they_differ() -> None:
    assert 'expected  200  (integer)\n    seen      "200"  (string)' in format_mismatch(
        failure_of("200", "200", "status")
    )


def test_what_is_missing_is_called_nothing() -> None:
    assert "seen      (nothing)" in format_mismatch(failure_of("{a: 1}", {}, "json"))


def test_the_place_is_the_matcher_s_own() -> None:
    verdict = one_step("request: GET /\n    expect:\n      json:\n        a: !re x", seen(json={"a": "b"}))

    assert str(verdict.mismatches[0].mark) == "scenario.yaml:6:12"
