# ruff: noqa: E501 - a table of texts reads best with one row a line
"""Mutants: what can fail is seen to fail, and what can't is named."""

from __future__ import annotations

from typing import Any

import pytest

from sixhops.harness.exchange import Exchange, HopMessage
from sixhops.harness.mutants import DROPPED, OPERATORS, UNCHANGED, Kind
from sixhops.harness.mutate import Score, score_of, total_of
from sixhops.harness.scenario.load import load_text
from sixhops.harness.scenario.variables import make_scope

ID = "0123456789ab" + "0" * 52
MESSAGES = [
    HopMessage("registry", 1, 0.0, 0.1, "GET /v2/ -> 200", {"method": "GET", "path": "/v2/", "status": 200}),
    HopMessage(
        "registry", 2, 0.1, 0.2, "POST /v2/x -> 201",
        {"method": "POST", "path": "/v2/x", "status": 201, "request_body": '{"a": 1}', "request_headers": {"host": "r"}},
    ),
]  # fmt: skip
SEEN: dict[str, Any] = {
    "status": 200,
    "headers": {"content-type": "text/plain"},
    "json": {
        "Id": ID, "On": True, "Nothing": None, "Empty": {}, "None": [], "Ratio": 1.5, "Text": "a long text",
        "List": [1, 2, 3], "Things": [{"k": "a", "n": 1}, {"k": "b", "n": 2}, {"k": "b", "n": 3}], "At": "2024-01-01T00:00:00Z",
    },
    "stdout": "hello\n",
    "body": b"\x01\xff",
    "eof": True,
}  # fmt: skip


def score(expect: str, *, error: str | None = None, unobserved: dict[str, str] | None = None) -> Score:
    scenario = load_text(
        f"title: t\nsteps:\n  - request: GET /\n    expect: {expect}\nvars: {{name: hello}}\n"
    )[0]
    exchange = Exchange(
        0,
        "GET /",
        "request",
        0.0,
        1.0,
        facets=SEEN,
        messages=MESSAGES,
        error=error,
        unobserved=unobserved or {},
    )
    return score_of(scenario, [exchange], make_scope(scenario))


@pytest.mark.parametrize(
    ("expect", "places"),
    [
        ("{status: 200}", 1),
        ("{eof: true}", 1),
        ("{headers: {Content-Type: text/plain}}", 1),
        ("{headers: !exact {Content-Type: text/plain}}", 2),
        ("{json: {On: true, Nothing: null, Ratio: 1.5}}", 3),
        ("{json: {Empty: {}, None: []}}", 2),
        ("{json: {None: !none }}", 1),
        ("{json: {Id: !id , At: !time , Text: !any , Gone: !absent }}", 4),
        ("{json: {Text: !re '^a long', List: !len 3, Ratio: !range [1, 2]}}", 3),
        ("{json: {Text: !type string, Nothing: !type [null, string]}}", 2),
        ("{json: {Text: !prefix a lo, On: !not false, Ratio: !approx {value: 1.4, tolerance: 0.2}}}", 3),
        ("{json: {Text: !not:re '^b+$'}}", 1),
        ("{json: {Text: !not:contains short}}", 1),
        ("{json: {Text: !one_of [x, a long text]}}", 1),
        ("{json: {List: [1, 2, 3]}}", 5),
        ("{json: {List: [1, !some ]}}", 2),
        ("{json: {List: !prefix [1, 2]}}", 4),
        ("{json: {List: !unordered [3, 1, 2]}}", 4),
        ("{json: {List: [!some:range [1, 2], 3]}}", 4),
        ("{json: {Things: !each {n: !range [1, 3]}}}", 1),
        # Two elements fit: only when both are corrupted can the expectation notice.
        ("{json: {Things: !contains {k: b}}}", 1),
        ("{json: {Things: [!some , {k: b, n: 3}]}}", 3),
        ("{stdout: \"${name}\\n\"}", 1),
        ("{body: !prefix \"\\x01\"}", 1),
        ("{registry: [GET /v2/ -> 200, !re 201$ ]}", 4),
        ("{registry: [{method: POST, request_json: {a: 1}, request_headers: {Host: r}}]}", 4),
        ("{registry: !unordered [{status: 201}, {status: 200}]}", 3),
        ("{registry: !exact [GET /v2/ -> 200, POST /v2/x -> 201]}", 4),
        ("{registry: [GET /v2/ -> 200, !not DELETE /v2/ -> 200, {status: 201}]}", 5),
        # Both fit both, so that their order says nothing.
        ("{registry: [!re '', !re '/v2/']}", 3),
        ("{registry: [!not:re '^DELETE ']}", 1),
        ("{registry: [!not {method: DELETE}]}", 1),
        ("{engine: !none }", 1),
        ("{engine: []}", 1),
    ],
)  # fmt: skip
def test_what_can_fail_fails(expect: str, places: int) -> None:
    found = score(expect)

    assert found.broken == ()
    assert found.survivors == ()
    assert (found.killed, found.places) == (places, places)
    assert found.mutants >= places


@pytest.mark.parametrize(
    ("expect", "place"),
    [
        ("{stdout: !contains ''}", "stdout"),
        ("{stdout: !re '.*'}", "stdout"),
        ("{stdout: !len {min: 0}}", "stdout"),
        ("{json: {Text: !re ''}}", "json $.Text"),
        ("{json: {Text: !one_of [!any , x]}}", None),
        ("{json: {Text: !one_of [!re '' , x]}}", "json $.Text"),
        ("{json: {List: [!some ]}}", "json $.List (its elements)"),
        ("{json: {Text: !prefix ''}}", "json $.Text"),
        ("{json: {Text: !not:re 'a(?!a)a'}}", "json $.Text"),
        ("{registry: [!re '']}", "registry[0]"),
        # Neighbours that do look must not be taken for the one that does not.
        ("{json: {Things: [!some , {k: b, n: !one_of [!any , !absent ]}]}}", "json $.Things[1].n"),
        ("{json: {Things: [{k: a}, {k: !one_of [!any , !absent ]}, !some ]}}", "json $.Things[1].k"),
        (
            "{json: {Things: !unordered [{n: 1}, {n: 2}, {k: !one_of [!any , !absent ]}]}}",
            "json $.Things[?].k",
        ),
        ("{registry: [GET /v2/ -> 200, {path: !re '' }]}", "registry[1].path"),
    ],
)
def test_what_cannot_fail_is_named(expect: str, place: str | None) -> None:
    found = score(expect)

    assert [item.place for item in found.survivors] == ([place] if place else [])
    for item in found.survivors:
        assert (item.step, item.step_name, item.mark.line) == (0, "GET /", 4)
        assert item.why.startswith(("never fails", "fails only when"))


def test_an_expected_error() -> None:
    assert score("{error: !contains cut }", error="connection cut").killed == 1


def test_what_was_not_observed_is_not_counted() -> None:
    found = score("{status: 200, shim: [x]}", unobserved={"shim": "no tap"})

    assert (found.places, found.unobserved) == (1, 1)


def test_an_expectation_that_does_not_hold_is_broken_and_not_scored() -> None:
    found = score("{status: 404}")

    assert found.places == 0
    assert found.broken == ("scenario.yaml:4:14: status does not hold for what was recorded",)


def test_total_adds_up() -> None:
    total = total_of([score("{status: 200}"), score("{stdout: !re ''}")])

    assert (total.places, total.killed, len(total.survivors)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("abcd", Kind.DELAY, ["ab"]),
        (b"abcd", Kind.DELAY, [b"ab"]),
        ([1, 2, 3], Kind.DELAY, [[1, 2]]),
        ([1, 2, 3], Kind.REORDER, [[3, 2, 1]]),
        ([1, 1], Kind.REORDER, []),
        (7, Kind.DELAY, []),
        (7, Kind.DROP, [DROPPED]),
    ],
)
def test_kinds_of_corruption(value: Any, kind: Kind, expected: list[Any]) -> None:
    found = [operator(value) for its_kind, operator in OPERATORS if its_kind is kind]

    assert [item for item in found if item is not UNCHANGED] == expected


def test_what_only_notices_that_a_value_goes_is_not_content_with_that() -> None:
    assert [kind for kind in Kind if kind.keeps_type] == [Kind.CHANGE, Kind.REORDER, Kind.DELAY]
