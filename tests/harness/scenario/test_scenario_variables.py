"""Paths, variables and scopes."""

from __future__ import annotations

from typing import Any

import pytest

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario.load import load_text
from sixhops.harness.scenario.model import Matcher, Template
from sixhops.harness.scenario.paths import PathMissingError, format_path, look_up, parse_path, parse_source
from sixhops.harness.scenario.variables import Scope, UndefinedVariable, make_scope, parse_template, resolve

MARK = Mark("x.yaml", 2, 3)
SCOPE = Scope(
    {
        "n": 5,
        "t": "x",
        "yes": True,
        "nothing": None,
        "list": [1, {"a b": 2}],
        "images": {"hello-world": {"id": "i"}},
    }
)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a[0][-1].c", ("a", 0, -1, "c")),
        ('Ports["80/tcp"][0]', ("Ports", "80/tcp", 0)),
        ('["a \\"b\\""]', ('a "b"',)),
        ("images.hello-world.id", ("images", "hello-world", "id")),
    ],
)
def test_paths_are_parsed_and_written(text: str, segments: tuple[str | int, ...]) -> None:
    assert parse_path(text) == segments
    assert parse_path(format_path("", segments)) == segments


@pytest.mark.parametrize("text", ["", ".", "a..b", "a[", "a[x]", "a b", "a.", "a[0]b", '["a]'])
def test_bad_paths_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(text)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("$", ("json", ())),
        ("$.Id", ("json", ("Id",))),
        ("$[0].Id", ("json", (0, "Id"))),
        ("$stdout", ("stdout", ())),
        ("$headers.Location", ("headers", ("Location",))),
        ("$stream[-1].id", ("stream", (-1, "id"))),
    ],
)
def test_sources_are_parsed(text: str, source: tuple[str, tuple[str | int, ...]]) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize("text", ["Id", "$.", "$ stdout", "$.a..b", ""])
def test_bad_sources_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is"):
        parse_source(text)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a.x", "v.a has no x; it has b"),
        ("a.b[3]", r"v\.a\.b has no element \[3\]; it has 2"),
        ("a.b.c", "v.a.b is a list of 2, so there is no the key c|v.a.b is a list of 2"),
        ("n.x", "v.n is null, so there is no the key x|v.n is null"),
    ],
)
def test_a_path_that_leads_nowhere_says_how_far_it_led(path: str, message: str) -> None:
    with pytest.raises(PathMissingError, match=message):
        look_up({"a": {"b": [1, 2]}, "n": None}, parse_path(path), base="v")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${n}", 5),
        ("${yes}", True),
        ("${nothing}", None),
        ("${list}", [1, {"a b": 2}]),
        ("${list[0]}", 1),
        ('${list[-1]["a b"]}', 2),
        ("${images.hello-world.id}", "i"),
        ("n=${n}", "n=5"),
        ("${t}${t}", "xx"),
        ("${yes}!", "true!"),
        ("$${n} ${n}", "${n} 5"),
        ("$n {n}", "$n {n}"),
    ],
)
def test_templates_take_the_type_of_what_they_name_alone(text: str, value: Any) -> None:
    resolved = resolve(Template(text, MARK), SCOPE)

    assert resolved == value
    assert type(resolved) is type(value)


def test_values_are_resolved_inside_out() -> None:
    value: Any = {"a": [Template("${n}", MARK), Matcher("re", Template("^${t}$", MARK), MARK)]}

    assert resolve(value, SCOPE) == {"a": [5, Matcher("re", "^x$", MARK)]}


@pytest.mark.parametrize("text", ["${no}", "${list[9]}", "${images.other}", "${t.x}"])
def test_undefined_variables_name_their_place(text: str) -> None:
    with pytest.raises(UndefinedVariable, match=r"^x\.yaml:2:3: "):
        resolve(Template(text, MARK), SCOPE)


@pytest.mark.parametrize("text", ["a ${list}", "a ${nothing}"])
def test_what_is_no_text_can_t_stand_inside_one(text: str) -> None:
    with pytest.raises(ScenarioError, match="can't stand inside a text"):
        resolve(Template(text, MARK), SCOPE)


def test_parts_of_a_template() -> None:
    assert parse_template("a${b.c}$${d}") == ("a", ("b", "c"), "${d}")


def test_a_scope_is_made_of_rows_vars_images_and_target() -> None:
    scenario = load_text(
        "title: t\nimages: [one]\nfor: [{id: r, tag: '${images.one.tag}'}]\n"
        "vars: {a: '${row.tag}-${scenario.unique}', b: ['${a}', '${target.host}']}\nsteps: [{request: GET /}]\n"
    )[0]

    scope = make_scope(scenario, {"one": {"tag": "latest"}}, {"host": "h"}, unique="u1")

    assert scope.values["row"] == {"id": "r", "tag": "latest"}
    assert scope.values["b"] == ["latest-u1", "h"]
    assert scope.with_saved({"id": 1}).values["id"] == 1
    assert "id" not in scope.values


def test_unique_differs_each_time() -> None:
    scenario = load_text("title: t\nvars: {a: '${scenario.unique}'}\nsteps: [{request: GET /}]\n")[0]

    assert make_scope(scenario).values["a"] != make_scope(scenario).values["a"]
