"""Each matcher has values that it accepts and values that it must not accept."""

from __future__ import annotations

from typing import Any

import pytest

from sixhops.harness.errors import InternalError, Mark, ScenarioError
from sixhops.harness.exchange import HopMessage
from sixhops.harness.match import MISSING, Messages, match, render
from sixhops.harness.match.matchers import MATCHERS
from sixhops.harness.scenario.model import Matcher, Template

MARK = Mark("x.yaml", 1, 1)


def m(name: str, argument: Any = None) -> Matcher:
    return Matcher(name, argument, MARK)


def message(summary: str, **fields: Any) -> HopMessage:
    return HopMessage("registry", 0, 0.0, 0.0, summary, fields)


def messages(*summaries: str) -> Messages:
    return Messages(tuple(message(summary) for summary in summaries))


ACCEPTED = [
    (m("any"), None),
    (m("any"), {"a": 1}),
    (m("absent"), MISSING),
    (m("re", "^a.c$"), "abc"),
    (m("re", "b"), "abc"),
    (m("re", "b"), b"\xffb"),
    (m("re", "-> 200$"), message("GET / -> 200")),
    (m("contains", "b"), "abc"),
    (m("contains", "é"), "é".encode()),
    (m("contains", 2), [1, 2]),
    (m("contains", [2, 1]), [1, 3, 2]),
    (m("contains", {"a": 1}), [{"a": 2}, {"a": 1, "b": 2}]),
    (m("contains", {"a": {"b": 1}}), {"a": {"b": 1, "c": 2}, "d": 3}),
    (m("contains", "a"), {"a": 1}),
    (m("contains", "GET / -> 200"), messages("HEAD / -> 200", "GET / -> 200")),
    (m("prefix", "ab"), "abc"),
    (m("prefix", "ab"), b"ab\xff"),
    (m("prefix", [1, 2]), [1, 2, 3]),
    (m("type", "string"), ""),
    (m("type", "string"), b"\xff"),
    (m("type", "integer"), 1),
    (m("type", "number"), 1),
    (m("type", "number"), 1.5),
    (m("type", "boolean"), False),
    (m("type", "null"), None),
    (m("type", None), None),
    (m("type", "list"), []),
    (m("type", ["null", "mapping"]), {}),
    (m("len", 3), "abc"),
    (m("len", 0), []),
    (m("len", [1, None]), {"a": 1}),
    (m("len", {"max": 2}), b"ab"),
    (m("len", m("one_of", [1, 2])), messages("a", "b")),
    (m("range", [1, 3]), 1),
    (m("range", [1, 3]), 3),
    (m("range", {"min": 2}), 2.5),
    (m("range", [None, 0]), -1),
    (m("time"), "2026-11-23T16:47:59.123456789Z"),
    (m("time"), "2026-11-23T16:47:59+01:00"),
    (m("time", "zero"), "0001-01-01T00:00:00Z"),
    (m("time", {"after": "2026-11-23T16:47:59Z"}), "2026-11-23T16:47:59.000000001Z"),
    (m("time", {"before": "2026-11-23T16:47:59Z"}), "2026-11-23T17:47:59+01:00"),
    (m("digest"), "sha256:" + "0a" * 32),
    (m("id"), "0a" * 32),
    (m("id", 12), "0123456789ab"),
    (m("unordered", [1, 2, 2]), [2, 1, 2]),
    (m("unordered", [m("any"), 1]), [1, 2]),
    (m("unordered", [1, m("some")]), [3, 1, 2]),
    (m("unordered", ["b", "a"]), messages("a", "x", "b")),
    (m("exact", {"a": {"b": 1}}), {"a": {"b": 1}}),
    (m("exact", {"a": m("contains", {"b": 1})}), {"a": {"b": 1, "c": 1}}),
    (m("exact", ["a", "b"]), messages("a", "b")),
    (m("not", 1), 2),
    (m("not", m("absent")), 1),
    (m("not", m("contains", "x")), "abc"),
    (m("one_of", [1, m("re", "b")]), "abc"),
    (m("one_of", [m("absent"), 1]), MISSING),
    (m("each", m("type", "integer")), [1, 2]),
    (m("each", {"a": 1}), {"x": {"a": 1, "b": 1}}),
    (m("each", m("re", "200$")), messages("a 200", "b 200")),
    (m("approx", {"value": 10, "tolerance": 0.5}), 10.5),
    (m("approx", 1.0), 1),
    (m("none"), messages()),
    (m("none"), []),
]

REFUSED = [
    (m("any"), MISSING),
    (m("absent"), None),
    (m("re", "^b"), "abc"),
    (m("re", "1"), 1),
    (m("re", "a"), "x" * ((1 << 20) + 1)),
    (m("contains", "d"), "abc"),
    (m("contains", 1), "1"),
    (m("contains", 1), [True]),
    (m("contains", [1, 1]), [1]),
    (m("contains", {"a": 1}), {"a": 2}),
    (m("contains", 1), 1),
    (m("prefix", "b"), "abc"),
    (m("prefix", [2]), [1, 2]),
    (m("prefix", [1, 2]), [1]),
    (m("prefix", "a"), 1),
    (m("type", "string"), None),
    (m("type", "integer"), True),
    (m("type", "integer"), 1.0),
    (m("type", "number"), "1"),
    (m("type", "boolean"), 0),
    (m("type", "null"), ""),
    (m("type", "null"), MISSING),
    (m("type", "list"), {}),
    (m("len", 3), "ab"),
    (m("len", [1, None]), []),
    (m("len", 1), 1),
    (m("range", [1, 3]), 0),
    (m("range", [1, 3]), 3.5),
    (m("range", [0, 1]), True),
    (m("range", {"min": 2}), "3"),
    (m("time"), "2026-11-23"),
    (m("time"), "2026-13-23T16:47:59Z"),
    (m("time"), "2026-11-23T16:47:59"),
    (m("time"), "2026-11-23T16:47:59+99:00"),
    (m("time"), "0001-01-01T00:00:00Z"),
    (m("time"), 5),
    (m("time", "zero"), "2026-11-23T16:47:59Z"),
    (m("time", {"after": "2026-11-23T16:48:00Z"}), "2026-11-23T16:47:59.9Z"),
    (m("time", {"before": "2026-11-23T16:47:59Z"}), "2026-11-23T16:47:59.1Z"),
    (m("digest"), "sha256:" + "0A" * 32),
    (m("digest"), "sha512:" + "0a" * 32),
    (m("digest"), "sha256:" + "0a" * 32 + "\n"),
    (m("id"), "0a" * 31),
    (m("id", 12), "0123456789xy"),
    (m("id", 12), 123456789012),
    (m("unordered", [1, 2]), [1, 2, 2]),
    (m("unordered", [1, 1]), [1, 2]),
    (m("unordered", [1]), {"a": 1}),
    (m("unordered", ["a", "a"]), messages("a", "b")),
    (m("exact", {"a": 1}), {"a": 1, "b": 2}),
    (m("exact", [{"a": 1}]), [{"a": 1, "b": 2}]),
    (m("exact", ["a"]), messages("a", "b")),
    (m("exact", m("unordered", ["b", "a"])), messages("a", "x", "b")),
    (m("some"), 1),
    (m("not", 1), 1),
    (m("not", 1), MISSING),
    (m("not", m("absent")), MISSING),
    (m("one_of", [1, 2]), 3),
    (m("one_of", [1]), True),
    (m("each", 1), [1, 2]),
    (m("each", 1), []),
    (m("each", 1), 1),
    (m("approx", {"value": 10, "tolerance": 0.5}), 10.6),
    (m("approx", 1), True),
    (m("approx", 1), "1"),
    (m("none"), messages("a")),
    (m("none"), [0]),
    (m("none"), None),
]


@pytest.mark.parametrize(
    ("matcher", "seen"), ACCEPTED, ids=[f"{render(e)}-{i}" for i, (e, _) in enumerate(ACCEPTED)]
)
def test_matcher_accepts(matcher: Matcher, seen: Any) -> None:
    assert match(matcher, seen) == []


@pytest.mark.parametrize(
    ("matcher", "seen"), REFUSED, ids=[f"{render(e)}-{i}" for i, (e, _) in enumerate(REFUSED)]
)
def test_matcher_refuses_with_a_path_and_a_reason(matcher: Matcher, seen: Any) -> None:
    found = match(matcher, seen, "$.x")

    assert found
    assert all(wrong.path.startswith("$.x") and wrong.problem for wrong in found)


def test_every_matcher_is_seen_to_accept_and_to_refuse() -> None:
    accepted = {matcher.name for matcher, _ in ACCEPTED}
    refused = {matcher.name for matcher, _ in REFUSED}

    assert accepted == MATCHERS.keys() - {"some"}
    assert refused == MATCHERS.keys()


def test_an_unknown_matcher_is_a_bug_of_ours() -> None:
    with pytest.raises(InternalError, match="no matcher !nosuch"):
        match(m("nosuch"), 1)


def test_an_unresolved_template_is_a_bug_of_ours() -> None:
    with pytest.raises(InternalError, match="was not resolved"):
        match(Template("${x}", MARK), 1)


def test_render_writes_matchers_as_the_language_does() -> None:
    value = {"a": m("not", m("contains", "x")), "b": [m("any"), None, True, 1.5]}

    assert render(value) == '{a: !not:contains "x", b: [!any, null, true, 1.5]}'


@pytest.mark.parametrize(
    "matcher",
    [
        m("re", "("),
        m("time", {"after": "yesterday"}),
        m("range", ["a", None]),
        m("not", m("len", "x")),
        m("id", 0),
    ],
)
def test_an_argument_that_a_variable_made_senseless_is_an_error_and_never_a_mismatch(
    matcher: Matcher,
) -> None:
    # A mismatch would let `!not` pass.
    with pytest.raises(ScenarioError, match=r"x\.yaml:1:1: bad matcher"):
        match(matcher, "2026-11-23T16:47:59Z")
