# ruff: noqa: E501 - a table of texts reads best with one row a line
"""Every kind of malformed scenario: an error with the exact line and column, and what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sixhops.harness.errors import ScenarioErrors
from sixhops.harness.scenario.load import load_file, load_text, load_tree

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "title: t\nsteps:\n"
STEP = HEAD + "  - request: GET /x\n"

# name: (text, line, column, part of the message)
MALFORMED: dict[str, tuple[str, int, int, str]] = {
    # YAML
    "bad YAML": ("title: 'x\n", 1, 8, "bad YAML: found unexpected end of stream"),
    "colon in plain text": ("title: a: b\n", 1, 9, "bad YAML: mapping values are not allowed"),
    "brace swallowed by a tag": (
        STEP + "    expect: {status: !any}\n",
        4,
        22,
        "put a space between !any and }",
    ),
    "bracket swallowed by a tag": (
        STEP + "    expect: {stream: [!some]}\n",
        4,
        23,
        "put a space between !some and ]",
    ),
    "two tags": (STEP + "    expect: {body: !not !re x}\n", 4, 20, "write !not:re"),
    "variable in a flow mapping": (
        STEP + "    json: {a: ${x.y}}\n",
        4,
        16,
        'stands in quotes, such as "${name}"',
    ),
    "index in a flow mapping": (
        STEP + "    save: {id: $.L[0]}\n",
        4,
        19,
        "what has brackets stands in quotes",
    ),
    "tab": ("title: t\nsteps:\n\t- request: GET /x\n", 3, 1, "a tab can't indent"),
    "several documents": ("title: t\n---\ntitle: u\n", 2, 1, "more than one document"),
    "empty": ("", 1, 1, "the file is empty"),
    "comments only": ("# nothing\n", 1, 1, "the file is empty"),
    "control character": ("title: a\x01\n", 1, 9, "a character that is not allowed"),
    "anchor": ("title: &a t\n", 1, 8, "anchors (&a) are not part of the language; use `vars`"),
    "alias": (
        HEAD + "  - request: GET /x\n    json: *a\n",
        4,
        11,
        "aliases (*a) are not part of the language",
    ),
    "recursive alias": ("title: t\nvars: {a: &a [*a]}\nsteps: []\n", 2, 11, "anchors (&a)"),
    "too deep": (STEP + "    json: " + "[" * 70 + "]" * 70 + "\n", 4, 73, "nested more than 64 deep"),
    "far too deep": ("title: " + "[" * 50_000 + "\n", 1, 71, "nested more than 64 deep"),
    # keys
    "unknown key": (
        "titel: t\nsteps: [{request: GET /x}]\n",
        1,
        1,
        "unknown key titel in a scenario; did you mean title?",
    ),
    "unknown key in a step": (
        STEP + "    expct: {status: 200}\n",
        4,
        5,
        "unknown key expct in a request step; did you mean expect?",
    ),
    "unknown facet": (
        STEP + "    expect: {staus: 200}\n",
        4,
        14,
        "unknown key staus in an expectation; did you mean status?",
    ),
    "unknown key in requires": (
        "title: t\nrequires: {rot: true}\nsteps: [{request: GET /x}]\n",
        2,
        12,
        "did you mean root?",
    ),
    "key of another kind of step": (
        STEP + "    env: {a: b}\n",
        4,
        5,
        "env is not for a request step; it is for docker",
    ),
    "duplicate key": (
        STEP + "    name: a\n    name: b\n",
        5,
        5,
        "the key name is there twice, first at line 4",
    ),
    "duplicate key in a value": (STEP + "    json: {a: 1, a: 2}\n", 4, 18, "the key a is there twice"),
    "key that is a number": (STEP + "    json: {80: x}\n", 4, 12, 'in quotes it would be: "80"'),
    "key that is null": (STEP + "    json: {null: x}\n", 4, 12, "a key must be text, not nothing (null)"),
    "key that is a list": (STEP + "    json: {[a]: x}\n", 4, 12, "a key must be text"),
    "variable in a key": (
        STEP + '    json: {"${scenario.id}": x}\n',
        4,
        12,
        "variables are not replaced in keys",
    ),
    # shapes
    "not a mapping": ("- a\n", 1, 1, "a scenario must be a scenario, a mapping, not a list"),
    "title missing": ("steps: [{request: GET /x}]\n", 1, 1, "a scenario needs the key title"),
    "steps missing": ("title: t\n", 1, 1, "a scenario needs the key steps"),
    "no steps": ("title: t\nsteps: []\n", 2, 8, "steps is empty"),
    "title is a number": (
        "title: 5\nsteps: [{request: GET /x}]\n",
        1,
        8,
        'title must be text, not the integer 5; in quotes it would be text: "5"',
    ),
    "title is null": ("title:\nsteps: [{request: GET /x}]\n", 1, 7, "title must be text, not nothing (null)"),
    "refs is no list": (
        "title: t\nrefs: a\nsteps: [{request: GET /x}]\n",
        2,
        7,
        "refs must be a list of requirement ids",
    ),
    "api is a number": ("title: t\napi: 1.40\nsteps: [{request: GET /x}]\n", 2, 6, "not the number 1.40"),
    "tty is text": (STEP + "    tty: please\n", 4, 10, 'tty must be true or false, not "please"'),
    "yes is text": (STEP + "    tty: yes\n", 4, 10, 'tty must be true or false, not "yes"'),
    "unknown word": (STEP + "    upgrade: tpc\n", 4, 14, "upgrade must be one of tcp, websocket"),
    "time without unit": (
        STEP + "    timeout: 10\n",
        4,
        14,
        "timeout must be a time such as 250ms, 10s or 2m",
    ),
    "time of another unit": (STEP + "    timeout: 3 hours\n", 4, 14, 'not "3 hours"'),
    "eventually without timeout": (
        STEP + "    eventually: {fail_if: {status: 500}}\n",
        4,
        17,
        "needs the key timeout",
    ),
    "tag where none may be": ("title: !re t\nsteps: [{request: GET /x}]\n", 1, 8, "title takes no tag (!re)"),
    "python tag": (
        STEP + "    json: !!python/name:os.system x\n",
        4,
        11,
        "!!python/name:os.system is not part of the language",
    ),
    "step is text": ("title: t\nsteps:\n  - GET /x\n", 3, 5, 'a step is a mapping, not "GET /x"'),
    "no action": (HEAD + "  - name: x\n", 3, 5, "a step needs one of request, registry"),
    "action mistyped": (
        HEAD + "  - reqest: GET /x\n",
        3,
        5,
        "unknown key reqest in a step; did you mean request?",
    ),
    "sleep": (HEAD + "  - sleep: 2s\n", 3, 5, "unknown key sleep in a step"),
    "two actions": (
        HEAD + "  - request: GET /x\n    docker: ps\n",
        4,
        5,
        "a step does one thing; this one has request and docker",
    ),
    "no method": (HEAD + "  - request: /x\n", 3, 14, "request must be METHOD /path"),
    "two bodies": (STEP + "    json: {}\n    body: x\n", 5, 5, "body can't stand beside json"),
    "body in two forms": (STEP + "    body: {text: a, hex: 00}\n", 4, 21, "text is there already"),
    "body in no form": (
        STEP + "    body: {repeat: 3}\n",
        4,
        11,
        "a body needs one of text, base64, hex, file",
    ),
    "unclosed quote in a command": (
        HEAD + "  - docker: run 'x\n",
        3,
        5,
        "can't be split into words: no closing quotation",
    ),
    "send to nobody": (HEAD + "  - send: {text: x}\n", 3, 11, "a send needs the key to"),
    "await without expect": (
        STEP + "    background: b\n  - await: b\n  - join: b\n",
        5,
        5,
        "needs the key expect",
    ),
    "recipe name": ("title: t\nimages: [../secret]\nsteps: [{request: GET /x}]\n", 2, 10, "must be"),
    "image twice": (
        "title: t\nimages: [a, {a: present}]\nsteps: [{request: GET /x}]\n",
        2,
        13,
        "the image a is there twice",
    ),
    "image of two": (
        "title: t\nimages: [{a: present, b: present}]\nsteps: [{request: GET /x}]\n",
        2,
        10,
        "must have one key, not 2",
    ),
    "fault without action": (
        "title: t\nregistry_faults: [{match: GET /v2/*}]\nsteps: [{request: GET /x}]\n",
        2,
        19,
        "needs one of status, cut",
    ),
    "fault with two actions": (
        "title: t\nregistry_faults: [{match: GET /v2/*, cut: 1, delay: 1s}]\nsteps: [{request: GET /x}]\n",
        2,
        46,
        "cut is there already",
    ),
    "body of no answer": (
        "title: t\nregistry_faults: [{match: GET /v2/*, cut: 1, body: x}]\nsteps: [{request: GET /x}]\n",
        2,
        46,
        "body needs a status",
    ),
    "cgroup 3": (
        "title: t\nrequires: {cgroup: 3}\nsteps: [{request: GET /x}]\n",
        2,
        12,
        "cgroup must be 1 or 2, not 3",
    ),
    "api range upside down": (
        'title: t\nrequires: {api: "1.41-1.40"}\nsteps: [{request: GET /x}]\n',
        2,
        12,
        "no version is from 1.41 to 1.40",
    ),
    # matchers
    "unknown matcher": (
        STEP + "    expect: {body: !contain x }\n",
        4,
        20,
        "there is no matcher !contain; did you mean contains?",
    ),
    "bad regular expression": (
        STEP + '    expect: {body: !re "(" }\n',
        4,
        20,
        "bad matcher !re: '(' is not a regular expression",
    ),
    "regular expression missing": (
        STEP + "    expect: {body: !re }\n",
        4,
        20,
        "bad matcher !re: it takes a Python regular expression",
    ),
    "argument too much": (
        STEP + "    expect: {body: !any x }\n",
        4,
        20,
        "bad matcher !any: it takes nothing",
    ),
    "range of three": (
        STEP + "    expect: {status: !range [1, 2, 3] }\n",
        4,
        22,
        "bad matcher !range: it takes [low, high]",
    ),
    "empty range": (STEP + "    expect: {status: !range [3, 2] }\n", 4, 22, "nothing is from 3 to 2"),
    "range of words": (STEP + "    expect: {status: !range [a, b] }\n", 4, 22, "'a' is not a number"),
    "unknown type": (STEP + "    expect: {status: !type int }\n", 4, 22, "'int' is no type"),
    "length of text": (
        STEP + "    expect: {body: !len x }\n",
        4,
        20,
        "it takes a count, a range or a matcher",
    ),
    "time word": (
        STEP + "    expect: {body: !time now }\n",
        4,
        20,
        "it takes nothing, zero, or {after: time, before: time}",
    ),
    "time bound": (
        STEP + "    expect: {body: !time {after: noon} }\n",
        4,
        20,
        "'noon' is not an RFC 3339 time",
    ),
    "digits of an id": (
        STEP + "    expect: {body: !id 65 }\n",
        4,
        20,
        "it takes the number of digits, 1 to 64",
    ),
    "unordered of a mapping": (
        STEP + "    expect: {json: !unordered {a: 1} }\n",
        4,
        20,
        "bad matcher !unordered: it takes a list",
    ),
    "one of none": (STEP + "    expect: {json: !one_of [] }\n", 4, 20, "at least one choice"),
    "tolerance": (
        STEP + "    expect: {json: !approx {value: 1, tolerance: -1} }\n",
        4,
        20,
        "the tolerance is negative",
    ),
    "some outside of a list": (
        STEP + "    expect: {json: !some }\n",
        4,
        20,
        "it only stands among the elements of a list",
    ),
    "matcher in a matcher that takes none": (
        STEP + "    expect: {body: !prefix:re x }\n",
        4,
        20,
        "it can hold no matcher",
    ),
    "matcher outside of an expectation": (
        STEP + "    json: {a: !any }\n",
        4,
        15,
        "!any is a matcher, and matchers only stand in expectations",
    ),
    "matcher deep inside": (
        STEP + "    expect:\n      json:\n        - a: {b: !re '[' }\n",
        6,
        18,
        "bad matcher !re",
    ),
    # variables
    "undefined variable": (
        STEP.replace("/x", "/${idd}") + "    save: {id: $.Id}\n",
        3,
        14,
        "undefined variable: idd",
    ),
    "variable saved later": (
        STEP.replace("/x", "/${id}") + "  - request: GET /y\n    save: {id: $.Id}\n",
        3,
        14,
        "id is saved later, by the step at line 4",
    ),
    "variable of the same step": (
        STEP + "    json: {a: '${id}'}\n    save: {id: $.Id}\n",
        4,
        15,
        "id is saved later",
    ),
    "variable mistyped": (
        STEP + "    save: {container: $.Id}\n  - request: GET /${contaner}\n",
        5,
        14,
        "did you mean container?",
    ),
    "image not in use": (
        "title: t\nimages: [hello]\nsteps:\n  - request: GET /${images.helo.id}\n",
        4,
        14,
        "the scenario uses no image helo; did you mean hello?",
    ),
    "row without table": (STEP.replace("/x", "/${row.a}"), 3, 14, "there is no `for` table"),
    "row lacks it": (
        "title: t\nfor: [{id: p, a: 1}, {id: q, b: 1}]\nsteps:\n  - request: GET /${row.a}\n",
        4,
        14,
        "row has no a; it has b, id (row q)",
    ),
    "path into a row": (
        "title: t\nfor: [{id: p, a: {b: 1}}]\nsteps:\n  - request: GET /${row.a.c}\n",
        4,
        14,
        "row.a has no c; it has b",
    ),
    "path into vars": (
        "title: t\nvars: {a: {b: 1}}\nsteps:\n  - request: GET /${a.c}\n",
        4,
        14,
        "a has no c; it has b",
    ),
    "var before its time": (
        "title: t\nvars: {a: '${b}', b: 1}\nsteps:\n  - request: GET /\n",
        2,
        11,
        "undefined variable: b",
    ),
    "unclosed variable": (STEP.replace("/x", "/${id"), 3, 14, "`${` has no closing `}`"),
    "bad path": (STEP.replace("/x", "/${a[b]}"), 3, 14, "bad variable: '[b]' is not a path"),
    "unknown part of scenario": (
        STEP.replace("/x", "/${scenario.name}"),
        3,
        14,
        "scenario has id and unique, not name",
    ),
    "variable in a matcher": (
        STEP + "    expect: {body: !contains '${nosuch}' }\n",
        4,
        20,
        "undefined variable: nosuch",
    ),
    "save over a root": (
        STEP + "    save: {images: $.Id}\n",
        4,
        12,
        "images can't be saved: the name is one of the roots",
    ),
    "save over a var": (
        "title: t\nvars: {a: 1}\nsteps:\n  - request: GET /x\n    save: {a: $.Id}\n",
        5,
        12,
        "the name is in vars already",
    ),
    "var named as a root": (
        "title: t\nvars: {row: 1}\nsteps: [{request: GET /x}]\n",
        2,
        8,
        "the name is one of the roots",
    ),
    "save from nowhere": (STEP + "    save: {id: Id}\n", 4, 16, "must be"),
    "save from a bad place": (STEP + "    save: {id: $.a..b}\n", 4, 12, "is not a path"),
    "save by a bad expression": (
        STEP + "    save: {id: {from: $stdout, re: '('}}\n",
        4,
        32,
        "is not a regular expression",
    ),
    # background steps
    "join of nobody": (STEP + "  - join: b\n", 4, 5, "no background step before this is called b"),
    "join mistyped": (STEP + "    background: logs\n  - join: lgos\n", 5, 5, "did you mean logs?"),
    "send before": (
        HEAD + "  - send: {to: b, text: x}\n  - request: GET /x\n    background: b\n  - join: b\n",
        3,
        5,
        "no background step before this is called b",
    ),
    "never joined": (
        STEP + "    background: b\n",
        4,
        5,
        "the background step b is never joined nor disconnected",
    ),
    "name taken": (
        STEP + "    background: b\n  - request: GET /y\n    background: b\n  - join: b\n",
        6,
        5,
        "the background name b is taken by line 4",
    ),
    "joined twice": (
        STEP + "    background: b\n  - join: b\n  - join: b\n",
        6,
        5,
        "the background step b has ended: it was joined before",
    ),
    "await after the end": (
        STEP + "    background: b\n  - disconnect: b\n  - await: b\n    expect: {body: x}\n",
        6,
        5,
        "it was disconnected before",
    ),
    "facet of another kind": (
        STEP + "    background: b\n  - join: b\n    expect: {exit: 0}\n",
        6,
        14,
        "b is a request step, which has no exit",
    ),
    "repeated background": (
        STEP + "    background: b\n    eventually: 5s\n  - join: b\n",
        5,
        5,
        "a background step runs once",
    ),
    # rows
    "rows alike": (
        "title: t\nfor: [{a: 1}, {a: 1}]\nsteps: [{request: GET /x}]\n",
        2,
        15,
        "the row 1 would be the name of two rows; give them an `id`",
    ),
    "row ids alike": (
        "title: t\nfor: [{id: p}, {id: p}]\nsteps: [{request: GET /x}]\n",
        2,
        16,
        "the row p is there twice",
    ),
    "row id with brackets": (
        "title: t\nfor: [{id: 'a[b]'}]\nsteps: [{request: GET /x}]\n",
        2,
        7,
        "a row's id has no brackets",
    ),
    "row is text": ("title: t\nfor: [a]\nsteps: [{request: GET /x}]\n", 2, 7, 'must be a row, not "a"'),
    "no rows": ("title: t\nfor: []\nsteps: [{request: GET /x}]\n", 2, 6, "for is empty"),
    "request line of a row": (
        "title: t\nfor: [{id: p, line: nonsense}]\nsteps: [{request: '${row.line}'}]\n",
        3,
        19,
        "in this row it is 'nonsense'",
    ),
    "status of a row": (
        "title: t\nfor: [{id: p, s: x}]\nregistry_faults: [{match: '* /', status: '${row.s}'}]\nsteps: [{request: GET /x}]\n",
        3,
        34,
        "status must be a status code, not 'x'",
    ),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_scenario_names_its_place(kind: str) -> None:
    text, line, column, message = MALFORMED[kind]

    with pytest.raises(ScenarioErrors) as caught:
        load_text(text)

    there = [
        error.message
        for error in caught.value.errors
        if error.mark and (error.mark.line, error.mark.column) == (line, column)
    ]
    assert any(message in text for text in there), str(caught.value)
    assert str(caught.value).startswith("scenario.yaml:")


def test_all_errors_of_a_file_are_reported_in_the_order_of_their_places() -> None:
    text = """\
titel: t
steps:
  - request: GET /${nosuch}
    expect: {status: !range x, body: !re "(" }
    tty: maybe
  - join: nobody
  - docker: ps
    background: left
"""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(text)

    lines = [int(re.match(r"scenario.yaml:(\d+):\d+: ", line)[1]) for line in str(caught.value).splitlines()]  # type: ignore[index]
    assert lines == [1, 1, 3, 4, 4, 5, 6, 8]


def test_bytes_that_are_not_utf8_have_a_place(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("title: ä\nx: é".encode() + b"\xff\n")

    with pytest.raises(ScenarioErrors, match=r"a\.yaml:2:5: is not UTF-8: the byte 0xff"):
        load_file(path, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../secret", "the path ../../secret leads out of the scenarios folder"),
        ("/etc/hostname", "the path /etc/hostname leads out of the scenarios folder"),
        ("link", "the path link leads out of the scenarios folder"),
        ("nosuch", "there is no file nosuch beside the scenario"),
    ],
)
def test_a_body_file_stays_inside_the_scenarios_folder(tmp_path: Path, name: str, message: str) -> None:
    root = tmp_path / "scenarios"
    (root / "engine").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (root / "engine" / "link").symlink_to(tmp_path / "secret")
    path = root / "engine" / "a.yaml"
    path.write_text(f"{STEP}    body: {{file: {name}}}\n")

    with pytest.raises(ScenarioErrors, match=re.escape(f"a.yaml:4:12: {message}")):
        load_file(path, root)


def test_an_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "hello-world.yaml").write_text("")
    path = tmp_path / "a.yaml"
    path.write_text("title: t\nimages: [helo-world]\nsteps: [{request: GET /x}]\n")

    with pytest.raises(
        ScenarioErrors, match=r"a\.yaml:2:10: there is no recipe .*; did you mean hello-world\?"
    ):
        load_file(path, tmp_path)


def test_a_missing_file_and_a_missing_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match="can't be read: No such file"):
        load_file(tmp_path / "nosuch.yaml", tmp_path)
    assert "is no folder" in str(load_tree(tmp_path / "nosuch").errors[0])
