"""Comparing without matchers: types, mappings, lists with gaps, messages of a hop."""

from __future__ import annotations

from typing import Any

import pytest

from sixhops.harness.errors import Mark
from sixhops.harness.exchange import HopMessage
from sixhops.harness.match import MISSING, Messages, match
from sixhops.harness.scenario.model import Matcher

MARK = Mark("x.yaml", 1, 1)
SOME = Matcher("some", None, MARK)
LETTERS = Matcher("some", Matcher("re", "^[a-z]$", MARK), MARK)


def no(argument: Any) -> Matcher:
    return Matcher("not", argument, MARK)


def messages(*summaries: str, **fields: Any) -> Messages:
    return Messages(
        tuple(HopMessage("registry", i, 0.0, 0.0, text, fields) for i, text in enumerate(summaries))
    )


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        (1, True),
        (True, 1),
        (0, False),
        (1, 1.0),
        (1.0, 1),
        (1, "1"),
        (None, ""),
        (None, MISSING),
        ("", None),
        ([], {}),
        ({}, []),
    ],
)
def test_types_count(expected: Any, seen: Any) -> None:
    assert len(match(expected, seen)) == 1


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", "a", [], {}, [1, {"a": [None]}]])
def test_a_value_is_itself(value: Any) -> None:
    assert match(value, value) == []


def test_a_mapping_holds_as_a_part_and_names_what_does_not() -> None:
    seen = {"a": 1, "b": {"c": 2, "d": 3}}

    assert match({"b": {"c": 2}}, seen) == []
    assert [(w.path, w.expected, w.seen) for w in match({"a": 2, "b": {"c": 3}, "e": 1}, seen)] == [
        ("$.a", 2, 1),
        ("$.b.c", 3, 2),
        ("$.e", 1, MISSING),
    ]


def test_a_missing_key_tells_which_keys_there_are() -> None:
    assert match({"Id": 1}, {"ID": 1, "x": 2})[0].notes == ("the keys that are there: ID, x",)


def test_an_empty_mapping_holds_for_an_empty_one_only() -> None:
    assert match({"a": {}}, {"a": {}}) == []
    assert match({"a": {}}, {"a": {"b": 1}})[0].problem == "is not empty"


def test_keys_with_odd_characters_are_quoted_in_the_path() -> None:
    assert match({"80/tcp": {"a b": 1}}, {"80/tcp": {"a b": 2}})[0].path == '$.80/tcp["a b"]'


def test_text_is_compared_with_bytes_as_utf8() -> None:
    assert match("é", "é".encode()) == []
    assert match("e", b"\xff")[0].seen == b"\xff"


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ([SOME], []),
        ([SOME], [1, 2]),
        ([SOME, 2], [2]),
        ([SOME, 2], [1, 1, 2]),
        ([SOME, 2], [2, 2, 2]),
        ([1, SOME, 2], [1, 5, 2, 2]),
        ([SOME, 1, SOME, 1], [1, 1]),
        ([SOME, 1, SOME, 2, SOME], [0, 1, 0, 2, 0]),
        ([LETTERS, 1], ["a", "b", 1]),
        ([SOME, SOME], []),
    ],
)
def test_some_takes_up_any_number_of_elements(expected: Any, seen: Any) -> None:
    assert match(expected, seen) == []


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ([SOME, 2], []),
        ([SOME, 2], [2, 1]),
        ([SOME, 1, SOME, 1], [1]),
        ([LETTERS, 1], ["a", "B", 1]),
        ([1, SOME], [2, 1]),
    ],
)
def test_some_does_not_stand_for_what_must_be_there(expected: Any, seen: Any) -> None:
    assert match(expected, seen)


def test_one_missing_element_is_one_mismatch() -> None:
    wrong = match([1, 2, 3, 4], [1, 3, 4])

    assert [(w.path, w.problem, w.expected) for w in wrong] == [
        ("$", "lacks element 1 of the expected list (before [1])", 2)
    ]
    assert "  -      2" in wrong[0].notes


def test_one_element_too_many_is_one_mismatch() -> None:
    assert [(w.path, w.problem, w.seen) for w in match([1, 3], [1, 2, 3])] == [("$[1]", "is not expected", 2)]


def test_the_nearest_element_is_compared_in_detail() -> None:
    expected = [SOME, {"status": "Pull complete", "id": "abc"}, {"status": "Done"}]
    seen = [{"status": "Start"}, {"status": "Pull complete", "id": "abd"}, {"status": "Done"}]

    assert [(w.path, w.expected, w.seen) for w in match(expected, seen)] == [("$[1].id", "abc", "abd")]


def test_a_very_long_list_is_still_judged() -> None:
    seen = list(range(3000))

    assert match([*seen, 1], [*seen, 2])[0].path == "$[3000]"
    assert match([*seen, SOME, -1], seen)[0].expected == -1
    assert match([*seen, SOME], seen) == []


def test_unordered_never_gives_an_element_to_two_expectations() -> None:
    greedy_would_fail = Matcher("unordered", [Matcher("any", None, MARK), "a"], MARK)

    assert match(greedy_would_fail, ["a", "b"]) == []
    assert [w.expected for w in match(Matcher("unordered", ["a", "a", "b"], MARK), ["a", "b", "c"])] == [
        "a",
        MISSING,
    ]


def test_messages_are_looked_for_in_order() -> None:
    seen = messages("GET /a -> 200", "GET /b -> 200", "GET /c -> 404")

    assert match(["GET /a -> 200", "GET /c -> 404"], seen, "registry") == []
    early = match(["GET /c -> 404", "GET /a -> 200"], seen, "registry")
    assert "but earlier, at [0]" in early[0].problem


def test_a_missing_message_shows_what_was_there() -> None:
    wrong = match(["GET /x -> 200"], messages("GET /a -> 200"), "registry")

    assert wrong[0].path == "registry"
    assert wrong[0].notes == ("messages seen:", "    [0]  GET /a -> 200")


def test_an_empty_list_of_messages_means_none() -> None:
    assert match([], messages()) == []
    assert match([], messages("GET / -> 200"))[0].problem == "is not expected"


def test_not_in_a_list_of_messages_forbids_between_its_neighbours() -> None:
    seen = messages("a", "b", "c", "b")

    assert match(["a", no("x"), "c"], seen) == []
    assert [w.path for w in match(["a", no("b"), "c"], seen)] == ["$[1]"]
    assert match(["b", no("a")], seen) == []
    assert [w.path for w in match(["c", no("b")], seen)] == ["$[3]"]


def test_a_message_is_compared_by_its_fields() -> None:
    seen = messages(
        "GET / -> 200",
        method="GET",
        status=200,
        request_headers={"range": "bytes=5-"},
        response_body=b'{"a": 1}',
    )

    assert (
        match([{"method": "GET", "request_headers": {"Range": "bytes=5-"}, "response_json": {"a": 1}}], seen)
        == []
    )
    wrong = match([{"method": "GET", "status": 206}], seen, "registry")[0]
    assert wrong.notes[0] == "the closest is [0] GET / -> 200"
    assert "expected 206, seen 200" in wrong.notes[1]


def test_a_hop_wants_a_list() -> None:
    assert match("GET / -> 200", messages("GET / -> 200"))[0].problem == "is a list of messages; write a list"
